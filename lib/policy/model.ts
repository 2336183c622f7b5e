/**
 * The model: folds one sample into what is believed of the guests (belief.ts). balloon.ts and figures.ts read a guest's figures, this file
 * judges the phase and tells what changed; orders.ts notes the moves. All of them write to drafts (rows.ts) and leave the old model alone.
 */

import { guestWord, shellQuoted } from '../common/text.js';
import { amountOf, formatSize } from '../common/units.js';
import {
  ACTUAL,
  CPU_TIME,
  MAJOR_FAULT,
  MAXIMUM,
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
import { readActivity } from './activity.js';
import { openWindow, progress, readBalloon, stillOpen } from './balloon.js';
import type { Belief, Draft, Figure, Model, Rollback } from './belief.js';
import { readFigures } from './figures.js';
import {
  ADOPTED_QUIET,
  DEFAULT_SHARE,
  FLOOR_FRACTION,
  HANGS_AFTER,
  LEAST_FLOOR,
  REBOOT_BLIND,
  REFUSALS,
  SAME,
  UNDER_WAY,
} from './limits.js';
import { Drafts } from './rows.js';
import type { GuestContext, Notice, Phase, PolicyConfig, Sample } from './types.js';

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
