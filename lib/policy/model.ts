/**
 * The model: what is believed of each guest, carried from look to look.
 *
 * `observe` folds one look into the beliefs (orders.ts notes the moves). It gives new beliefs and leaves the old alone.
 */
import {
  ACTUAL,
  AVAILABLE,
  LAST_UPDATE,
  MAJOR_FAULT,
  MAXIMUM,
  MINOR_FAULT,
  READ,
  READ_AT,
  RSS,
  STATE,
  STATUS,
  STRIDE,
  SWAP_IN,
  UNUSED,
  USABLE,
} from '../sweep.js';
import { formatSize } from '../units.js';
import {
  ADOPTED_INTERVALS,
  ADOPTED_QUIET,
  BALLOON_LATENCY,
  BALLOON_SPEED,
  DEFAULT_SHARE,
  FIRST_PAUSE,
  FIRST_REFUSED_PAUSE,
  FLOOR_FRACTION,
  LAST_PAUSE,
  LEAST_FLOOR,
  LEAST_OVERHEAD,
  LEAST_PROGRESS,
  ORDER_GRACE,
  PROGRESS_WINDOW,
  REBOOT_BLIND,
  SAME,
  THRASH_FAULTS,
  THRASH_SWAP_IN,
  THRASH_WINDOW,
} from './limits.js';
import type { GuestContext, Look, Notice, Phase, PolicyConfig, Reason, Signal } from './types.js';

/** Why the next plan must take a guest's target back. */
export interface Rollback {
  readonly reason: 'no-progress' | 'thrashing' | 'silent';
  /** Target to go back to, KiB: above the present one where a shrink is taken back, under it where a growth is. */
  readonly to: number;
}

/** What is believed of one guest. KiB, ms, KiB/s; NaN = not known. */
export interface Belief {
  readonly uuid: string;
  readonly name: string;
  /** libvirt's id: another one means another start of the domain. */
  readonly id: number;
  readonly phase: Phase;
  /** Why it is excluded or not moved, for people; null where it is coordinated. */
  readonly why: string | null;

  readonly floor: number;
  readonly ceiling: number;
  readonly share: number;
  readonly signal: Signal;

  /** True where its balloon frees nothing for the host: it is charged its maximum. */
  readonly pinned: boolean;
  /** The domain's own maximum. */
  readonly maximum: number;
  readonly actual: number;
  /** When `actual` was read. */
  readonly actualAt: number;
  /** Since when `actual` has been what it is, to within SAME. */
  readonly restingSince: number;
  /** What was last asked for, or adopted. */
  readonly target: number;
  /** When we last asked; -Infinity = never. */
  readonly orderedAt: number;
  /** The target before that. */
  readonly orderedFrom: number;
  /** Refused moves: none before this time, and the next pause. */
  readonly refusedUntil: number;
  readonly refusedPause: number;
  /** Resident memory of the domain's process on the host; NaN where not reported. */
  readonly rss: number;
  /** What the process takes beside the guest's memory. */
  readonly overhead: number;

  /** The guest's last figures as they came. */
  readonly unused: number;
  readonly usable: number;
  readonly available: number;
  readonly lastUpdate: number;
  readonly swapIn: number;
  readonly majorFault: number;
  readonly minorFault: number;
  /** When the figures were last seen to change: proof that the guest answers. NaN = never. */
  readonly figuresAt: number;
  /** How often they changed since the guest is in this phase. */
  readonly samples: number;
  /** True where the figures come from a forced refresh. */
  readonly refreshed: boolean;

  /** `size - available`: what the guest's kernel keeps from MemTotal, constant for a boot; known once two samples agreed on it. */
  readonly kernel: number;
  /** K as the last sample of a resting balloon had it. */
  readonly kernelSeen: number;
  /** Balloon size at the time of the figures. */
  readonly size: number;
  /** True where `size` is known and not only assumed. */
  readonly paired: boolean;
  /** `size - spare`: what the guest uses, its kernel's share included (K cancels out). */
  readonly used: number;
  /** Growth of `used`, fast up, slow down; never negative. */
  readonly trend: number;

