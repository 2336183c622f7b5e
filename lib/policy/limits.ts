/** The policy's fixed figures, each with its source. Sizes KiB, times ms, rates KiB/s. */
import { MiB } from '../common/units.js';

/** Least floor where nothing else is set; with an eighth of the guest's maximum. */
export const LEAST_FLOOR = 256 * MiB;
export const FLOOR_FRACTION = 1 / 8;
export const DEFAULT_SHARE = 1000;

/** Least spare of a guest while the pool has room: the course asks for 100 MiB, and a guest of any size for a tenth of what it uses. */
export const LEAST_SPARE = 100 * MiB;
export const LEAST_SPARE_FRACTION = 0.1;
/** Spare that nobody takes from a guest: [M] guests are OOM-killed where `usable` reaches 0, some 60 MiB of `unused`. */
export const CRITICAL_SPARE = 48 * MiB;
/** How far `usable` is under `unused` where a guest reports only one of them: 69 MiB for a guest of 2 GiB [M]. */
export const WATERMARKS = 69 * MiB;

/** The balloon counts in pages of this size: a target between two would end above itself [M]. */
export const PAGE = 4;
/**
 * Where nobody waits a guest gives only when it has twice this too much, and keeps this much of it: with GROW_BAND, the hysteresis of
 * rule 14. Where somebody waits all that is too much is taken: many small remainders would starve the one who waits.
 */
export const GIVE_MARGIN = 12 * MiB;
/** A guest that is not short is grown only where it lacks this much. */
export const GROW_BAND = 8 * MiB;
/**
 * Among guests that all hold less than they need, nobody gives for a smaller difference: figures are up to a second old, and a guest that
 * has just been given memory does not count some 50 MiB of it as free for a while [M]. What is evened out on that goes to and fro.
 */
export const EVEN_BAND = 24 * MiB;
/**
 * What a guest's kernel keeps for each CPU of the memory that it was given, without counting it as free, up to its low watermark: some
 * 50 MiB of a guest of 2 GiB with one CPU [M]. It uses that first; what it has not touched after so long, ms, counts half. Chosen.
 */
export const HIDDEN_MOST = 48 * MiB;
export const HIDDEN_HALVES = 10_000;
/** Two sizes that differ by no more are the same: the balloon moves 1 MiB at a time. */
export const SAME = 1 * MiB;

/** Pace of taking memory when nobody waits for it: 100 MiB per 2 s, as in the course's graphs. */
export const GENTLE_RATE = 50 * MiB;
/** Pace when somebody waits. A guest may lose one second's worth at once, so 225 MiB in any 2 s, unless the host will soon lack memory. */
export const BRISK_RATE = 75 * MiB;
/** What the host will lack in BRISK_AHEAD, ms, each donor is asked for within BRISK_WITHIN, ms, as fast as its balloon goes. Chosen. */
export const BRISK_AHEAD = 4000;
export const BRISK_WITHIN = 1000;
/** Big guests move faster: this part of their maximum a second, but no faster than half of the balloon's learned speed. */
export const PACE_FRACTION = 1 / 64;
/** Speed of a balloon not seen to move yet, as it inflates: [M] 400 to 600 MiB/s. */
export const BALLOON_SPEED = 400 * MiB;
/** A balloon deflates so many times as fast as it inflates: [M] above 1 GiB/s. */
export const DEFLATES_FASTER = 2;

/** From the call until the guest has the memory: 30 to 70 ms until the target is stored [M], and the driver's own time. */
export const BALLOON_LATENCY = 150;
/** Age of figures that a forced refresh brought: the calls, and the 20 ms that the addon waits for them [M]. */
export const REFRESHED_AGE = 50;

/** A shrink that brings less than this in PROGRESS_WINDOW makes no progress (rule 7). squeezed takes one byte for progress and is fooled by it. */
export const LEAST_PROGRESS = 8 * MiB;
export const PROGRESS_WINDOW = 2000;
/** First pause of shrinking after a failed shrink, doubled each time up to the last (rule 14); forgotten after as long a time without a failure. */
export const FIRST_PAUSE = 15_000;
/** The same after a shrink that made the guest swap or fault: trying again costs it more than one that only does not come. Chosen. */
export const FIRST_THRASH_PAUSE = 60_000;
export const LAST_PAUSE = 15 * 60_000;
/**
 * Part of what relief may spend well above the reserve that goes to guests that swap or fault, though need could not be paid. Chosen: at half,
 * without the margin, a host was drained to its bound by it (simulated).
 */
