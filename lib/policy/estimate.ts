/**
 * The model: folds one sample into what is believed of the guests (belief.ts). balloon.ts and figures.ts read a guest's figures, this file
 * judges the phase and tells what changed; orders.ts notes the moves. All of them write to drafts (rows.ts) and leave the old model alone.
 */
import { guestWord, shellQuoted } from '../common/text.js';
import { amountOf, formatSize } from '../common/units.js';
import {
  ACTUAL,
  AVAILABLE,
  CPU_TIME,
  LAST_UPDATE,
  MAJOR_FAULT,
  MAXIMUM,
  MINOR_FAULT,
  MISSED,
  READ,
  READ_AT,
  REFRESHED,
  RSS,
  SET_ASIDE,
  STATE,
  STATUS,
  STRIDE,
  SWAP_IN,
  UNUSED,
  USABLE,
} from '../sweep.js';
import { type Belief, type Draft, Drafts, type Figure, type Model, type Rollback } from './guest.js';
import {
  ADOPTED_INTERVALS,
  ADOPTED_QUIET,
  BALLOON_LATENCY,
  BUSY_LEAST,
  BUSY_PART,
  BUSY_RISE,
  CLEARING_SPEED,
  DEFAULT_SHARE,
  FIRST_PAUSE,
  FLOOR_FRACTION,
  FRESHLY_ACTIVE,
  HANGS_AFTER,
  IDLE_AFTER,
  LAST_PAUSE,
  LEAST_FLOOR,
  LEAST_OVERHEAD,
  LEAST_PROGRESS,
  ORDER_GRACE,
  PROGRESS_WINDOW,
  REBOOT_BLIND,
  REFRESHED_AGE,
  REFUSALS,
  SAME,
  THRASH_FAULTS,
  THRASH_SWAP_IN,
  THRASH_WINDOW,
  UNDER_WAY,
} from './limits.js';
import type { GuestContext, Notice, Phase, PolicyConfig, Remembered, Sample } from './types.js';

/** Folds a sample into drafts of the next beliefs. The notices say what changed for people. */
export function observe(model: Model, sample: Sample, config: PolicyConfig): { drafts: Drafts; notices: Notice[] } {
  const notices: Notice[] = [];
  const { guests, figures } = sample.sweep;
  const drafts = new Drafts(model, guests.length);
  const rowOf = finder(model.guests);
  let found = 0;
  let offset = 0;
  const figure = (field: number) => figures[offset + field] ?? Number.NaN;
  guests.forEach((guest, row) => {
    offset = row * STRIDE;
    const context = sample.contexts.get(guest.uuid);
    const from = rowOf(row, guest.uuid);
    if (from !== undefined) found++;
    const known = from !== undefined && model.guests[from]?.id === guest.id;
    const draft = known ? drafts.keep(from) : drafts.discover(guest, context, sample.at);
    const { phase, rollback, missed } = draft;
    unplan(draft);
    read(draft, figure, sample, context, config);
    draft.phase = judge(draft, figure, sample, context, config);
    if (!known) notices.push(notice('guest-appeared', 'info', draft, `${draft.name} is here`));
    // What it had before us: not while it boots, when it may hold its maximum on the way to less.
    if (Number.isNaN(draft.original) && draft.phase !== 'booting') draft.original = draft.actual;
    const hung = missed >= HANGS_AFTER;
    tell(phase, rollback, hung, draft, notices);
    tellOfHanging(hung, draft, notices);
    if (draft.adopting && draft.restingSince < sample.at) adopt(draft, sample.at, notices);
  });
  if (found < model.guests.length) {
    const here = new Set(guests.map(({ uuid }) => uuid));
    const gone = model.guests.filter(({ uuid }) => !here.has(uuid));
    for (const belief of gone) notices.push(notice('guest-gone', 'info', belief, `${belief.name} is gone`));
  }
  return { drafts, notices };
}

/** Finds a guest's row in a model: mostly it is the same as in the sweep. */
function finder(guests: readonly Belief[]): (row: number, uuid: string) => number | undefined {
  let rows: Map<string, number> | null = null;
  return (row, uuid) => {
    if (guests[row]?.uuid === uuid) return row;
    rows ??= new Map(guests.map((belief, i) => [belief.uuid, i]));
    return rows.get(uuid);
  };
}

