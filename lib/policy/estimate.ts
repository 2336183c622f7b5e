/**
 * Step 1, estimate: folds a sample into what is believed about the guests. readings.ts reads a guest's figures. This file applies the
 * settings, judges the phase and reports what has changed. It writes to drafts and leaves the previous model alone.
 */
import { amountOf } from '../common/units.js';
import {
  ACTUAL,
  CPU_TIME,
  JOB,
  MAJOR_FAULT,
  MAXIMUM,
  MIGRATION_IN,
  MIGRATION_OUT,
  MINOR_FAULT,
  MISSED,
  READ,
  REFRESHED,
  SET_ASIDE,
  STATE,
  STATUS,
  STRIDE,
  SWAP_IN,
} from '../sweep.js';
import { readCache } from './cache.js';
import { type Belief, charge, type Draft, Drafts, type Figure, isSame, type Model, overhead, type Rollback } from './guest.js';
import {
  ADOPTED_QUIET,
  BOOT_REPORTED,
  DEFAULT_SHARE,
  FIRST_PAUSE,
  FIRST_REFUSED_PAUSE,
  FLOOR_FRACTION,
  GROW_BAND,
  HANGS_AFTER,
  LEAST_FLOOR,
  MISSED_APART,
  REBOOT_BLIND,
  REBOOT_SILENCE,
  REFUSALS,
  SAME,
  SAME_REBOOT,
  STUCK_AGAIN,
  UNDER_WAY,
} from './limits.js';
import { openWindow, progress, readActivity, readBalloon, readFigures, signalOf, stillOpen } from './readings.js';
import type { GuestContext, Phase, PolicyConfig, PolicyNotice, Sample, Why } from './types.js';

/** Folds a sample into drafts of the next beliefs. The notices report what has changed. */
export function estimate(model: Model, sample: Sample, config: PolicyConfig): { drafts: Drafts; notices: PolicyNotice[] } {
  const notices: PolicyNotice[] = [];
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
    const draft = known ? drafts.keep(from) : drafts.discover(guest, sample.at);
    const { phase, rollback, missed, reachable } = draft;
    read(draft, figure, sample, context, config);
    draft.phase = judge(draft, figure, sample, context, config, model.reserveInDanger);
    settleLimit(draft, context);
    if (!known) notices.push(notice('guest-appeared', 'info', draft));
    // The size before memcoord came. Not taken while the guest boots: it may hold its maximum then, on the way to less.
    if (Number.isNaN(draft.original) && draft.phase !== 'booting') draft.original = draft.actual;
    // While the host is under its reserve, memcoord keeps trying a stuck guest, so its phase keeps changing. That is not reported.
    const triedAgain =
      model.reserveInDanger && reachable > 0 && [phase, draft.phase].every((each) => each === 'stuck' || each === 'steady');
    noteChange(triedAgain ? draft.phase : phase, rollback, missed >= HANGS_AFTER, draft, notices);
    noteBoot(draft, sample.at, notices);
    if (draft.adopting && draft.restingSince < sample.at) adopt(draft, sample.at, notices);
  });
  if (found < model.guests.length) {
    const here = new Set(guests.map(({ uuid }) => uuid));
    for (const belief of model.guests) if (!here.has(belief.uuid)) notices.push(notice('guest-gone', 'info', belief));
  }
  return { drafts, notices };
}

/** Finds a guest's row in a model. Mostly it is the same row as in the sweep. */
function finder(guests: readonly Belief[]): (row: number, uuid: string) => number | undefined {
  let rows: Map<string, number> | null = null;
  return (row, uuid) => {
    if (guests[row]?.uuid === uuid) return row;
    rows ??= new Map(guests.map((belief, i) => [belief.uuid, i]));
    return rows.get(uuid);
  };
}