export const THRASH_PART = 1 / 4;
/** While the host is under its reserve a balloon that did not come is asked again after this time, ms. Chosen: twice what shows that it does not. */
export const STUCK_AGAIN = 5000;
/** An order this old is not under way any more: [M] balloons move at 400 MiB/s and more, and one that does not is stuck. */
export const UNDER_WAY = 10_000;
/** Pause after a refused move, doubled each time up to the last. */
export const FIRST_REFUSED_PAUSE = 1000;
export const LAST_REFUSED_PAUSE = 60_000;
/** How long a direction against the target says nothing, since an older order may still be under way. */
export const ORDER_GRACE = 1000;
/** A guest that grew is not made to give for so long, unless somebody waits: its use comes in bursts. */
export const GROWTH_REST = 5000;
/** Intervals without shrinking after somebody else moved a guest. */
export const ADOPTED_INTERVALS = 5;
/** Somebody who goes on moving a guest is reported once in this time. */
export const ADOPTED_QUIET = 60_000;
/**
 * A guest that has not been read so many times in a row, so far apart, ms, though it was asked for, hangs. Once is no sign: a busy host is late,
 * and its call is soon back.
 */
export const HANGS_AFTER = 2;
export const MISSED_APART = 500;

/** After a shrink, this many KiB swapped in or this many major faults above the usual, each a second, take it back. */
export const THRASH_SWAP_IN = 1 * MiB;
export const THRASH_FAULTS = 100;
/** What a guest gets back at once for a rise long after it was shrunk, or a quarter of its size. Chosen: two or three steps bring back most. */
export const THRASH_STEP = 128 * MiB;
/** How long after a shrink such a rise is put down to it. */
export const THRASH_WINDOW = 10_000;

/** What a guest's kernel may keep free of it: the high watermark is 0.3 % of a large guest, and it reclaims more than that at a time. */
export const KEPT_FRACTION = 1 / 128;
/** Less page cache is none: it is in every guest, and the watermarks are known no better. Chosen. */
export const LEAST_CACHE = 32 * MiB;
/**
 * A step into page cache, and the part of the guest's maximum that it grows to, doubled after so many steps that cost nothing. Chosen: a
 * disk of 80 MiB/s has a step back within half a second, and a guest of 2 GiB gives 880 MiB of cold cache in 81 s (simulated).
 */
export const PROBE_STEP = 32 * MiB;
export const PROBE_FRACTION = 1 / 64;
export const PROBE_DOUBLES = 4;
/** How long a step is watched before the next, ms: the first one, and the least once steps have cost nothing. Chosen. */
export const FIRST_PROBE_REST = 5000;
export const LAST_PROBE_REST = 2000;
/** How long a guest's reads are watched before its cache is first taken, ms: what is usual. */
export const READS_BASELINE = 2000;
/**
 * Reads above the usual that tell of cache that was worked in, KiB, where what was read so long ago, ms, counts half: a quarter of a step. A
 * guest that misses 1 MiB/s shows within 12 s; one that reads 8 MiB of something else is taken for it, and not probed for a minute.
 */
export const READS_RISE = 8 * MiB;
export const READS_HALVE = 10_000;
/** A guest that reads less a second, KiB, reads nothing that counts. Chosen. */
export const READS_LEAST = 1 * MiB;
/** Reads up to so many times the usual are usual. */
export const READS_USUAL = 1.5;
/**
 * The usual is a mean in which what was seen so long ago, ms, counts half; where a guest reads less than that, sooner: what it read when its
 * programs had taken its cache is usual no more once it has that again. Chosen.
 */
export const USUAL_HALVES = 30_000;
export const USUAL_FALLS = 5000;
/** Two readings of the disks' counters that are further apart tell no rate, ms. */
export const READS_MOST_APART = 30_000;
/** What a guest is given, while there is room, that has come to read from disk long after a shrink, or half of its size. Chosen. */
export const CACHE_STEP = 256 * MiB;
/** First pause of probing after a step too many, doubled each time up to LAST_PAUSE. */
export const FIRST_PROBE_PAUSE = 60_000;
/** How long a guest's reads are watched after a step into its cache, ms. */
export const WATCHED_FOR = 15_000;
/** How often those of an idle guest are read that has given some of its cache, ms: 0.1 ms of CPU a second. */
export const WATCH_IDLE = 10_000;

/** A grant that has not shown in the resident memory of the guest's process after so long is not on its way any more (rule 8). */
export const GRANT_SHOWS = 10_000;
/** The balloon must have moved by so much for MemTotal to tell whether it follows: more than figures differ by otherwise. */
export const FOLLOWS_LEAST = 32 * MiB;
/** Counters of a guest that fell more often without a boot are no counters but rates. */
export const MOST_FALLS = 2;
/** A guest that boots reports nothing for so long: [M] 4.5 s. */
export const REBOOT_SILENCE = 3000;

/** Counters that fall so soon after a reboot are of that one: [M] new figures came up to 9 s after it under emulation. */
export const SAME_REBOOT = 30_000;
/** A guest that has not answered for so long since it was seen, or booted, is reported. Chosen: most guests boot within it. */
export const BOOT_REPORTED = 30_000;

/** A reboot's old figures stay for some 4.5 s [M]. */
export const REBOOT_BLIND = 6000;

/**
 * A guest that says it is short, while its process has not touched so much of what it holds, KiB, is not short: QEMU's own memory and what the
 * guest's kernel keeps are less than that [M: 48 and 69 MiB].
 */
export const UNTOUCHED_LEAST = 128 * MiB;