/** What the last plan made of it is out of date. */
function unplan(draft: Draft): void {
  draft.effectiveFloor = draft.holds = draft.critical = draft.need = draft.allocation = Number.NaN;
  draft.survivableBurst = draft.planned = Number.NaN;
}

/** The figures of this sample: settings, balloon, guest. Says nothing yet of the phase. */
function read(draft: Draft, figure: Figure, sample: Sample, context: GuestContext | undefined, config: PolicyConfig): void {
  settle(draft, figure, context, config);
  const told = sample.rebooted.has(draft.uuid);
  // The counters fall once the guest's new figures are there: that is the same reboot.
  const seen = draft.samples > 0 && sample.at - draft.rebootedAt >= REBOOT_BLIND && runsBackwards(draft, figure);
  if (told || seen) forget(draft, sample.at);
  readActivity(draft, figure(CPU_TIME), sample);
  if (REFUSALS.has(figure(REFRESHED))) draft.refusesRefresh = true;
  const status = figure(STATUS);
  if (status === READ) {
    if (hangs(draft)) draft.stoodAt = sample.at;
    draft.missed = 0;
  } else if (status === MISSED || status === SET_ASIDE) draft.missed++;
  if (status !== READ || !(figure(ACTUAL) > 0)) return;
  const { actual, actualAt } = draft;
  readBalloon(draft, figure, sample.at, config, context?.remembered);
  readFigures(draft, { actual, actualAt }, figure, sample, context, config);
}

/** The settings in force. */
function settle(draft: Draft, figure: Figure, context: GuestContext | undefined, config: PolicyConfig): void {
  const facts = context?.facts;
  const overrides = context?.overrides;
  const reported = figure(MAXIMUM);
  const maximum = reported > 0 ? reported : (facts?.maximum ?? draft.maximum);
  const ceiling = Math.min(amountOf(overrides?.max ?? maximum, maximum), maximum);
  draft.maximum = maximum;
  draft.ceiling = ceiling;
  draft.floor = Math.min(amountOf(overrides?.min ?? Math.max(LEAST_FLOOR, Math.ceil(maximum * FLOOR_FRACTION)), maximum), ceiling);
  draft.signal = overrides?.signal ?? config.signal;
  draft.share = overrides?.share ?? DEFAULT_SHARE;
  draft.pinned = facts != null && (facts.balloonModel === 'none' || facts.obstacles.length > 0);
}

/** Counters of a guest only fall when it boots. */
function runsBackwards(belief: Belief, figure: Figure): boolean {
  return figure(SWAP_IN) < belief.swapIn || figure(MAJOR_FAULT) < belief.majorFault || figure(MINOR_FAULT) < belief.minorFault;
}

/** What a boot makes worthless. */
function forget(draft: Draft, at: number): void {
  draft.rebootedAt = at;
  draft.samples = 0;
  draft.figuresAt = draft.kernel = draft.kernelSeen = draft.used = Number.NaN;
  draft.paired = false;
  draft.trend = draft.reachable = draft.usualFaults = 0;
  draft.rollback = null;
}