/** Reads the figures of this sample: settings, balloon, guest. Does not judge the phase yet. */
function read(draft: Draft, figure: Figure, sample: Sample, context: GuestContext | undefined, config: PolicyConfig): void {
  const { at } = sample;
  // What the last plan computed for the guest is out of date.
  draft.critical = draft.need = draft.want = draft.allocation = draft.reaction = Number.NaN;
  settle(draft, figure, at, context, config);
  const rest = context?.overrides.bootRestMs ?? config.bootRestMs;
  if (sample.started.has(draft.uuid)) draft.restUntil = at + rest;
  if (
    sample.rebooted.has(draft.uuid) ||
    seemsRebooted(draft, figure, at, Math.max((context?.statsPeriod ?? 0) * 1000, config.intervalMs))
  ) {
    forget(draft, at);
    draft.restUntil = at + rest;
  }
  readActivity(draft, figure(CPU_TIME), sample);
  if (REFUSALS.has(figure(REFRESHED))) draft.refusesRefresh = true;
  const status = figure(STATUS);
  if (status === READ) {
    if (hangs(draft)) draft.stoodAt = at;
    draft.missed = 0;
  } else if ((status === MISSED || status === SET_ASIDE) && (draft.missed === 0 || at - draft.missedAt >= MISSED_APART)) {
    draft.missed++;
    draft.missedAt = at;
  }
  if (status !== READ || !(figure(ACTUAL) > 0)) return;
  const { actual, actualAt } = draft;
  readBalloon(draft, figure, at, config, context?.remembered);
  readFigures(draft, { actual, actualAt }, figure, sample, context, config);
  readCache(draft, figure, at, config);
}

/** Applies the settings in force. */
function settle(draft: Draft, figure: Figure, at: number, context: GuestContext | undefined, config: PolicyConfig): void {
  const facts = context?.facts;
  const { min, max, signal, share } = context?.overrides ?? {};
  // The domain's maximum includes memory devices that the balloon does not count.
  const reported = figure(MAXIMUM) - (facts?.deviceMemory ?? 0);
  const maximum = reported > 0 ? reported : (facts?.maximum ?? draft.maximum);
  // The guest's process is killed at its hard limit, whatever the guest does with the memory.
  const hard = facts?.hardLimit == null ? maximum : Math.max(0, facts.hardLimit - overhead(draft));
  const ceiling = Math.min(amountOf(max ?? maximum, maximum), maximum, hard);
  // A default floor is no reason to give a guest more than it had before memcoord came.
  const had = draft.original || figure(ACTUAL) || Number.POSITIVE_INFINITY;
  const usual = Math.min(Math.max(LEAST_FLOOR, Math.ceil(maximum * FLOOR_FRACTION)), had);
  const floor = min === undefined ? usual : amountOf(min, maximum);
  draft.maximum = maximum;
  draft.floor = Math.min(floor, ceiling);
  // If the last growth did not come, the guest is not grown before its pause is over, and then only by little: other guests give for it.
  const tried = at < draft.growAfter ? 0 : draft.growPause > FIRST_REFUSED_PAUSE ? 2 * GROW_BAND : Number.POSITIVE_INFINITY;
  draft.ceiling = draft.actual > 0 ? Math.min(ceiling, Math.max(draft.actual, draft.floor) + tried) : ceiling;
  draft.signal = signalOf(signal ?? config.signal, draft.usable, draft.unused);
  draft.share = share ?? DEFAULT_SHARE;
}

/**
 * The most that the guest may hold while memcoord does not control it: what its balloon leaves it, or will leave it once it follows its
 * target. If no driver has ever held the balloon, that is the maximum. After a boot, `actual` means nothing before the driver has answered
 * again; nor does it for a guest whose memory is pinned.
 */
function settleLimit(draft: Draft, context: GuestContext | undefined): void {
  const facts = context?.facts;
  const booted = Number.isFinite(draft.rebootedAt) && draft.samples === 0;
  const held = draft.actual > 0 && !booted && facts?.obstacles.length === 0;
  if (facts?.backing === 'hugepages') draft.limit = 0;
  else draft.limit = (held ? charge(draft) : draft.maximum) + (facts?.virtioMem ?? 0);
}

