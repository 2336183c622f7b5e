/**
 * The model: folds one look into what is believed of the guests (belief.ts). balloon.ts and figures.ts read a guest's figures, this file
 * judges the phase and tells what changed; orders.ts notes the moves. Gives new beliefs and leaves the old alone.
 */
import { ACTUAL, MAJOR_FAULT, MAXIMUM, MINOR_FAULT, READ, STATE, STATUS, STRIDE, SWAP_IN } from '../sweep.js';
import { formatSize } from '../units.js';
import { progress, readBalloon, stillOpen } from './balloon.js';
import type { Belief, Figure, Model, Rollback } from './belief.js';
import { fresh } from './belief.js';
import { readFigures } from './figures.js';
import { ADOPTED_QUIET, DEFAULT_SHARE, FLOOR_FRACTION, LEAST_FLOOR, REBOOT_BLIND, SAME } from './limits.js';
import type { GuestContext, Look, Notice, PolicyConfig } from './types.js';

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
