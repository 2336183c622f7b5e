/** The policy's constants, each with its source. Sizes KiB, times ms, rates KiB/s. */
import { MiB } from '../common/units.js';

/** Default floor: this much, or this part of the guest's maximum if that is more. */
export const LEAST_FLOOR = 256 * MiB;
export const FLOOR_FRACTION = 1 / 8;
export const DEFAULT_SHARE = 1000;

/**
 * Least spare of a guest while the pool has room: 100 MiB, as the classic tests ask (test/lab/judge.ts), or a tenth of what the guest uses
 * if that is more.
 */
export const LEAST_SPARE = 100 * MiB;
export const LEAST_SPARE_FRACTION = 0.1;
/** Spare that is never taken from a guest: [M] guests are OOM-killed when `usable` reaches 0, with some 60 MiB still `unused`. */
export const CRITICAL_SPARE = 48 * MiB;
/** How far `usable` is assumed to be below `unused` where a guest reports only one of them: 69 MiB for a guest of 2 GiB [M]. */
export const WATERMARKS = 69 * MiB;

/** The balloon moves in pages of this size: with a target between two pages it would stop above the target [M]. */
export const PAGE = 4;
/**
 * While nobody waits, a guest gives only if its excess is more than twice this, and it keeps this much of the excess. With GROW_BAND, this
 * is the hysteresis of rule 14. While a guest waits, donors give their whole excess: many small remainders would starve the waiting guest.
 */
export const GIVE_MARGIN = 12 * MiB;
/** A guest that is above its critical size is grown only if it lacks at least this much. */
export const GROW_BAND = 8 * MiB;
/**
 * If all donors hold less than they need, none gives for a smaller difference than this. Figures are up to a second old, and a guest that
 * has just been given memory does not count some 50 MiB of it as free for a while [M]. Evening out such differences would move memory to
 * and fro.
 */
export const EVEN_BAND = 24 * MiB;
/**
 * Given memory that a guest's kernel keeps in per-CPU lists, up to its low watermark, without counting it as free: some 50 MiB in a guest
 * of 2 GiB with one CPU [M]. The kernel uses this memory first. What it has not touched after HIDDEN_HALVES ms counts half. Chosen.
 */
export const HIDDEN_MOST = 48 * MiB;
export const HIDDEN_HALVES = 10_000;
/** Sizes that differ by no more than this are the same: the balloon moves 1 MiB at a time. */
export const SAME = 1 * MiB;

/** Pace of taking memory while nobody waits for it: 100 MiB per 2 s, as in the graphs that come with the classic tests. */
export const GENTLE_RATE = 50 * MiB;
/** Pace while a guest waits. A guest may lose a second's worth at once, so 225 MiB in any 2 s; more if the host will soon lack memory. */
export const BRISK_RATE = 75 * MiB;
/** Each donor is asked to give within BRISK_WITHIN ms what the host will lack in BRISK_AHEAD ms, as fast as its balloon goes. Chosen. */
export const BRISK_AHEAD = 4000;
export const BRISK_WITHIN = 1000;
/** Large guests give faster: this part of their maximum a second, but no faster than half of the balloon's learned speed. */
export const PACE_FRACTION = 1 / 64;
/** Assumed speed of a balloon that has not been seen to move yet, as it inflates: [M] 400 to 600 MiB/s. */
export const BALLOON_SPEED = 400 * MiB;
/** A balloon deflates this many times as fast as it inflates: [M] above 1 GiB/s. */
export const DEFLATES_FASTER = 2;

/** Time from the call until the guest has the memory: 30 to 70 ms until the target is stored [M], plus the driver's own time. */
export const BALLOON_LATENCY = 150;
/** Age of figures after a forced refresh: the calls, and the 20 ms that the addon waits for the figures [M]. */
export const REFRESHED_AGE = 50;

/** A move that brings less than this in PROGRESS_WINDOW makes no progress (rule 7). squeezed takes one byte for progress and is fooled. */
export const LEAST_PROGRESS = 8 * MiB;
export const PROGRESS_WINDOW = 2000;
/**
 * First pause in shrinking after a failed shrink. It doubles each time, up to LAST_PAUSE (rule 14), and starts over after as long a time
 * without a failure.
 */