/**
 * The counters of a booting guest fall, and the guest reports nothing while it boots. On Windows counters may be rates, elsewhere they may
 * wrap around: those fall from one figure to the next.
 */
function seemsRebooted(draft: Draft, figure: Figure, at: number, periodMs: number): boolean {
  if (draft.samples === 0) return false;
  const falls = figure(SWAP_IN) < draft.swapIn || figure(MAJOR_FAULT) < draft.majorFault || figure(MINOR_FAULT) < draft.minorFault;
  if (!falls) return false;
  draft.falls++;
  const { rebootedAt, falls: times } = draft;
  if (at - rebootedAt < SAME_REBOOT) return false;
  // One of these falls belongs to the last boot.
  return times <= (Number.isFinite(rebootedAt) ? 2 : 1) && at - draft.figuresAt >= Math.max(REBOOT_SILENCE, 1.5 * periodMs);
}

/** Clears what a boot makes worthless. */
function forget(draft: Draft, at: number): void {
  draft.rebootedAt = at;
  draft.samples = draft.falls = draft.trend = draft.hidden = draft.reachable = draft.usualFaults = 0;
  draft.lastUpdate = draft.figuresAt = draft.kernel = draft.kernelSeen = draft.used = draft.sound = Number.NaN;
  // The guest's cache is gone, and what it reads while it boots is not its usual.
  draft.usualReads = draft.quietSize = Number.NaN;
  draft.working = draft.cacheFloor = draft.excess = draft.probes = 0;
  draft.cutAt = draft.probeAfter = Number.NEGATIVE_INFINITY;
  draft.paired = false;
  draft.rollback = null;
}

