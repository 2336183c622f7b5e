/**
 * Do no harm: no guest may fare worse than if nobody managed the host. The judge knows the true state of the host, and compares it with the
 * same scenario unmanaged.
 *
 * It judges only guests and hosts that could have been helped. The guest and libvirt must have been reachable since the guest last had
 * what it needs. The balloon must be as fast as `burst`. The guest's use must not rise faster than `burst`. Unless memory is plainly
 * available, neither must anybody else's. Each exclusion below is a blind spot, so each states its reason.
 */
import { formatSize, GiB, MiB } from '../common/units.js';
import type { Config } from '../config/config.js';
import {
  ADOPTED_INTERVALS,
  BRISK_AHEAD,
  CRITICAL_SPARE,
  GIVEN_WITHIN,
  LEAST_RESERVE,
  LEAST_SPARE,
  LEAST_SPARE_FRACTION,
  RISING,
  SAME,
} from '../policy/limits.js';
import { isNonsense } from './figures.js';
import { DISK_RATE, type Killer, OVERHEAD, type SimGuest } from './guest.js';
import type { SimHost, Stored } from './host.js';
import { floorOf, poolOf, reserveOf, type SimSettings, settingsReader } from './settings.js';
import { balloonsOf, isControlled, type Unmanaged } from './unmanaged.js';

export const HARMS = {
  dies: 'nobody dies where the host, unmanaged, never fell below its reserve and nobody died',
  outlives: 'nobody dies who lives unmanaged, while the host has its reserve and 1 GiB more',
  starves: 'no guest is left with less than it uses and the least spare while the host could pay for it',
  host: 'the host is left its reserve, or what it would have unmanaged where that is less',
  thrash: 'nobody swaps or faults more than unmanaged, while the host has its reserve and 1 GiB more',
  rereads: 'nobody reads from disk twice as much as unmanaged for more than 10 s of any minute, while nobody waits in need',
} as const;
/** A kind of harm to a guest, or to the host. */
export type Harm = keyof typeof HARMS;

/** Time between two judgements, ms. */
const TICK_MS = 100;
/** A rise is measured over one tick, and over this many, which are a second. */
const RISE_TICKS = 10;
/** How much a guest's noise can add to a rise, KiB. */
const RISE_SLACK = 4 * MiB;
/** What the managed host must have above its reserve for the coordinator to be blamed for a death on it. */
const ROOM = GiB;
/** Without extra samples a rise is seen a sweep later. The host may then be left this much less for each second of the interval, KiB. */
const SWEEPS_SLACK = 32 * MiB;
/**
 * A host may be left this much less: guests take it between a sample and its moves. If it loses memory faster, it may be left less by what
 * it loses until donors can have given: a tenth of a second until the next sample, and GIVEN_WITHIN.
 */
const HOST_SLACK = 64 * MiB;
const REACTION_MS = TICK_MS + GIVEN_WITHIN;
/** A guest that lacks less than this is not short, KiB: a guest's noise, and the band within which no guest is moved. */
const SHORT_BAND = 16 * MiB;
/** A shortage counts once it has lasted for this long, ms. */
const SHORT_MS = 5000;
/** Time to notice that a guest answers again, on top of one interval, ms. */
const NOTICED_MS = 1200;
/** A coordinator knows its guests this long after its first sample (two forced refreshes), ms. */
const KNOWN_MS = 2000;
/** A coordinator that lost its connection retries at least this often, ms (registry.ts: 30 s, and the pause before). */
const RETRY_MS = 31_000;
/** If somebody else sets a target below what the guest uses, its balloon takes at most this long to get there, ms. */
const CUT_MS = 10_000;
/** A guest that stops answering delays all others by this, once, ms: a reading and an order wait for it until they are late. */
const HANG_MS = 700;
/** Number of guests that are assumed to rise before the next sample: they do not all rise in the same second. */
const RISE_AT_ONCE = 3;
/** A grant that has not shown in resident memory after this time never will, ms. */
const GRANT_MS = 10_000;
/** After somebody else has moved a guest, they are expected to do so again for this long, ms. */
const OTHER_MS = 60_000;
/** Swap-in and major faults that a probe may cost beyond those unmanaged: the faults of five seconds without any hot cache. */
const MOST_SWAP_IN = 64 * MiB;
const MOST_FAULTS = 10_000;
/**
 * What a guest may read beyond twice what it reads unmanaged, KiB/s: a tenth of what its disk can deliver. A guest is harmed if it reads
 * more for MOST_REREADING_MS within REREADING_WITHIN_MS.
 */