export const FIRST_PAUSE = 15_000;
/**
 * The same after a shrink that made the guest swap or fault. Trying that again costs the guest more than a shrink that only makes no
 * progress. Chosen.
 */
export const FIRST_THRASH_PAUSE = 60_000;
export const LAST_PAUSE = 15 * 60_000;
/**
 * While need cannot be paid, guests that swap or fault may get this part of what relief may spend well above the reserve. Chosen: at half,
 * without the margin, this drained a host to its bound (simulated).
 */
export const THRASH_PART = 1 / 4;
/**
 * While the host is under its reserve, a balloon that made no progress is tried again after this time, ms. Chosen: more than twice the
 * PROGRESS_WINDOW that shows that it makes none.
 */
export const STUCK_AGAIN = 5000;
/** An order this old is no longer under way: [M] balloons move at 400 MiB/s and more, and one that does not is stuck. */
export const UNDER_WAY = 10_000;
/** First pause after a refused move. It doubles each time, up to the last. */
export const FIRST_REFUSED_PAUSE = 1000;
export const LAST_REFUSED_PAUSE = 60_000;
/** For this long after an order, a move away from the target proves nothing: an older order may still be under way. */
export const ORDER_GRACE = 1000;
/** A guest is not shrunk for this long after it grew, unless a guest waits for memory: use comes in bursts. */
export const GROWTH_REST = 5000;
/** Intervals without shrinking after somebody else has moved a guest. */
export const ADOPTED_INTERVALS = 5;
/** If somebody else keeps moving a guest, that is reported at most once in this time. */
export const ADOPTED_QUIET = 60_000;
/**
 * A guest hangs if it was asked for and not read this many times in a row, MISSED_APART ms apart. Once is no sign: on a busy host a call is
 * late, but soon returns.
 */
export const HANGS_AFTER = 2;
export const MISSED_APART = 500;

/** These rates undo a shrink: this many KiB swapped in a second, or this many major faults a second above four times the usual. */
export const THRASH_SWAP_IN = 1 * MiB;
export const THRASH_FAULTS = 100;
/**
 * If such a rise comes long after the shrink, the guest gets this much back at once, or a quarter of its size if that is more. Chosen: two
 * or three steps bring back most.
 */
export const THRASH_STEP = 128 * MiB;
/** How long after a shrink such a rise is attributed to it. */
export const THRASH_WINDOW = 10_000;

/**
 * Part of a guest's maximum that its kernel may keep free: the high watermark is 0.3 % of a large guest, and the kernel reclaims more than
 * that at a time.
 */
export const KEPT_FRACTION = 1 / 128;
/** Less page cache than this counts as none: every guest has that much, and the watermarks are known no more precisely. Chosen. */
export const LEAST_CACHE = 32 * MiB;
/**
 * The first step into page cache, the part of the guest's maximum that a step can grow to, and the number of steps without cost after which
 * it doubles. Chosen: a disk of 80 MiB/s reads a step back within half a second, and a guest of 2 GiB gives 880 MiB of cold cache in 81 s
 * (simulated).
 */
export const PROBE_STEP = 32 * MiB;
export const PROBE_FRACTION = 1 / 64;
export const PROBE_DOUBLES = 4;
/** How long a step is watched before the next, ms: the first step, and the least once steps have cost nothing. Chosen. */
export const FIRST_PROBE_REST = 5000;
export const LAST_PROBE_REST = 2000;
/** How long a guest's reads are watched before its cache is first taken, ms, to learn what is usual. */
export const READS_BASELINE = 2000;
/**
 * When reads above the usual add up to this, KiB, the guest worked in the cache that was taken. Reads of READS_HALVE ms ago count half.
 * This is a quarter of a step. A guest that misses 1 MiB/s is noticed within 12 s. One that reads 8 MiB of something else is mistaken for
 * it, and is not probed for a minute.
 */