/** Overhead of a domain's process where its resident memory does not show more. */
export const LEAST_OVERHEAD = 48 * MiB;
/**
 * A guest of which no figures tell can take memory for so long, ms, before others have given for it: a second until a sample shows it, a
 * second until what donors are asked for is there. At 200 MiB/s that is 400 MiB.
 */
export const UNSEEN = 2000;
/**
 * Guests that are taken to rise in the same second, where each may. Chosen: with three at 400 MiB need could be
 * refused beside more than a GiB that the host really has.
 */
export const RISE_AT_ONCE = 2;
/** Another coordinator is taken to be at work for so long after a move that was not ours; need then spends no more than this part of the room. */
export const RIVAL_SEEN = 10_000;
export const RIVAL_SHARE = 1 / 2;
/** Bounds of the host's reserve (docs/policy.md, account). */
export const LEAST_RESERVE = 200 * MiB;
export const DEFAULT_RESERVE = 512 * MiB;
export const RESERVE_FRACTION = 0.05;
/** The reserve is out of danger once this part of it more is available: otherwise it would be reported again and again. */
export const RESERVE_MARGIN = 1 / 8;
/** While somebody waits, donors give in small steps that follow each other quickly, so that little is under way at a time: this, or this part of the capacity. */
export const IN_TRANSIT = 48 * MiB;
export const IN_TRANSIT_FRACTION = 1 / 128;
/** Kept back for relief: this much for each guest that is shrunk to less than its least spare, but no more than this part of the capacity. */
export const RELIEF_STEP = 16 * MiB;
export const RELIEF_FRACTION = 1 / 64;

/** CPU time of one extra sample of one guest, ms, over all processes: two period calls, one reading. */
export const SAMPLE_COST = 5;
/**
 * Samples are saved up for so long, ms: where many guests become active at once (cron at midnight), each is sampled again and again until it
 * is known what it does. With a second's savings, 6 of 10 guests that rose at 200 MiB/s beside 50 GiB died (simulated). What it costs: with
 * a budget of 5 % of a core a minute's savings are 3 s of CPU, spent at once at worst, and then 5 % again.
 */
export const SAVED_FOR = 60_000;
/** CPU time of reading the disks' counters of one guest, ms: 0.9 ms [M]. */
export const WATCH_COST = 1;
/**
 * What reading the disks' counters may take of the sampling budget. Chosen: at half of it a crowd of 15 guests that rose at 84 MiB/s lost one,
 * since too little was saved up (simulated).
 */
export const WATCH_PART = 1 / 4;
/** CPU time of reading for how long one virtual CPU has run, ms: 0.85 µs [M], and what follows from it for its guest. */
export const ACTIVITY_CHECK_COST = 0.002;
/** What activity checks may take of the sampling budget. */
export const ACTIVITY_CHECK_PART = 1 / 2;
/** No CPU takes memory into use faster than it can clear pages, KiB per ms of its time: 10 GiB/s on fast machines. */
export const CLEARING_SPEED = (10 * 1024 * MiB) / 1000;
/** A guest is at work whose virtual CPUs run for more than this part of the time, and for this many ms between two samples ... */
export const BUSY_PART = 0.05;
export const BUSY_LEAST = 8;
/** ... or whose use rises by this much between two figures; it is idle after so long without, ms. */
export const BUSY_RISE = 4 * MiB;
export const IDLE_AFTER = 5000;
/** How long one that was idle is sampled, once it becomes active, whenever its CPUs run, ms. */
export const FRESHLY_ACTIVE = 1000;
/** Guests that are computed to rise at the same time, where it is known which are at work. */
export const AT_ONCE = 2;
/**
 * A guest whose use rises by this much a second or more counts as rising. Chosen: two thirds of the lab's eater; after a rise of 200 MiB/s the
 * trend is below it within 11 s, so that one who has long stopped bars nobody.
 */
export const RISING = 12 * MiB;
/** It does no longer where its figures show no rise for so long, ms, or two sweeps. Chosen. */
export const RISES_WITHIN = 2000;
/** Who is kept alive is sampled again within this time, ms: a guest at risk, at the latest by the next sweep of the default interval. */
export const RELIEVED = 1000;
/** How fast the host loses memory is a mean in which what was seen so long ago, ms, counts half. Chosen. */
export const DRAIN_HALVES = 300;
/** From the sample until donors have given, ms: its orders, their balloons, and a second step of some. Chosen. */
export const GIVEN_WITHIN = 500;
/** The burst that `status` tells of lasts so long, ms: 600 MiB at 200 MiB/s. */
export const BURST_LASTS = 3000;
/** virErrorNumbers by which a hypervisor refuses for good: no support (3), denied (29, 88), unsupported operation, argument or configuration (84, 74, 67). */
export const REFUSALS: ReadonlySet<number> = new Set([3, 29, 67, 74, 84, 88]);
/** Shortest time between two samples, from start to start. */
export const LEAST_SAMPLE = 100;
/** What may be taken at once is what the pace allows in this time, ms. */
export const PACE_WINDOW = 1000;
/** A state of the host is reported when it has held for this long, ms: contention comes and goes with every step of a load. Chosen. */
export const STATE_HOLDS = 5000;