  /** Learned speed of the balloon. */
  readonly speed: number;
  /** Size below which the guest could not be pushed; 0 = none known. */
  readonly reachable: number;
  /** No shrinking before this time, and the next pause after a failure. */
  readonly shrinkAfter: number;
  readonly pause: number;
  /** Progress of a shrink under way: size at the start of the window, and the start. */
  readonly windowActual: number;
  readonly windowAt: number;
  /** Last shrink: when, and the target before it. */
  readonly shrunkAt: number;
  readonly shrunkFrom: number;
  /** When it was last made to grow. */
  readonly grownAt: number;
  /** Usual major faults a second, while not shrunk. */
  readonly usualFaults: number;
  /** What was taken from it so far is paid off at this time, at the pace of shrinking (safety.ts). */
  readonly paidAt: number;

  readonly rebootedAt: number;
  readonly rollback: Rollback | null;
  /** Somebody else's move is being adopted and has not been told yet. */
  readonly adopting: boolean;
  /** When people were last told of one. */
  readonly adoptedToldAt: number;
  readonly lastReason: Reason | null;
}

/** What is believed of the host's guests, in the order of the last sweep. */
export interface Model {
  readonly at: number;
  readonly guests: readonly Belief[];
  /** Host state told last, and since when the present one holds. */
  readonly told: HostState;
  readonly state: HostState;
  readonly stateSince: number;
  readonly pressure: boolean;
  /** True while a guest lacks memory that others have yet to give. */
  readonly waiting: boolean;
}

export type HostState = 'ample' | 'contended' | 'overcommitted';

export const EMPTY_MODEL: Model = {
  at: Number.NEGATIVE_INFINITY,
  guests: [],
  told: 'ample',
  state: 'ample',
  stateSince: Number.NEGATIVE_INFINITY,
  pressure: false,
  waiting: false,
};

/** Memory that the host must count on for a guest, without overhead (rule 3). */
export function charge(belief: Belief): number {
  // A guest can be paused while it boots.
  const booting = belief.phase === 'booting' || (belief.phase === 'paused' && belief.samples < 2);
  const blind = booting || Number.isNaN(belief.figuresAt);
  if (blind || belief.pinned || Number.isNaN(belief.actual)) return belief.maximum;
  return Math.max(belief.target, belief.actual);
}

/** Spare of the guest at its present balloon size, in its signal. */
export function spareNow(belief: Belief): number {
  return belief.actual - belief.used;
}

/** Folds a look into the model. The notices say what changed for people. */
export function observe(model: Model, look: Look, config: PolicyConfig): { model: Model; notices: Notice[] } {
  const notices: Notice[] = [];
  const before = new Map(model.guests.map((belief) => [belief.uuid, belief]));
  const { guests, figures } = look.sweep;
  const after: Belief[] = [];
  for (let row = 0; row < guests.length; row++) {
    const guest = guests[row];
    if (guest === undefined) continue;
    const known = before.get(guest.uuid);
    before.delete(guest.uuid);
    const context = look.contexts.get(guest.uuid);
    const previous = known === undefined || known.id !== guest.id ? fresh(guest.uuid, guest.name, guest.id, context, look.at) : known;
    const figure = (field: number) => figures[row * STRIDE + field] ?? Number.NaN;
    const belief = judge(read(previous, figure, look, context, config), figure, look, context, config);
    if (previous !== known) notices.push(notice('guest-appeared', 'info', belief, `${belief.name} is here`));
    const adopted = belief.adopting && belief.restingSince < look.at;
    const news = adopted && look.at - belief.adoptedToldAt >= ADOPTED_QUIET;
    tell(previous, belief, news, notices);
    after.push(adopted ? { ...belief, adopting: false, adoptedToldAt: news ? look.at : belief.adoptedToldAt } : belief);
  }
  for (const gone of before.values()) notices.push(notice('guest-gone', 'info', gone, `${gone.name} is gone`));
  return { model: { ...model, at: look.at, guests: after }, notices };
}