export const READS_RISE = 8 * MiB;
export const READS_HALVE = 10_000;
/** A guest that reads less than this a second, KiB, counts as not reading. Chosen. */
export const READS_LEAST = 1 * MiB;
/** Reads of up to this many times the usual count as usual. */
export const READS_USUAL = 1.5;
/**
 * The usual is a mean in which reads of USUAL_HALVES ms ago count half, or of USUAL_FALLS ms ago while the guest reads less than usual.
 * What a guest read while its programs had taken its cache is no longer usual once it has that cache again. Chosen.
 */
export const USUAL_HALVES = 30_000;
export const USUAL_FALLS = 5000;
/** Two readings of the disk counters that are further apart than this give no rate, ms. */
export const READS_MOST_APART = 30_000;
/** What a guest is given, while there is room, if it starts to read from disk long after a shrink, or half of its size if more. Chosen. */
export const CACHE_STEP = 256 * MiB;
/** First pause in probing after a step too many. It doubles each time, up to LAST_PAUSE. */
export const FIRST_PROBE_PAUSE = 60_000;
/** How long a guest's reads are watched after a step into its cache, ms. */
export const WATCHED_FOR = 15_000;
/** Time between two readings of the disk counters of an idle guest that has given some of its cache, ms: 0.1 ms of CPU a second. */
export const WATCH_IDLE = 10_000;

/** A grant that has not shown in the resident memory of the guest's process after this time is no longer on its way (rule 8). */
export const GRANT_SHOWS = 10_000;
/** The balloon must have moved by this much before MemTotal can show whether it follows: more than figures differ by otherwise. */
export const FOLLOWS_LEAST = 32 * MiB;
/** Counters of a guest that fell more often than this without a boot are not counters but rates. */
export const MOST_FALLS = 2;
/** A guest that boots reports nothing for at least this long: [M] 4.5 s. */
export const REBOOT_SILENCE = 3000;

/** Counters that fall this soon after a reboot belong to that reboot: [M] new figures came up to 9 s after it under emulation. */
export const SAME_REBOOT = 30_000;
/** A guest that has not answered for this long since discovery, or since its boot, is reported. Chosen: most guests boot within it. */
export const BOOT_REPORTED = 30_000;

/** A guest counts as booting for at least this long after a reboot: its old figures stay for some 4.5 s [M]. */
export const REBOOT_BLIND = 6000;

/**
 * A guest that reports that it is short is not, while more than this of the memory it holds, KiB, is untouched by its process. QEMU's own
 * memory and what the guest's kernel keeps are less than that [M: 48 and 69 MiB].
 */
export const UNTOUCHED_LEAST = 128 * MiB;

/** Overhead of a domain's process, unless its resident memory shows more. */
export const LEAST_OVERHEAD = 48 * MiB;
/**
 * How long a guest whose figures do not show its rise can take memory before others have given for it, ms: a second until a sample shows
 * the rise, and a second until the donors' memory has arrived. At 200 MiB/s that is 400 MiB.
 */
export const UNSEEN = 2000;
/**
 * Number of guests that are assumed to start rising in the same second, where any of them may. Chosen: with three at 400 MiB, need could be
 * refused although the host really has more than a GiB.
 */
export const RISE_AT_ONCE = 2;
/**
 * For this long after a move that was not memcoord's, another coordinator is assumed to be at work. Meanwhile need and relief spend no more
 * than this part of their room.
 */
export const RIVAL_SEEN = 10_000;
export const RIVAL_SHARE = 1 / 2;
/** Bounds of the host's reserve (docs/policy.md, account). */
export const LEAST_RESERVE = 200 * MiB;
export const DEFAULT_RESERVE = 512 * MiB;
export const RESERVE_FRACTION = 0.05;
/** The reserve is out of danger once `available` exceeds it by this part. Otherwise the danger would be reported again and again. */
export const RESERVE_MARGIN = 1 / 8;
/**
 * While a guest waits, donors give in small steps in quick succession, so that little is under way at a time: this much, or this part of
 * what guests are charged if that is more.
 */