const READS_SLACK = DISK_RATE / 10;
const MOST_REREADING_MS = 10_000;
const REREADING_WITHIN_MS = 60_000;
/** If use has grown by no more than this since a shrink, the growth is noise, KiB. */
const SHRUNK_SLACK = 16 * MiB;

/** What the judge knows about a guest. */
interface Standing {
  readonly guest: SimGuest;
  readonly settings: SimSettings;
  readonly lives: boolean;
  /** What the guest used at the last ticks, latest first. */
  readonly used: number[];
  /** Before this time, the coordinator cannot know that the guest answers. */
  awayUntil: number;
  hung: boolean;
  /** The guest could be helped: it had what it needs, and since then it was reachable and its use did not rise too fast. */
  sound: boolean;
  /** In addition, nobody else's use rose too fast: donors would have had no time to give that memory. */
  quiet: boolean;
  /** Since when the guest has been short while there was memory that it could have; null if it is not. */
  shortSince: number | null;
  /** Swap-out and major faults that are not held against the coordinator, for instance because the host had no room. */
  excusedSwap: number;
  excusedFaults: number;
  /** What the guest used when the coordinator last took memory from it. */
  usedAtShrink: number;
  /** When the guest's use last rose by RISING within a second. */
  roseAt: number;
  /** When somebody else last set the guest's size. */
  setAt: number;
  swapOut: number;
  majorFault: number;
  /** What the guest had read from disk at the last ticks, latest first, managed and unmanaged. */
  readonly reads: number[];
  readonly readsUnmanaged: number[];
  /** The ticks at which the guest read far more from disk than unmanaged. */
  rereads: number[];
  /** True: the guest reads more because it could not be helped. Stays true until it no longer reads far more than unmanaged. */
  excusedReads: boolean;
  readonly violated: Set<Harm>;
}

/** A growth that the coordinator ordered. */
interface Grant {
  readonly guest: SimGuest;
  readonly at: number;
  /** The part that has not shown yet in what the guest holds, and what the guest held when that was computed. */
  left: number;
  held: number;
}

export class HarmJudge {
  /** For each kind of harm: whether its condition was ever met, so that it could have been violated. */
  readonly judged: Record<Harm, boolean>;
  readonly #host: SimHost;
  readonly #config: Config;
  readonly #unmanaged: Unmanaged;
  readonly #violate: (harm: Harm, guest: SimGuest | null, message: string) => void;
  readonly #settings: (guest: SimGuest) => SimSettings;
  readonly #reserve: number;
  readonly #pool: number;
  readonly #standings = new Map<SimGuest, Standing>();
  #grants: Grant[] = [];
  #tickedAt = 0;
  #begun = false;
  #ownUse: number[] = [];
  /** What was available on the host at the last ticks, latest first. */
  #available: number[] = [];
  /** Since when the daemon is back; Infinity while it is away; null once the coordinator has sampled again, or RETRY_MS are over. */
  #lostSince: number | null = 0;
  #awayUntil = 0;
  #otherAt = Number.NEGATIVE_INFINITY;
  /** When a guest last lacked what it needs. */
  #neededAt = Number.NEGATIVE_INFINITY;
  /** Since when the host has had ROOM above its reserve; Infinity while it does not. */
  #roomSince = 0;
  #hostSound = false;
  /** The last time that no guest could give memory. */
  #bareAt = Number.NEGATIVE_INFINITY;
  #hostShaken = false;
  #hostViolated = false;

  constructor(host: SimHost, config: Config, unmanaged: Unmanaged, violate: (harm: Harm, guest: SimGuest | null, message: string) => void) {
    const settings = settingsReader(config);
    this.#host = host;
    this.#config = config;
    this.#unmanaged = unmanaged;
    this.#violate = violate;
    this.#settings = ({ spec }) => settings(spec);
    this.#reserve = reserveOf(config, host.total, host.hugePages);
    this.#pool = poolOf(config, host.total);
    this.judged = { dies: this.#couldLiveUnmanaged, outlives: false, starves: false, host: false, thrash: false, rereads: false };
  }

  /** Unmanaged, no guest died, and the host and the pool had room for all. A smaller pool is an order to take memory from the guests. */
  get #couldLiveUnmanaged(): boolean {
    const { host, guests, withinPool } = this.#unmanaged;
    return withinPool && host.leastAvailable >= this.#reserve + HOST_SLACK && [...guests.values()].every(({ kills }) => kills === 0);
  }