function fresh(uuid: string, name: string, id: number, context: GuestContext | undefined, at: number): Belief {
  const maximum = context?.facts?.maximum ?? Number.NaN;
  return {
    uuid,
    name,
    id,
    phase: 'booting',
    why: null,
    floor: Number.NaN,
    ceiling: Number.NaN,
    share: DEFAULT_SHARE,
    signal: 'usable',
    pinned: false,
    maximum,
    actual: Number.NaN,
    actualAt: Number.NaN,
    restingSince: at,
    target: Number.NaN,
    orderedAt: Number.NEGATIVE_INFINITY,
    orderedFrom: Number.NaN,
    refusedUntil: Number.NEGATIVE_INFINITY,
    refusedPause: FIRST_REFUSED_PAUSE,
    rss: Number.NaN,
    overhead: LEAST_OVERHEAD,
    unused: Number.NaN,
    usable: Number.NaN,
    available: Number.NaN,
    lastUpdate: Number.NaN,
    swapIn: Number.NaN,
    majorFault: Number.NaN,
    minorFault: Number.NaN,
    figuresAt: Number.NaN,
    samples: 0,
    refreshed: false,
    kernel: Number.NaN,
    kernelSeen: Number.NaN,
    size: Number.NaN,
    paired: false,
    used: Number.NaN,
    trend: 0,
    speed: BALLOON_SPEED,
    reachable: 0,
    shrinkAfter: Number.NEGATIVE_INFINITY,
    pause: FIRST_PAUSE,
    windowActual: Number.NaN,
    windowAt: at,
    shrunkAt: Number.NEGATIVE_INFINITY,
    shrunkFrom: Number.NaN,
    grownAt: Number.NEGATIVE_INFINITY,
    usualFaults: 0,
    paidAt: at,
    rebootedAt: Number.NEGATIVE_INFINITY,
    rollback: null,
    adopting: false,
    adoptedToldAt: Number.NEGATIVE_INFINITY,
    lastReason: null,
  };
}

type Figure = (field: number) => number;

/** The figures of this look: settings, balloon, guest. Says nothing yet of the phase. */
function read(previous: Belief, figure: Figure, look: Look, context: GuestContext | undefined, config: PolicyConfig): Belief {
  const settled = settings(previous, figure, context, config);
  const told = look.rebooted.has(previous.uuid);
  // The counters fall once the guest's new figures are there: that is the same reboot.
  const seen = settled.samples > 0 && look.at - settled.rebootedAt >= REBOOT_BLIND && runsBackwards(settled, figure);
  const known = told || seen ? forget(settled, look.at) : settled;
  if (figure(STATUS) !== READ || !(figure(ACTUAL) > 0)) return known;
  return readFigures(readBalloon(known, figure, look.at, config), known, figure, look, context, config);
}

function settings(belief: Belief, figure: Figure, context: GuestContext | undefined, config: PolicyConfig): Belief {
  const reported = figure(MAXIMUM);
  const maximum = reported > 0 ? reported : (context?.facts?.maximum ?? belief.maximum);
  const overrides = context?.overrides ?? {};
  const ceiling = Math.min(overrides.max ?? maximum, maximum);
  const floor = Math.min(overrides.min ?? Math.max(LEAST_FLOOR, maximum * FLOOR_FRACTION), ceiling);
  const signal = overrides.signal ?? config.signal;
  const share = overrides.share ?? DEFAULT_SHARE;
  const facts = context?.facts;
  const pinned = facts != null && (facts.balloonModel === 'none' || facts.obstacles.length > 0);
  return { ...belief, maximum, ceiling, floor, signal, share, pinned };
}

/** Counters of a guest only fall when it boots. */
function runsBackwards(belief: Belief, figure: Figure): boolean {
  return figure(SWAP_IN) < belief.swapIn || figure(MAJOR_FAULT) < belief.majorFault || figure(MINOR_FAULT) < belief.minorFault;
}

/** What a boot makes worthless. */
function forget(belief: Belief, at: number): Belief {
  return {
    ...belief,
    rebootedAt: at,
    samples: 0,
    figuresAt: Number.NaN,
    kernel: Number.NaN,
    kernelSeen: Number.NaN,
    paired: false,
    used: Number.NaN,
    trend: 0,
    reachable: 0,
    usualFaults: 0,
    rollback: null,
  };
}