function judge(
  draft: Draft,
  figure: Figure,
  sample: Sample,
  context: GuestContext | undefined,
  config: PolicyConfig,
  inDanger: boolean,
): Phase {
  const { at } = sample;
  const before = draft.why;
  draft.why = exclusion(context);
  if (draft.why !== null) return 'excluded';
  if (context?.facts === null) {
    draft.why = 'not-described';
    return 'booting';
  }
  // Rule 9. A sample that did not read the guest says nothing about its state.
  const held = figure(STATUS) === READ ? holdOn(figure) : draft.phase === 'paused' ? before : null;
  if (held !== null) {
    draft.why = held;
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
  const stale = at - Math.max(draft.figuresAt, draft.stoodAt) > 5 * Math.max(period, config.intervalMs) + 2000;
  // The balloon went to the maximum by itself, and no figures came since: the driver was removed, or the guest boots without an event.
  const left = draft.adoptedAt >= draft.figuresAt && isSame(draft.actual, draft.maximum);
  if (stale || (left && at - draft.adoptedAt > Math.max(REBOOT_SILENCE, 2 * period))) {
    // Stale figures of a running guest are a sign of distress: a shrink under way is undone.
    if (draft.target < draft.actual - SAME) draft.rollback = { reason: 'silent', to: draft.actual };
    draft.why = hangs(draft) ? 'hangs' : silence(draft, context);
    return 'silent';
  }
  if (draft.rollback !== null && !stillOpen(draft, draft.rollback, at)) draft.rollback = null;
  progress(draft, at);
  // A guest that an earlier coordinator found stuck is stuck from the start.
  const stuck = draft.phase === 'stuck' || (draft.phase === 'booting' && draft.reachable > 0);
  // Trying again costs nothing, and the host lacks what it may bring.
  if (stuck && inDanger && at - draft.orderedAt >= STUCK_AGAIN && at < draft.shrinkAfter) {
    draft.shrinkAfter = at;
    draft.pause = Math.max(FIRST_PAUSE, draft.pause / 2);
  }
  if (!stuck || at >= draft.shrinkAfter) return 'steady';
  draft.why = 'does-not-give';
  return 'stuck';
}

/** Why nothing is done to a guest that was read: it does not run, or libvirt lets nobody change it. Null = it may be moved. */
function holdOn(figure: Figure): Why | null {
  const job = figure(JOB);
  if (job === MIGRATION_IN || job === MIGRATION_OUT) return 'migrating';
  if (!Number.isNaN(job)) return 'has-job';
  return figure(STATE) === 1 || figure(STATE) === 2 ? null : 'not-running';
}

function exclusion(context: GuestContext | undefined): Why | null {
  if (context === undefined) return null;
  if (!context.included) return 'left-out';
  if (context.overrides.manage === false) return 'not-managed';
  const { facts } = context;
  if (facts === null) return null;
  if (facts.balloonModel === 'none') return 'no-balloon';
  return facts.obstacles.length === 0 ? null : 'obstacles';
}

function silence(belief: Belief, context: GuestContext | undefined): Why {
  if (context?.statsPeriod === 0) return 'figures-off';
  return belief.lastUpdate > 0 ? 'figures-stand' : 'no-driver';
}

function hangs({ missed }: Belief): boolean {
  return missed >= HANGS_AFTER;
}

/** Reports what has changed about a guest. A guest that hangs becomes silent; that needs no second notice (rule 10). */
function noteChange(phase: Phase, rollback: Rollback | null, hung: boolean, now: Belief, notices: PolicyNotice[]): void {
  const known = (now.phase === 'silent' && hangs(now)) || (phase === 'silent' && hung);
  if (now.phase !== phase && !known) {
    const kind = now.phase === 'stuck' ? 'stuck' : now.phase === 'excluded' ? 'not-coordinated' : phase === 'stuck' ? 'recovered' : 'phase';
    const level = now.phase === 'silent' || now.phase === 'stuck' ? 'warn' : 'info';
    const why: { why?: Why } = now.why === null ? {} : { why: now.why };
    notices.push(notice(kind, level, now, { phase: now.phase, was: phase, actual: now.actual, target: now.target, ...why }));
  }
  if (now.rollback?.reason === 'thrashing' && rollback?.reason !== 'thrashing')
    notices.push(notice('thrashing', 'warn', now, { to: now.rollback.to }));
  if (hangs(now) && !hung) notices.push(notice('set-aside', 'warn', now));
  if (now.missed === 0 && hung) notices.push(notice('answers-again', 'info', now));
}

/** Reports, once, a guest that has not answered for long since discovery or boot. Its answer is then reported as a change of phase. */
function noteBoot(draft: Draft, at: number, notices: PolicyNotice[]): void {
  if (draft.phase !== 'booting') {
    draft.bootingSince = Number.NaN;
    draft.bootReported = false;
    return;
  }
  if (Number.isNaN(draft.bootingSince)) draft.bootingSince = at;
  if (draft.bootReported || draft.why === null || at - draft.bootingSince < BOOT_REPORTED) return;
  draft.bootReported = true;
  notices.push(notice('no-answer', 'warn', draft, { seconds: Math.round((at - draft.bootingSince) / 1000), why: draft.why }));
}

/**
 * Somebody else's move has come to rest. It is reported, but frequent ones are not reported each time. The new size replaces what the guest
 * had before memcoord came, unless the balloon has only returned to what memcoord asked for, as after a reboot, or goes where an earlier
 * coordinator may have sent it after it last saved its state.
 */
function adopt(draft: Draft, at: number, notices: PolicyNotice[]): void {
  draft.adopting = false;
  if (at - draft.recalledAt <= UNDER_WAY) return;
  const reported = at - draft.adoptedReportedAt < ADOPTED_QUIET;
  if (!reported) draft.adoptedReportedAt = at;
  if (draft.phase === 'booting') return;
  if (!isSame(draft.actual, draft.orderedTo)) draft.original = draft.actual;
  if (!reported) notices.push(notice('adopted', 'info', draft, { actual: draft.actual }));
}

function notice(
  kind: PolicyNotice['kind'],
  level: PolicyNotice['level'],
  { name, uuid }: Belief,
  figures?: PolicyNotice['figures'],
): PolicyNotice {
  return { kind, level, guest: name, uuid, ...(figures === undefined ? {} : { figures }) };
}