  /** To be called when the coordinator has sampled all guests. */
  sampled(): void {
    if (this.#lostSince === null || this.#host.daemon !== 'up') return;
    this.#lostSince = null;
    this.#awayUntil = this.#host.now + KNOWN_MS;
  }

  /** To be called when a target was stored. */
  stored({ guest, by, target, charge }: Stored): void {
    const { now } = this.#host;
    if (by === 'other') {
      this.#otherAt = now;
      // The coordinator has yet to see what somebody else has just done.
      const standing = this.#standings.get(guest);
      if (standing !== undefined) {
        standing.shortSince = null;
        standing.setAt = now;
        // Such a target takes memory that the guest needs, and the balloon is faster than any help.
        if (guest.target < guest.used + LEAST_SPARE) standing.awayUntil = Math.max(standing.awayUntil, now + CUT_MS);
      }
    } else if (guest.target < target) this.#standingOf(guest).usedAtShrink = guest.used;
    else if (guest.target > target)
      this.#grants.push({ guest, at: now, left: Math.max(0, guest.target - Math.max(target, charge)), held: guest.held });
  }

  killed(guest: SimGuest, by: Killer): void {
    const { now } = this.#host;
    const standing = this.#standings.get(guest);
    if (standing === undefined || this.#risesFast(standing)) return;
    // If the host is out of memory, the death counts even for a guest that was not moved or cannot be moved.
    if (by === 'host' ? !this.#hostSound : !standing.sound) return;
    const quiet = standing.quiet && !this.#anyoneRisesFast();
    const killer = { guest: 'runs out of memory', host: 'is killed by a host that ran out', limit: 'is killed at its hard limit' }[by];
    const left = `${formatSize(guest.used)} used of ${formatSize(guest.size)}, ${formatSize(this.#host.available)} available`;
    if (this.judged.dies && quiet) this.#report('dies', standing, `${killer}: ${left}`);
    // The coordinator cannot have seen room that has only just become free, for example because the host has killed a guest.
    if (standing.lives && now - this.#roomSince >= NOTICED_MS)
      this.#report('outlives', standing, `${killer}, and lives unmanaged: ${left}`);
  }

  step(): void {
    const { now } = this.#host;
    if (now - this.#tickedAt < TICK_MS) return;
    const fast = new Set([...this.#standings.values()].filter((standing) => this.#risesFast(standing)));
    const quiet = fast.size === 0 && !this.#hostRisesFast();
    this.#tickedAt = now;
    this.#outstanding();
    this.#grants = this.#grants.filter(({ at }) => now - at < GRANT_MS);
    const away = this.#isAway();
    this.#note();
    const standings = this.#host.guests.map((guest) => this.#standingOf(guest));
    this.#judgeHost(standings, away, quiet);
    const hasRoom = this.#room >= ROOM;
    const canPay = this.#payable(standings) >= HOST_SLACK;
    if (!hasRoom) this.#roomSince = Number.POSITIVE_INFINITY;
    else if (this.#roomSince === Number.POSITIVE_INFINITY) this.#roomSince = now;
    if (standings.some((standing) => isControlled(standing.guest, standing.settings) && lackOf(standing) > SHORT_BAND))
      this.#neededAt = now;
    for (const standing of standings) {
      this.#see(standing, away, fast.has(standing), quiet);
      const isOutside = hasRoom && standing.lives && standing.sound;
      this.judged.outlives ||= isOutside;
      this.#judgeThrashing(standing, isOutside);
      this.#judgeReads(standing, isOutside && canPay && now - this.#neededAt >= SHORT_MS);
    }
    this.#judgeShortage(standings);
    this.#begun = true;
  }

  #report(harm: Harm, standing: Standing, message: string): void {
    if (standing.violated.has(harm)) return;
    standing.violated.add(harm);
    this.#violate(harm, standing.guest, message);
  }

  /** What the host has above its reserve, or the pool above the balloons, whichever is less. */
  get #room(): number {
    return Math.min(this.#host.available - this.#reserve, this.#pool - balloonsOf(this.#host, this.#settings));
  }

  /** True: the coordinator cannot act: the daemon is away, the coordinator has yet to learn its guests, or a hung guest delays it. */
  #isAway(): boolean {
    const { now } = this.#host;
    if (this.#host.daemon !== 'up') this.#lostSince = Number.POSITIVE_INFINITY;
    else if (this.#lostSince === Number.POSITIVE_INFINITY) this.#lostSince = now;
    else if (this.#lostSince !== null && now - this.#lostSince > RETRY_MS) this.#lostSince = null;
    return this.#lostSince !== null || now < this.#awayUntil;
  }

  /** True: the guest takes memory faster than `burst`. Nothing is promised for that. */
  #risesFast({ guest, used }: Standing): boolean {
    return this.#isFast(used, guest.used);
  }

  #hostRisesFast(): boolean {
    return this.#isFast(this.#ownUse, this.#hostsOwn);
  }

  #anyoneRisesFast(): boolean {
    return this.#hostRisesFast() || [...this.#standings.values()].some((standing) => this.#risesFast(standing));
  }

  /** @param before what was used at the last ticks, latest first */
  #isFast(before: readonly number[], used: number): boolean {
    const ms = this.#host.now - this.#tickedAt;
    return [0, RISE_TICKS - 1].some((back) => {
      const then = before[back];
      const most = (1.02 * this.#config.burstKiBs * (ms + back * TICK_MS)) / 1000 + RISE_SLACK;
      return then !== undefined && used - then > most;
    });
  }

  /** What the host itself uses, with pinned guests: what a device pins at once is not the growth of a guest. */
  get #hostsOwn(): number {
    return this.#host.guests.reduce((sum, { pinned, held }) => (pinned ? sum + held : sum), this.#host.used);
  }

  #note(): void {
    const ticks = Math.max(RISE_TICKS, this.#ticksOfInterval);
    remember(this.#ownUse, this.#hostsOwn, ticks);
    remember(this.#available, this.#host.available, ticks);
    for (const { guest, used } of this.#standings.values()) remember(used, guest.used, ticks);
  }

  #standingOf(guest: SimGuest): Standing {
    const known = this.#standings.get(guest);
    if (known !== undefined) return known;
    const standing: Standing = {
      guest,
      settings: this.#settings(guest),
      lives: this.#unmanaged.guests.get(guest.spec.name)?.kills === 0,
      // What a guest takes at once when it is started is a rise too.
      used: this.#begun ? new Array<number>(RISE_TICKS).fill(0) : [],
      awayUntil: 0,
      hung: false,
      sound: false,
      quiet: false,
      shortSince: null,
      excusedSwap: 0,
      excusedFaults: 0,
      usedAtShrink: 0,
      roseAt: Number.NEGATIVE_INFINITY,
      setAt: Number.NEGATIVE_INFINITY,
      swapOut: 0,
      majorFault: 0,
      reads: [],
      readsUnmanaged: [],
      rereads: [],
      excusedReads: false,
      violated: new Set(),
    };
    this.#standings.set(guest, standing);
    return standing;
  }

  #see(standing: Standing, away: boolean, fast: boolean, quiet: boolean): void {
    const { guest } = standing;
    const { now } = this.#host;
    if (guest.hung && !standing.hung) this.#awayUntil = Math.max(this.#awayUntil, now + HANG_MS);
    standing.hung = guest.hung;
    if (!isReachable(guest)) standing.awayUntil = now + Math.max(this.#config.intervalMs, 1000 * guest.period) + NOTICED_MS;
    if (!guest.unballooned && risenOf(standing) >= RISING) standing.roseAt = now;
    // With a slow balloon, the guest does not get in time what it is given.
    const slow = guest.speed < this.#config.burstKiBs;
    if (away || fast || slow || now < standing.awayUntil || isCapped(standing)) standing.sound = false;
    else if (lackOf(standing) <= SAME) standing.sound = true;
    standing.quiet = quiet && standing.sound && (standing.quiet || lackOf(standing) <= SAME);
  }

  /** (d) Is the host harmed, although it could have been helped since it last had its reserve? */
  #judgeHost(standings: readonly Standing[], away: boolean, quiet: boolean): void {
    const { available } = this.#host;
    // After a rise that was too fast, the host has recovered once it has its reserve and room for the rises that are assumed.
    if (!quiet) this.#hostShaken = true;
    else if (available >= this.#reserve + this.#risesOf(standings)) this.#hostShaken = false;
    if (away || this.#hostShaken) this.#hostSound = false;
    else if (available >= this.#reserve) this.#hostSound = true;
    this.judged.host ||= this.#hostSound;
    // Guests that are killed unmanaged leave that host what they held. Here they live, and may use up to a quarter of `usual` for that.
    const saved = standings.reduce(
      (sum, { guest, lives }) => sum + (lives || guest.kills > 0 ? 0 : guest.used - (guest.spec.base ?? 0)),
      0,
    );
    const usual = Math.min(this.#reserve, this.#unmanaged.host.leastAvailable);
    const least = usual - Math.min(Math.max(0, saved), usual / 4);
    const lost = (this.#available[RISE_TICKS - 1] ?? available) - available;
    const slack =
      Math.max(HOST_SLACK, (lost * REACTION_MS) / 1000) +
      (this.#config.samplingBudget > 0 ? 0 : (SWEEPS_SLACK * this.#config.intervalMs) / 1000);
    // A guest that lies about its use is given what it says it needs, and cannot be asked for any of it.
    const lied = standings.some(({ guest, settings }) => isNonsense(guest.spec.figures) && isControlled(guest, settings));
    // If no guest has had anything to give, the host cannot be helped.
    // The coordinator leaves a guest alone for a while after somebody else has set it (rule 13).
    const left = (each: Standing) => this.#host.now - each.setAt < ADOPTED_INTERVALS * this.#config.intervalMs;
    if (!standings.some((each) => isControlled(each.guest, each.settings) && canGive(each) && !left(each))) this.#bareAt = this.#host.now;
    const bare = this.#host.now - this.#bareAt < this.#config.intervalMs + NOTICED_MS;
    if (!this.#hostSound || this.#hostViolated || lied || bare || available >= least - slack) return;
    this.#hostViolated = true;
    const unmanaged = formatSize(this.#unmanaged.host.leastAvailable);
    this.#violate(
      'host',
      null,
      `has ${formatSize(available)} left; its reserve is ${formatSize(this.#reserve)}, unmanaged it has ${unmanaged}`,
    );
  }

  /** (c) Is a guest short although there is memory for it? */
  #judgeShortage(standings: readonly Standing[]): void {
    const { now } = this.#host;
    const short = standings.filter((standing) => this.#mayBeShort(standing) && this.#lackSampled(standing) > SHORT_BAND);
    const lacking = short.reduce((sum, standing) => sum + lackOf(standing), 0);
    const payable = short.length > 0 && this.#payable(standings) >= lacking;
    this.judged.starves ||= payable;
    for (const standing of standings) {
      if (!payable || !short.includes(standing)) {
        standing.shortSince = null;
        continue;
      }
      standing.shortSince ??= now;
      const { guest } = standing;
      if (now - standing.shortSince <= Math.max(SHORT_MS, 2 * this.#config.intervalMs + NOTICED_MS)) continue;
      const lack = formatSize(this.#lackSampled(standing));
      const room = formatSize(this.#payable(standings));
      this.#report(
        'starves',
        standing,
        `has ${formatSize(guest.size)} and uses ${formatSize(guest.used)}: ${lack} short, ${room} could be given`,
      );
    }
  }

  /** True: the guest may be moved, its figures can be believed, it could be reached for long enough, and its balloon is fast enough. */
  #mayBeShort({ guest, settings, awayUntil }: Standing): boolean {
    const { spec } = guest;
    if (this.#lostSince !== null || this.#host.now < Math.max(awayUntil, this.#awayUntil)) return false;
    return isControlled(guest, settings) && !isNonsense(spec.figures) && guest.speed >= this.#config.burstKiBs;
  }

  /** What the guest lacks by its lowest use within the last interval: the coordinator cannot know yet what it has taken since. */
  #lackSampled(standing: Standing): number {
    const used = Math.min(standing.guest.used, ...standing.used.slice(0, this.#ticksOfInterval));
    return lackOf(standing, used);
  }

  get #ticksOfInterval(): number {
    return Math.ceil(this.#config.intervalMs / TICK_MS) + 1;
  }

  /** True: the host will soon lack memory if it goes on losing it at the worst rate of the last ticks. Donors are then asked for more. */
  get isPressing(): boolean {
    const { available } = this.#host;
    const drops = this.#available.map((then, i) => then - (this.#available[i - 1] ?? available));
    return available - this.#reserve < (Math.max(0, ...drops) * BRISK_AHEAD) / TICK_MS;
  }

  /** Memory that the host has left for guests in need, KiB. */
  get needRoom(): number {
    return this.#needRoom(this.#host.guests.map((guest) => this.#standingOf(guest)));
  }

  #needRoom(standings: readonly Standing[]): number {
    return this.#host.available - this.#reserve - this.#risesOf(standings) - this.#outstanding();
  }

  /** Memory that guests in need can be given, KiB. */
  #payable(standings: readonly Standing[]): number {
    const { memAvailable, now } = this.#host;
    const room = this.#needRoom(standings);
    // While another coordinator is seen, need may use only half of the room.
    const share = now - this.#otherAt < OTHER_MS ? 1 / 2 : 1;
    return Math.min(share * room, memAvailable - LEAST_RESERVE, this.#pool - balloonsOf(this.#host, this.#settings));
  }

  /** Memory that guests can take before a coordinator reacts, KiB. */
  #risesOf(standings: readonly Standing[]): number {
    const reaction = (this.#config.burstKiBs * (this.#config.intervalMs + 1000)) / 1000;
    // All guests whose figures showed a recent rise are taken to rise, however many they are. Of the others, a few may begin to.
    const others: number[] = [];
    let taken = 0;
    for (const each of standings) {
      const { guest, settings, roseAt } = each;
      const shows = isControlled(guest, settings) && !isNonsense(guest.spec.figures);
      if (shows && this.#host.now - roseAt < GRANT_MS) taken += Math.min(guest.mayTake, Math.max(LEAST_SPARE, 2 * risenOf(each)));
      else others.push(Math.min(mayTake(each), reaction));
    }
    const few = others.sort((a, b) => b - a).slice(0, RISE_AT_ONCE);
    return few.reduce((sum, rise) => sum + rise, taken);
  }

  /** Granted memory that has not shown yet in what the guests hold, KiB. What a guest takes counts for its oldest grant first. */
  #outstanding(): number {
    const taken = new Map<SimGuest, number>();
    let outstanding = 0;
    for (const grant of this.#grants) {
      const { guest } = grant;
      const rest = taken.get(guest) ?? Math.max(0, guest.held - grant.held);
      taken.set(guest, Math.max(0, rest - grant.left));
      grant.left = Math.max(0, grant.left - rest);
      outstanding += grant.left;
    }
    for (const grant of this.#grants) grant.held = grant.guest.held;
    return outstanding;
  }

  /** (f) Does a guest swap or fault more than unmanaged, although there is room for it? */
  #judgeThrashing(standing: Standing, outside: boolean): void {
    const { guest } = standing;
    const { spec, swapIn, swapOut, majorFault } = guest;
    // A rival sets other sizes if it sees other sizes: the two hosts then differ by more than the coordinator's moves.
    if ((spec.swap === undefined && spec.hot === undefined) || Number.isFinite(this.#otherAt)) return;
    if (outside) this.judged.thrash = true;
    // What was swapped out for lack of room is swapped in once there is room. A guest that has its ceiling cannot be helped.
    if (!outside || guest.size >= standing.settings.ceiling - SAME) standing.excusedSwap += Math.max(0, swapOut - standing.swapOut);
    // The guest's own programs have taken this cache since its last shrink. How much cache a guest works in is a separate question
    // (rule 16).
    if (!outside || guest.used > standing.usedAtShrink + SHRUNK_SLACK)
      standing.excusedFaults += Math.max(0, majorFault - standing.majorFault);
    standing.swapOut = swapOut;
    standing.majorFault = majorFault;
    if (!outside) return;
    const unmanaged = this.#unmanaged.sufferedAt(spec.name, this.#host.now);
    const swapped = swapIn - standing.excusedSwap - unmanaged.swapIn;
    const faults = majorFault - standing.excusedFaults;
    if (swapped > MOST_SWAP_IN) this.#report('thrash', standing, `has swapped in ${formatSize(swapped)} more than unmanaged`);
    else if (faults > 2 * unmanaged.majorFaults + MOST_FAULTS)
      this.#report('thrash', standing, `has had ${Math.round(faults)} major faults, ${Math.round(unmanaged.majorFaults)} unmanaged`);
  }

  /** (g) Does a guest read far more from disk than unmanaged, although there is room for its cache? */
  #judgeReads(standing: Standing, outside: boolean): void {
    const { guest, reads, readsUnmanaged } = standing;
    const { spec, diskReads } = guest;
    if (spec.hot === undefined || Number.isFinite(this.#otherAt)) return;
    const { now } = this.#host;
    const unmanaged = this.#unmanaged.sufferedAt(spec.name, now).diskReads;
    // The unmanaged host was recorded once a second: take its reads in the last second, or the mean of the last three if that is more.
    const second = diskReads - (reads[RISE_TICKS - 1] ?? diskReads);
    const there = Math.max(
      unmanaged - (readsUnmanaged[RISE_TICKS - 1] ?? unmanaged),
      (unmanaged - (readsUnmanaged[3 * RISE_TICKS - 1] ?? unmanaged)) / 3,
    );
    remember(reads, diskReads, RISE_TICKS);
    remember(readsUnmanaged, unmanaged, 3 * RISE_TICKS);
    standing.rereads = standing.rereads.filter((at) => now - at < REREADING_WITHIN_MS);
    const rereads = second > 2 * there + READS_SLACK;
    // Cache that was lost for lack of room, or to a rise that was too fast, is read again once there is room for it.
    standing.excusedReads = rereads && (!outside || standing.excusedReads);
    if (outside) this.judged.rereads = true;
    if (!rereads || standing.excusedReads) return;
    standing.rereads.push(now);
    if (standing.rereads.length * TICK_MS > MOST_REREADING_MS)
      this.#report(
        'rereads',
        standing,
        `reads ${formatSize(second)} from disk in a second, ${formatSize(there)} unmanaged, at ${formatSize(guest.size)}`,
      );
  }
}

function remember(ticks: number[], value: number, most: number): void {
  ticks.unshift(value);
  if (ticks.length > most) ticks.pop();
}

function isReachable({ hung, frozen, paused, migrating, stuck, unballooned, pinned }: SimGuest): boolean {
  return !(hung || frozen || paused || migrating || stuck || unballooned || pinned);
}

/**
 * What a guest can still take, as far as the coordinator can know: it does not check whether the driver of a guest that it does not control
 * came back after a reboot.
 */
function mayTake({ guest, settings }: Standing): number {
  if (isControlled(guest, settings) || !guest.rebooted || guest.spec.backing === 'hugetlb') return guest.mayTake;
  return Math.max(guest.mayTake, guest.spec.maximum + guest.plugged - guest.held);
}

/** The largest size that the guest's ceiling, its hard limit and its balloon allow. */
function capOf({ guest: { spec, plugged }, settings }: Standing): number {
  const { most = Number.POSITIVE_INFINITY, hardLimit = Number.POSITIVE_INFINITY } = spec;
  return Math.min(settings.ceiling, most, hardLimit - OVERHEAD) + plugged;
}

/** True: the guest is as large as it may be, and that is less than its maximum. No coordinator can give it more. */
function isCapped(standing: Standing): boolean {
  const { guest } = standing;
  const cap = capOf(standing);
  return cap < guest.spec.maximum + guest.plugged && guest.size >= cap - SAME;
}

/** True: the guest answers, and has more than its floor, and more than its use, its critical spare and what it takes before help comes. */
function canGive(standing: Standing): boolean {
  const { guest, settings } = standing;
  if (!isReachable(guest)) return false;
  const soon = (risenOf(standing) * REACTION_MS) / 1000;
  return guest.size > Math.max(floorOf(settings, guest), guest.used + CRITICAL_SPARE + soon) + SHORT_BAND;
}

/** How much the guest's use has risen in the last second, KiB; 0 if it has fallen. */
function risenOf({ guest, used }: Standing): number {
  return Math.max(0, guest.used - (used[RISE_TICKS - 1] ?? guest.used));
}

/** How much the guest really lacks of its use plus the least spare, or of its cap, KiB; negative if it has more. */
function lackOf(standing: Standing, used = standing.guest.used): number {
  const { guest, settings } = standing;
  const { size, figures } = guest;
  // A coordinator that goes by MemFree counts the watermarks as spare too.
  const watermarks = settings.signal === 'unused' && figures !== null ? Math.max(0, figures.unused - figures.usable) : 0;
  const need = used + Math.max(LEAST_SPARE, used * LEAST_SPARE_FRACTION) - watermarks;
  return Math.min(need, capOf(standing)) - size;
}