/** The balloon: where it is, how it moved, and whether somebody else moved it. */
function readBalloon(belief: Belief, figure: Figure, at: number, config: PolicyConfig): Belief {
  const actual = figure(ACTUAL);
  const rss = figure(RSS);
  const overhead = rss > 0 ? Math.max(LEAST_OVERHEAD, rss - actual) : belief.overhead;
  const moved = actual - belief.actual;
  const now: Belief = { ...belief, actual, rss, overhead, actualAt: at, restingSince: Math.abs(moved) <= SAME ? belief.restingSince : at };
  if (Number.isNaN(belief.actual)) return { ...now, target: actual, restingSince: at, windowActual: actual };
  const gap = belief.target - belief.actual;
  const astray = moved * gap <= 0 || Math.abs(moved) > Math.abs(gap) + SAME;
  // Soon after an order the balloon may still follow the one before; but neither leads it out of what lies between them.
  const bounds = [belief.target, belief.orderedFrom, belief.windowActual];
  const beyond = actual > Math.max(...bounds) + SAME || actual < Math.min(...bounds) - SAME;
  const unasked = Math.abs(moved) > SAME && (at - belief.orderedAt > ORDER_GRACE ? astray : beyond);
  // Rule 13. The boot of a guest moves its balloon too: nothing of ours is lost by following it.
  if (unasked) {
    const pause = at + ADOPTED_INTERVALS * config.intervalMs;
    return { ...now, target: actual, adopting: true, shrinkAfter: Math.max(belief.shrinkAfter, pause), windowActual: actual, windowAt: at };
  }
  return learnSpeed(now, belief, moved, gap, at);
}

/** Speed is learned only from a balloon that was seen on its way at both looks: one that arrived may have been faster. */
function learnSpeed(now: Belief, before: Belief, moved: number, gap: number, at: number): Belief {
  const under = Math.abs(moved) > SAME && Math.abs(moved) < Math.abs(gap) - SAME && before.windowActual !== before.actual;
  if (!under || !(at > before.actualAt)) return now;
  const seen = (Math.abs(moved) / (at - before.actualAt)) * 1000;
  return { ...now, speed: before.speed + 0.5 * (seen - before.speed) };
}

/** The guest's own figures, paired with the balloon's size at their time. */
function readFigures(
  belief: Belief,
  previous: Belief,
  figure: Figure,
  look: Look,
  context: GuestContext | undefined,
  config: PolicyConfig,
): Belief {
  const now = {
    unused: figure(UNUSED),
    usable: figure(USABLE),
    available: figure(AVAILABLE),
    lastUpdate: figure(LAST_UPDATE),
    swapIn: figure(SWAP_IN),
    majorFault: figure(MAJOR_FAULT),
    minorFault: figure(MINOR_FAULT),
  };
  const answered = now.lastUpdate > 0 && sane(now, belief);
  const changed = answered && (Object.keys(now) as (keyof typeof now)[]).some((key) => !Object.is(now[key], previous[key]));
  if (!changed) return belief;
  // What was there when we came may be as old as the guest's last boot: only a change shows that the guest answers.
  if (Number.isNaN(previous.lastUpdate) && look.atFirstSight !== true) return { ...belief, ...now };

  const refreshed = look.refreshed.has(belief.uuid);
  const paired = pair(belief, previous, now.available, look, refreshed, context);
  const spare = belief.signal === 'unused' ? now.unused : now.usable;
  // More spare than memory: the figures are of another size than we think.
  if (spare > paired.size) return { ...belief, ...now };
  const readAt = figure(READ_AT);
  const at = Number.isFinite(readAt) ? Math.min(readAt, look.at) : look.at;
  const used = paired.size - spare;
  const elapsed = at - belief.figuresAt;
  const known = { ...belief, ...now, ...paired, used, refreshed, figuresAt: at, samples: belief.samples + 1 };
  if (!(elapsed > 0)) return known;
  return { ...known, trend: trend(belief, used, elapsed), ...thrash(belief, now, elapsed, look.at, config) };
}

/** The balloon's size at the time of the figures: `available + K`, or, where K does not serve, what the balloon's rest allows to say. */
function pair(belief: Belief, previous: Belief, available: number, look: Look, refreshed: boolean, context: GuestContext | undefined) {
  // With autodeflate MemTotal does not follow the balloon [M].
  const follows = context?.facts?.autodeflate !== true;
  // Figures that change after a rest of the balloon longer than they can be old are of this size.
  const old = (refreshed ? 0 : (context?.statsPeriod ?? 0) * 1000) + ORDER_GRACE;
  const arrived = refreshed && Math.abs(belief.actual - belief.target) <= SAME && look.at - belief.orderedAt >= 2 * BALLOON_LATENCY;
  const resting = look.atFirstSight === true || arrived || look.at - belief.restingSince >= old;
  const kernelSeen = follows && resting && available <= belief.actual ? belief.actual - available : belief.kernelSeen;
  const agrees = Math.abs(kernelSeen - belief.kernelSeen) <= SAME;
  const kernel = agrees ? kernelSeen : belief.kernel;
  if (follows && Number.isFinite(kernel)) return { kernel, kernelSeen, size: available + kernel, paired: true };
  // The larger of the sizes that it can have been: too much use is assumed, never too little.
  return { kernel, kernelSeen, size: resting ? belief.actual : Math.max(belief.actual, previous.actual), paired: resting };
}