/** Gives the phase, notes why, and does what follows from standing still. */
function judge(draft: Draft, figure: Figure, sample: Sample, context: GuestContext | undefined, config: PolicyConfig): Phase {
  const { at } = sample;
  draft.why = excluded(context);
  if (draft.why !== null) return 'excluded';
  if (context?.facts === null) {
    draft.why = 'libvirt has not described it yet';
    return 'booting';
  }
  const running = figure(STATE) === 1 || figure(STATE) === 2;
  // A sample that did not read it says nothing of it.
  if (figure(STATUS) === READ ? !running : draft.phase === 'paused') {
    draft.why = 'not running';
    draft.stoodAt = at;
    openWindow(draft, at);
    return 'paused';
  }
  const enough = sample.atFirstSight === true ? 1 : 2;
  if (!Number.isFinite(draft.figuresAt) || at - draft.rebootedAt < REBOOT_BLIND || draft.samples < enough) {
    if (draft.samples === 0) draft.why = silence(draft, context);
    return 'booting';
  }
  const period = (context?.statsPeriod ?? 0) * 1000;
  if (at - Math.max(draft.figuresAt, draft.stoodAt) > 5 * Math.max(period, config.intervalMs) + 2000) {
    // Stale figures of a running guest mean distress: a shrink under way is taken back.
    if (draft.target < draft.actual - SAME) draft.rollback = { reason: 'silent', to: draft.actual };
    draft.why = hangs(draft) ? 'does not answer' : silence(draft, context);
    return 'silent';
  }
  if (draft.rollback !== null && !stillOpen(draft, draft.rollback, at)) draft.rollback = null;
  progress(draft, at);
  // One that a coordinator before us found to be stuck is so from the start.
  const stuck = draft.phase === 'stuck' || (draft.phase === 'booting' && draft.reachable > 0);
  if (!stuck || at >= draft.shrinkAfter) return 'steady';
  draft.why = 'does not give memory; left alone for a while';
  return 'stuck';
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

function hangs({ missed }: Belief): boolean {
  return missed >= HANGS_AFTER;
}

/** What people are told when a belief changes. That a guest which hangs is silent they know. */
function tell(phase: Phase, rollback: Rollback | null, hung: boolean, now: Belief, notices: Notice[]): void {
  const known = (now.phase === 'silent' && hangs(now)) || (phase === 'silent' && hung);
  if (now.phase !== phase && !known) {
    const because = now.why === null ? '' : `: ${now.why}`;
    const kind = now.phase === 'stuck' ? 'stuck' : now.phase === 'excluded' ? 'not-coordinated' : phase === 'stuck' ? 'recovered' : 'phase';
    const level = now.phase === 'silent' || now.phase === 'stuck' ? 'warn' : 'info';
    const message = `${now.name} is ${now.phase}${because}${adviceOn(now)}`;
    notices.push(notice(kind, level, now, message, { was: phase, actual: now.actual, target: now.target }));
  }
  if (now.rollback?.reason === 'thrashing' && rollback?.reason !== 'thrashing') {
    notices.push(
      notice('thrashing', 'warn', now, `${now.name} swaps or faults after a shrink: it gets back ${formatSize(now.rollback.to)}`),
    );
  }
}

/** What to do about a guest whose phase is told as a warning. */
function adviceOn({ phase, actual }: Belief): string {
  if (phase === 'silent') return '; memcoord doctor tells what mends it';
  if (phase === 'stuck') return `; what it keeps in tmpfs or locks it cannot give: a min of ${formatSize(actual)} spares it more tries`;
  return '';
}

/** Once, when a guest is set aside because its calls do not come back, and once when it answers again (rule 10). */
function tellOfHanging(hung: boolean, now: Belief, notices: Notice[]): void {
  const { name, uuid, missed } = now;
  if (hangs(now) && !hung) {
    const guest = shellQuoted(guestWord(name, uuid));
    const message =
      `${name} does not answer and is set aside, the other guests go on: its process hangs, or another command holds it; ` +
      `virsh domstate ${guest} --reason and virsh domcontrol ${guest} tell which (other commands may hang), virsh destroy ${guest} ends it`;
    notices.push(notice('set-aside', 'warn', now, message));
  }
  if (missed === 0 && hung) notices.push(notice('answers-again', 'info', now, `${name} answers again`));
}

/**
 * Somebody else's move has come to rest: it is told, though not each of many. Their word is newer than what the guest had before us,
 * unless the balloon has only come back to what we asked for, as after a reboot, or goes where a coordinator before us may have sent it
 * after its last note.
 */
function adopt(draft: Draft, at: number, notices: Notice[]): void {
  draft.adopting = false;
  if (at - draft.recalledAt <= UNDER_WAY) return;
  const told = at - draft.adoptedToldAt < ADOPTED_QUIET;
  if (!told) draft.adoptedToldAt = at;
  if (draft.phase === 'booting') return;
  if (!(Math.abs(draft.actual - draft.orderedTo) <= SAME)) draft.original = draft.actual;
  if (told) return;
  const message = `somebody set ${draft.name} to ${formatSize(draft.actual)}: taken over, no shrinking for a while`;
  notices.push(notice('adopted', 'info', draft, message, { actual: draft.actual }));
}

function notice(kind: Notice['kind'], level: Notice['level'], belief: Belief, message: string, figures?: Notice['figures']): Notice {
  return { kind, level, guest: belief.name, uuid: belief.uuid, message, ...(figures === undefined ? {} : { figures }) };
}

// --- from balloon.ts
/** Reading a sample, first part: where the balloon is, how it moves, and whether it does what it was asked. */

/** The balloon: where it is, how it moved, and whether somebody else moved it. */
export function readBalloon(draft: Draft, figure: Figure, at: number, config: PolicyConfig, remembered: Remembered | undefined): void {
  const { actual: before, actualAt: readBefore, target } = draft;
  // The guest tells it, and nobody checks: more than its maximum would be charged to all others.
  const actual = figure(ACTUAL) > draft.maximum ? draft.maximum : figure(ACTUAL);
  const rss = figure(RSS);
  draft.actual = actual;
  draft.actualAt = at;
  draft.rss = rss;
  if (rss > 0) draft.overhead = Math.max(LEAST_OVERHEAD, rss - actual);
  const moved = actual - before;
  draft.rising = false;
  if (Math.abs(moved) <= SAME) return;
  draft.restingSince = at;
  if (Number.isNaN(before)) {
    draft.windowActual = actual;
    recall(draft, remembered, at);
    return;
  }
  const gap = target - before;
  const astray = moved * gap <= 0 || Math.abs(moved) > Math.abs(gap) + SAME;
  // Soon after an order the balloon may still follow the one before; but neither leads it out of what lies between them.
  const { orderedFrom, windowActual } = draft;
  const beyond = actual > Math.max(target, orderedFrom, windowActual) + SAME || actual < Math.min(target, orderedFrom, windowActual) - SAME;
  if (at - draft.orderedAt > ORDER_GRACE ? astray : beyond) {
    // Rule 13. The boot of a guest moves its balloon too: nothing of ours is lost by following it.
    draft.target = draft.windowActual = actual;
    draft.windowAt = at;
    draft.adopting = true;
    draft.rising = moved > 0;
    draft.shrinkAfter = Math.max(draft.shrinkAfter, at + ADOPTED_INTERVALS * config.intervalMs);
    return;
  }
  // Speed is learned only from a balloon that was seen on its way at both samples: one that arrived may have been faster.
  const under = Math.abs(moved) < Math.abs(gap) - SAME && windowActual !== before;
  if (under && at > readBefore) draft.speed += 0.5 * ((Math.abs(moved) / (at - readBefore)) * 1000 - draft.speed);
}

/** Rules 1 and 7: a shrink under way is watched; where it makes no progress its target goes back up. */
export function progress(draft: Draft, at: number): void {
  const { actual, windowActual } = draft;
  const gap = draft.target - actual;
  if (Math.abs(gap) <= SAME) {
    // Pushed below where it could not go before: that floor is no more.
    if (actual < draft.reachable - SAME) draft.reachable = 0;
  } else {
    // By the time of the readings: where none came nothing is known of the progress.
    if (draft.actualAt - draft.windowAt < PROGRESS_WINDOW) return;
    const come = gap < 0 ? windowActual - actual : actual - windowActual;
    if (come < Math.min(LEAST_PROGRESS, Math.abs(gap))) {
      draft.rollback = { reason: 'no-progress', to: actual };
      if (gap < 0) {
        setBack(draft, at);
        draft.phase = 'stuck';
        draft.reachable = actual;
        return;
      }
      // A growth that does not come was ordered otherwise by somebody else, or is impossible. It stays charged until it is taken back.
    }
  }
  openWindow(draft, at);
}

/** Progress is watched from here on. */
export function openWindow(draft: Draft, at: number): void {
  draft.windowActual = draft.actual;
  draft.windowAt = at;
}

/** A rollback that came true, or whose pause is over, is no more. */
export function stillOpen(belief: Belief, rollback: Rollback, at: number): boolean {
  const down = belief.target > belief.actual && rollback.reason === 'no-progress';
  return down ? belief.target > rollback.to + SAME : belief.target < rollback.to && at < belief.shrinkAfter;
}

/** A failed shrink: none for a while, and for twice as long the next time. */
export function setBack(draft: Draft, at: number): void {
  const { pause, shrinkAfter } = draft;
  // A pause that ended long ago is forgotten.
  const due = at - shrinkAfter > pause && Number.isFinite(shrinkAfter) ? FIRST_PAUSE : pause;
  draft.shrinkAfter = at + due;
  draft.pause = Math.min(2 * due, LAST_PAUSE);
}

// --- from figures.ts
/** Reading a sample, second part: the guest's own figures, paired with the balloon's size at their time. */

/**
 * The guest's own figures, paired with the balloon's size at their time.
 *
 * @param before the balloon at the last reading
 */
export function readFigures(
  draft: Draft,
  before: Pick<Belief, 'actual' | 'actualAt'>,
  figure: Figure,
  sample: Sample,
  context: GuestContext | undefined,
  config: PolicyConfig,
): void {
  const spare = figure(draft.signal === 'unused' ? UNUSED : USABLE);
  if (!(figure(LAST_UPDATE) > 0) || !sane(spare, figure(AVAILABLE), draft.maximum) || !changed(draft, figure)) return;
  // What was there when we came may be as old as the guest's last boot: only a change shows that the guest answers.
  if (Number.isNaN(draft.lastUpdate) && sample.atFirstSight !== true) {
    take(draft, figure);
    return;
  }

  const { kernel, kernelSeen, size, paired } = pair(draft, before.actual, figure(AVAILABLE), sample, context);
  // More spare than memory: the figures are of another size than we think.
  if (spare > size) {
    take(draft, figure);
    return;
  }
  const readAt = figure(READ_AT);
  const seenAt = Number.isFinite(readAt) ? Math.min(readAt, sample.at) : sample.at;
  // After a gap in the readings (libvirt or QEMU hung) they can be as old as the last reading, a refresh or not: it may not have answered that.
  const gap = sample.at - before.actualAt > 2 * Math.max((context?.statsPeriod ?? 0) * 1000, config.intervalMs);
  const at = gap ? Math.max(before.actualAt, draft.figuresAt || 0) : seenAt;
  const used = size - spare;
  const elapsed = at - draft.figuresAt;
  if (elapsed > 0) {
    draft.trend = trend(draft, used, elapsed);
    thrash(draft, figure, elapsed, sample.at, config);
  }
  const refreshed = sample.refreshed.has(draft.uuid);
  // Those that came by themselves can be as old as the stats period, but no older than the ones before them.
  draft.takenAfter = refreshed ? at - REFRESHED_AGE : Math.max(at - (context?.statsPeriod ?? 0) * 1000, draft.figuresAt || 0);
  draft.cpuAtFigures = refreshed ? draft.cpu : draft.cpuAtSweep;
  if (used - draft.used > BUSY_RISE) noteWork(draft, sample.at);
  take(draft, figure);
  draft.kernel = kernel;
  draft.kernelSeen = kernelSeen;
  draft.size = size;
  draft.paired = paired;
  draft.used = used;
  draft.figuresAt = at;
  draft.samples++;
}

function take(draft: Draft, figure: Figure): void {
  draft.unused = figure(UNUSED);
  draft.usable = figure(USABLE);
  draft.available = figure(AVAILABLE);
  draft.lastUpdate = figure(LAST_UPDATE);
  draft.swapIn = figure(SWAP_IN);
  draft.majorFault = figure(MAJOR_FAULT);
  draft.minorFault = figure(MINOR_FAULT);
}

function changed(belief: Belief, figure: Figure): boolean {
  return !(
    Object.is(figure(LAST_UPDATE), belief.lastUpdate) &&
    Object.is(figure(USABLE), belief.usable) &&
    Object.is(figure(UNUSED), belief.unused) &&
    Object.is(figure(AVAILABLE), belief.available) &&
    Object.is(figure(MINOR_FAULT), belief.minorFault) &&
    Object.is(figure(MAJOR_FAULT), belief.majorFault) &&
    Object.is(figure(SWAP_IN), belief.swapIn)
  );
}

/** The balloon's size at the time of the figures: `available + K`, or, where K does not serve, what the balloon's rest allows to say. */
function pair(belief: Belief, before: number, available: number, sample: Sample, context: GuestContext | undefined) {
  const { actual } = belief;
  const refreshed = sample.refreshed.has(belief.uuid);
  // With autodeflate MemTotal does not follow the balloon [M].
  const follows = context?.facts?.autodeflate !== true;
  // Figures that change after a rest of the balloon longer than they can be old are of this size.
  const old = (refreshed ? 0 : (context?.statsPeriod ?? 0) * 1000) + ORDER_GRACE;
  const arrived = refreshed && Math.abs(actual - belief.target) <= SAME && sample.at - belief.orderedAt >= 2 * BALLOON_LATENCY;
  const resting = sample.atFirstSight === true || arrived || sample.at - belief.restingSince >= old;
  const kernelSeen = follows && resting && available <= actual ? actual - available : belief.kernelSeen;
  const agrees = Math.abs(kernelSeen - belief.kernelSeen) <= SAME;
  const kernel = agrees ? kernelSeen : belief.kernel;
  if (follows && Number.isFinite(kernel + available)) return { kernel, kernelSeen, size: available + kernel, paired: true };
  // The larger of the sizes that it can have been: too much use is assumed, never too little.
  return { kernel, kernelSeen, size: resting ? actual : Math.max(actual, before), paired: resting };
}

/** A guest may say anything: figures that can't be are taken for no answer at all. */
function sane(spare: number, available: number, maximum: number): boolean {
  return spare >= 0 && spare <= maximum && !(available > maximum) && !(available < 0);
}

/** Fast up, slow down (time constant 4 s), never negative. */
function trend(belief: Belief, used: number, elapsed: number): number {
  if (Number.isNaN(belief.used)) return 0;
  const seen = Math.max(0, ((used - belief.used) / Math.max(elapsed, 200)) * 1000);
  const weight = seen > belief.trend ? 0.6 : 1 - Math.exp(-elapsed / 4000);
  return belief.trend + weight * (seen - belief.trend);
}

/** Swap-in and major faults: the usual rate while left alone, and a rise soon after a shrink. */
function thrash(draft: Draft, figure: Figure, elapsed: number, at: number, config: PolicyConfig): void {
  const swapped = ((figure(SWAP_IN) - draft.swapIn) / elapsed) * 1000;
  const faults = ((figure(MAJOR_FAULT) - draft.majorFault) / elapsed) * 1000;
  const probing = at - draft.shrunkAt < Math.max(THRASH_WINDOW, 3 * config.intervalMs);
  if (!probing) {
    if (Number.isFinite(faults)) draft.usualFaults += 0.1 * (faults - draft.usualFaults);
    return;
  }
  // One failed shrink counts once, however long the guest goes on swapping.
  if (at < draft.shrinkAfter) return;
  if (!(swapped > THRASH_SWAP_IN || faults > THRASH_FAULTS + 4 * draft.usualFaults)) return;
  setBack(draft, at);
  draft.reachable = draft.shrunkFrom;
  draft.rollback = { reason: 'thrashing', to: draft.shrunkFrom };
}

// --- from activity.ts
/**
 * What the time that a guest's virtual CPUs run tells of its memory: a guest that does not run takes none. Reading that time costs some
 * microseconds, refreshing a guest's figures some milliseconds; so one that idles is only checked for activity, and sampled when it becomes active.
 */

/** Notes the time that the guest's virtual CPUs have run at a sample, and whether they were at work since the last. */
export function readActivity(draft: Draft, cpu: number, sample: Sample): void {
  const ran = cpu - draft.cpu;
  // Where the host does not tell it may be at work. A balloon on its way keeps a guest busy too: that says nothing of its own work.
  const moving = Math.abs(draft.target - draft.actual) > SAME || sample.at - draft.orderedAt <= ORDER_GRACE;
  const busy = Number.isNaN(cpu) || (ran > Math.max(BUSY_LEAST, BUSY_PART * (sample.at - draft.cpuAt)) && !moving);
  if (busy) noteWork(draft, sample.at);
  if (!sample.refreshed.has(draft.uuid)) draft.cpuAtSweep = draft.cpu;
  draft.cpu = cpu;
  draft.cpuAt = sample.at;
}

/** Notes that the guest is at work. */
export function noteWork(draft: Draft, at: number): void {
  if (isIdle(draft, at)) draft.activeSince = at;
  draft.busyAt = at;
}

/** A guest that has not been at work for a while. */
export function isIdle(belief: Belief, at: number): boolean {
  return at - belief.busyAt >= IDLE_AFTER;
}

/**
 * The most that a guest can have taken since its figures, KiB, at a rise of `rate` KiB/s. `cpu` is the time that its virtual CPUs have run
 * by now, ms; NaN = not known.
 *
 *     taken ≤ rate × time since the figures        the rise that the policy readies for
 *     taken ≤ clearing speed × time run since      what its CPUs can do
 *
 * One that was idle counts by the second alone: it is sampled as soon as it becomes active, and again and again until it shows what it does.
 */
export function takenAtMost(belief: Belief, rate: number, at: number, cpu: number): number {
  const byTime = (rate * (at - belief.takenAfter)) / 1000;
  const byWork = (cpu - belief.cpuAtFigures) * CLEARING_SPEED;
  if (Number.isNaN(byWork)) return byTime;
  return isIdle(belief, at) || at - belief.activeSince < FRESHLY_ACTIVE ? byWork : Math.min(byTime, byWork);
}

// --- from memory.ts
/** What outlives the process of what is believed of a guest, and how far the next one trusts it (rule 12). */

/** What is worth remembering of a guest; null where it is not known yet what it had before us. */
export function remember(belief: Belief): Remembered | null {
  const { original, target, orderedAt, speed, phase, reachable, shrinkAfter, pause } = belief;
  if (!Number.isFinite(original) || !Number.isFinite(target)) return null;
  return {
    original,
    target,
    orderedAt: Math.max(0, orderedAt),
    speed,
    reachable: phase === 'stuck' ? reachable : 0,
    shrinkAfter: Math.max(0, shrinkAfter),
    pause,
  };
}

/**
 * Takes over, at the first reading of a guest's balloon, what a coordinator before us left behind of the same start of the guest. It
 * comes out of a file, so nothing in it is believed that contradicts the balloon or the guest's bounds:
 *
 * - A move that was ordered a moment ago may be under way: its target holds, so that a growth is charged before it comes (rule 3), and
 *   a shrink is not taken for somebody else's move (rule 13).
 * - If the last order is older and the balloon is somewhere else, somebody set it meanwhile. Then the larger size is what the guest had
 *   before us: what was its due is never guessed downwards. A growth that has not come stays charged until it is seen not to come.
 */
export function recall(draft: Draft, remembered: Remembered | undefined, at: number): void {
  const { actual, floor, maximum } = draft;
  draft.target = actual;
  if (remembered === undefined) return;
  draft.recalledAt = at;
  const { orderedAt, reachable } = remembered;
  const target = Math.min(maximum, Math.max(remembered.target, Math.min(floor, actual)));
  const original = Math.min(maximum, remembered.original);
  const ours = Math.abs(target - actual) <= SAME || (orderedAt > 0 && Math.abs(at - orderedAt) <= UNDER_WAY);
  draft.target = ours ? target : Math.max(target, actual);
  draft.original = ours ? original : Math.max(original, actual);
  if (orderedAt > 0) {
    draft.orderedAt = Math.min(at, orderedAt);
    draft.orderedTo = target;
  }
  // No balloon moves by more than the whole guest in a second.
  draft.speed = Math.min(maximum, remembered.speed);
  draft.reachable = reachable <= actual + SAME ? reachable : 0;
  draft.shrinkAfter = Math.min(at + LAST_PAUSE, remembered.shrinkAfter);
  draft.pause = Math.min(LAST_PAUSE, Math.max(FIRST_PAUSE, remembered.pause));
}