export const IN_TRANSIT = 48 * MiB;
export const IN_TRANSIT_FRACTION = 1 / 128;
/** Kept back for relief: this much per guest that is being shrunk below its least spare, but at most this part of the capacity. */
export const RELIEF_STEP = 16 * MiB;
export const RELIEF_FRACTION = 1 / 64;

/** CPU time of one extra sample of one guest, ms, over all processes: two period calls and one reading. */
export const SAMPLE_COST = 5;
/**
 * Unspent sampling budget is saved for this long, ms. When many guests become active at once (cron at midnight), each is sampled again and
 * again until memcoord knows what it does. With one second's savings, 6 of 10 guests that rose at 200 MiB/s beside 50 GiB died (simulated).
 * The cost: with a budget of 5 % of a core, a minute's savings are 3 s of CPU. At worst they are spent at once, followed by 5 % again.
 */
export const SAVED_FOR = 60_000;
/** CPU time of reading the disk counters of one guest, ms: 0.9 ms [M]. */
export const WATCH_COST = 1;
/**
 * Part of the sampling budget that reading disk counters may take. Chosen: at half, too little was saved up, and a crowd of 15 guests that
 * rose at 84 MiB/s lost one (simulated).
 */
export const WATCH_PART = 1 / 4;
/** CPU time of reading how long one virtual CPU has run, ms: 0.85 µs [M], plus what the policy computes from it for the guest. */
export const ACTIVITY_CHECK_COST = 0.002;
/** Part of the sampling budget that activity checks may take. */
export const ACTIVITY_CHECK_PART = 1 / 2;
/** No CPU takes memory into use faster than it can clear pages, KiB per ms of CPU time: 10 GiB/s on fast machines. */
export const CLEARING_SPEED = (10 * 1024 * MiB) / 1000;
/** A guest is at work if its virtual CPUs run for more than this part of the time, and for this many ms, between two samples ... */
export const BUSY_PART = 0.05;
export const BUSY_LEAST = 8;
/** ... or if its use rises by this much between two figures. After this long without either, ms, it is idle. */
export const BUSY_RISE = 4 * MiB;
export const IDLE_AFTER = 5000;
/** When an idle guest becomes active, it is sampled whenever its CPUs run, for this long, ms. */
export const FRESHLY_ACTIVE = 1000;
/** Number of guests that are assumed to rise at the same time, where it is known which are at work. */
export const AT_ONCE = 2;
/**
 * A guest whose use rises by at least this much a second counts as rising. Chosen: two thirds of the rate of the lab's memory eater. After
 * a rise of 200 MiB/s the trend falls below this within 11 s, so a guest that stopped long ago blocks no other.
 */
export const RISING = 12 * MiB;
/** A guest no longer counts as rising when its figures show no rise for this long, ms, or for two intervals if that is longer. Chosen. */
export const RISES_WITHIN = 2000;
/**
 * A guest that is kept alive is sampled again within this time, ms: it is at risk, so at the latest by the next sweep of the default
 * interval.
 */
export const RELIEVED = 1000;
/** The rate at which the host loses memory is a mean in which what was seen this long ago, ms, counts half. Chosen. */
export const DRAIN_HALVES = 300;
/** Time from a sample until donors have given, ms: their orders, their balloons, and for some a second step. Chosen. */
export const GIVEN_WITHIN = 500;
/** The burst that `status` reports as survivable lasts this long, ms: 600 MiB at 200 MiB/s. */
export const BURST_LASTS = 3000;
/**
 * virErrorNumbers by which a hypervisor refuses permanently: no support (3), denied (29, 88), unsupported operation, argument or
 * configuration (84, 74, 67).
 */
export const REFUSALS: ReadonlySet<number> = new Set([3, 29, 67, 74, 84, 88]);
/** Shortest time between two samples, from start to start. */
export const LEAST_SAMPLE = 100;
/** The most that may be taken at once is what the pace allows in this time, ms. */
export const PACE_WINDOW = 1000;
/** A state of the host is reported when it has lasted this long, ms: contention comes and goes with every step of a load. Chosen. */
export const STATE_HOLDS = 5000;