/** A guest may say anything: figures that can't be are taken for no answer at all. */
function sane(now: { unused: number; usable: number; available: number }, belief: Belief): boolean {
  const spare = belief.signal === 'unused' ? now.unused : now.usable;
  return spare >= 0 && spare <= belief.maximum && !(now.available > belief.maximum) && !(now.available < 0);
}

/** Fast up, slow down (time constant 4 s), never negative. */
function trend(belief: Belief, used: number, elapsed: number): number {
  if (Number.isNaN(belief.used)) return 0;
  const seen = Math.max(0, ((used - belief.used) / Math.max(elapsed, 200)) * 1000);
  const weight = seen > belief.trend ? 0.6 : 1 - Math.exp(-elapsed / 4000);
  return belief.trend + weight * (seen - belief.trend);
}

/** Swap-in and major faults: the usual rate while left alone, and a rise soon after a shrink. */
function thrash(
  belief: Belief,
  now: { swapIn: number; majorFault: number },
  elapsed: number,
  at: number,
  config: PolicyConfig,
): Partial<Belief> {
  const swapped = ((now.swapIn - belief.swapIn) / elapsed) * 1000;
  const faults = ((now.majorFault - belief.majorFault) / elapsed) * 1000;
  const probing = at - belief.shrunkAt < Math.max(THRASH_WINDOW, 3 * config.intervalMs);
  if (!probing) return Number.isFinite(faults) ? { usualFaults: belief.usualFaults + 0.1 * (faults - belief.usualFaults) } : {};
  // One failed shrink counts once, however long the guest goes on swapping.
  if (at < belief.shrinkAfter) return {};
  if (!(swapped > THRASH_SWAP_IN || faults > THRASH_FAULTS + 4 * belief.usualFaults)) return {};
  return { ...setBack(belief, at), reachable: belief.shrunkFrom, rollback: { reason: 'thrashing', to: belief.shrunkFrom } };
}

/** A failed shrink: none for a while, and for twice as long the next time. */
function setBack(belief: Belief, at: number): Partial<Belief> {
  // A pause that ended long ago is forgotten.
  const pause = at - belief.shrinkAfter > belief.pause && Number.isFinite(belief.shrinkAfter) ? FIRST_PAUSE : belief.pause;
  return { shrinkAfter: at + pause, pause: Math.min(2 * pause, LAST_PAUSE) };
}

/** The phase, and what follows from standing still. */
function judge(belief: Belief, figure: Figure, look: Look, context: GuestContext | undefined, config: PolicyConfig): Belief {
  const { at } = look;
  const why = excluded(context);
  if (why !== null) return { ...belief, phase: 'excluded', why };
  if (context?.facts === null) return { ...belief, phase: 'booting', why: 'libvirt has not described it yet' };
  const running = figure(STATE) === 1 || figure(STATE) === 2;
  if (figure(STATUS) === READ && !running) return { ...belief, phase: 'paused', why: 'not running' };
  if (
    !Number.isFinite(belief.figuresAt) ||
    at - belief.rebootedAt < REBOOT_BLIND ||
    belief.samples < (look.atFirstSight === true ? 1 : 2)
  ) {
    const waits = belief.samples === 0 ? silence(belief, context) : null;
    return { ...belief, phase: 'booting', why: waits };
  }
  const period = (context?.statsPeriod ?? 0) * 1000;
  if (at - belief.figuresAt > 5 * Math.max(period, config.intervalMs) + 2000) {
    // Stale figures of a running guest mean distress: a shrink under way is taken back.
    const rollback: Rollback | null = belief.target < belief.actual - SAME ? { reason: 'silent', to: belief.actual } : belief.rollback;
    return { ...belief, phase: 'silent', why: silence(belief, context), rollback };
  }
  const open = belief.rollback !== null && stillOpen(belief, belief.rollback, at);
  const moving = progress(open ? belief : { ...belief, rollback: null }, at);
  const held = moving.phase === 'stuck' && at < moving.shrinkAfter;
  return { ...moving, phase: held ? 'stuck' : 'steady', why: held ? 'does not give memory; left alone for a while' : null };
}

/** A rollback that came true, or whose pause is over, is no more. */
function stillOpen(belief: Belief, rollback: Rollback, at: number): boolean {
  const down = belief.target > belief.actual && rollback.reason === 'no-progress';
  return down ? belief.target > rollback.to + SAME : belief.target < rollback.to && at < belief.shrinkAfter;
}

function excluded(context: GuestContext | undefined): string | null {
  if (context === undefined) return null;
  if (!context.included) return 'left out by include/exclude';
  if (context.overrides.manage === false) return 'manage: no';
  const facts = context.facts;
  if (facts === null) return null;
  if (facts.balloonModel === 'none') return 'no balloon device';
  const obstacle = facts.obstacles[0];
  return obstacle === undefined ? null : `ballooning frees nothing: ${facts.obstacles.join(', ')}`;
}

function silence(belief: Belief, context: GuestContext | undefined): string {
  if (context?.statsPeriod === 0) return 'its stats period is 0: no figures';
  if (belief.lastUpdate > 0) return 'its figures no longer change';
  return 'its balloon driver has not answered yet';
}

/** Rules 1 and 7: a shrink under way is watched; where it makes no progress its target goes back up. */
function progress(belief: Belief, at: number): Belief {
  const gap = belief.target - belief.actual;
  if (Math.abs(gap) <= SAME) {
    // Pushed below where it could not go before: that floor is no more.
    const reachable = belief.actual < belief.reachable - SAME ? 0 : belief.reachable;
    return { ...belief, windowActual: belief.actual, windowAt: at, reachable };
  }
  // By the time of the readings: where none came nothing is known of the progress.
  if (belief.actualAt - belief.windowAt < PROGRESS_WINDOW) return belief;
  const come = gap < 0 ? belief.windowActual - belief.actual : belief.actual - belief.windowActual;
  if (come >= Math.min(LEAST_PROGRESS, Math.abs(gap))) return { ...belief, windowActual: belief.actual, windowAt: at };
  // A growth that does not come was ordered otherwise by somebody else, or is impossible. It stays charged until it is taken back.
  if (gap > 0) {
    return { ...belief, windowActual: belief.actual, windowAt: at, rollback: { reason: 'no-progress', to: belief.actual } };
  }
  const rollback: Rollback = { reason: 'no-progress', to: belief.actual };
  return { ...belief, ...setBack(belief, at), phase: 'stuck', reachable: belief.actual, rollback };
}

/** What people are told when a belief changes. */
function tell(before: Belief, now: Belief, adopted: boolean, notices: Notice[]): void {
  if (now.phase !== before.phase) {
    const because = now.why === null ? '' : `: ${now.why}`;
    const kind =
      now.phase === 'stuck' ? 'stuck' : now.phase === 'excluded' ? 'not-coordinated' : before.phase === 'stuck' ? 'recovered' : 'phase';
    const level = now.phase === 'silent' || now.phase === 'stuck' ? 'warn' : 'info';
    notices.push(
      notice(kind, level, now, `${now.name} is ${now.phase}${because}`, { was: before.phase, actual: now.actual, target: now.target }),
    );
  }
  if (now.rollback?.reason === 'thrashing' && before.rollback?.reason !== 'thrashing') {
    notices.push(
      notice('thrashing', 'warn', now, `${now.name} swaps or faults after a shrink: it gets back ${formatSize(now.rollback.to)}`),
    );
  }
  if (adopted && now.phase !== 'booting') {
    const message = `somebody set ${now.name} to ${formatSize(now.actual)}: taken over, no shrinking for a while`;
    notices.push(notice('adopted', 'info', now, message, { actual: now.actual }));
  }
}

function notice(kind: Notice['kind'], level: Notice['level'], belief: Belief, message: string, figures?: Notice['figures']): Notice {
  return { kind, level, guest: belief.name, uuid: belief.uuid, message, ...(figures === undefined ? {} : { figures }) };
}
