/** All sentences about what the policy has noticed and done: what happened, to whom, what memcoord does about it, what people can do. */
import { guestWord, shellQuoted } from '../common/text.js';
import { formatSize } from '../common/units.js';
import type { DomainFacts } from '../hypervisor.js';
import type { Account } from '../policy/account.js';
import type { Fate } from '../policy/restore.js';
import type { PolicyNotice, Why } from '../policy/types.js';

/** Something that has changed and that an operator wants to know, once. */
export interface Notice extends Omit<PolicyNotice, 'kind'> {
  readonly kind: PolicyNotice['kind'] | 'not-restored' | 'settings' | 'no-guests' | 'state';
  /** A sentence that says what, why, and what to do where there is something to do. */
  readonly message: string;
}

/** Why a guest is not moved, or why its figures are not known. */
export function whyText(why: Why, facts: DomainFacts | null = null): string {
  switch (why) {
    case 'left-out':
      return 'left out by include/exclude';
    case 'not-managed':
      return 'manage: no';
    case 'no-balloon':
      return 'no balloon device';
    case 'obstacles':
      return `ballooning frees nothing: ${facts?.obstacles.join(', ') ?? 'see its definition'}`;
    case 'not-described':
      return 'libvirt has not described it yet';
    case 'not-running':
      return 'not running';
    case 'migrating':
      return 'it is being migrated';
    case 'has-job':
      return 'libvirt saves, dumps or snapshots it';
    case 'figures-off':
      return 'its stats period is 0: no figures';
    case 'figures-stand':
      return 'its figures no longer change';
    case 'no-driver':
      return 'its balloon driver has not answered yet';
    case 'hangs':
      return 'does not answer';
    case 'does-not-give':
      return 'does not give memory; left alone for a while';
  }
}

/** A notice of the policy with its sentence. */
export function worded(notice: PolicyNotice, facts: DomainFacts | null): Notice {
  return { ...notice, message: sentence(notice, facts) };
}

function sentence({ kind, guest = '', uuid = '', figures = {} }: PolicyNotice, facts: DomainFacts | null): string {
  const size = (key: string) => formatSize(Number(figures[key] ?? Number.NaN));
  const because = figures.why === undefined ? '' : `: ${whyText(figures.why as Why, facts)}`;
  const quoted = () => shellQuoted(guestWord(guest, uuid));
  switch (kind) {
    case 'guest-appeared':
      return `${guest} is here`;
    case 'guest-gone':
      return `${guest} is gone`;
    case 'phase':
    case 'recovered':
    case 'not-coordinated':
      return `${guest} is ${figures.why === 'migrating' || figures.why === 'has-job' ? 'left alone for now' : figures.phase}${because}${figures.phase === 'silent' ? '; run memcoord doctor for what to do' : ''}`;
    case 'stuck':
      return `${guest} is stuck${because}; it cannot give up memory in tmpfs or locked memory: set min to ${size('actual')} to stop further attempts`;
    case 'adopted':
      return `somebody set ${guest} to ${size('actual')}: memcoord accepts that size and does not shrink the guest for a while`;
    case 'thrashing':
      return `${guest} swaps or faults after a shrink: memcoord grows it back to ${size('to')}`;
    case 'set-aside':
      return (
        `${guest} does not answer and is left out; the other guests are still coordinated. Its process hangs, or another command holds it; ` +
        `virsh domstate ${quoted()} --reason and virsh domcontrol ${quoted()} say which (other commands may hang), virsh destroy ${quoted()} ends it`
      );
    case 'no-answer':
      return `${guest} has not answered for ${figures.seconds} s${because}; its size stays until it answers: run memcoord doctor for what to do`;
    case 'answers-again':
      return `${guest} answers again`;
    case 'contention-ended':
      return 'there is room for every guest again';
    case 'contended':
      return `guests need ${size('needs')}, the host has ${size('capacity')} for them: spare memory is shared out`;
    case 'overcommitted':
      return (
        `guests need ${size('needs')}, the host has ${size('capacity')} for them, too little to keep each of them safe: ` +
        'stop or move a guest, raise --pool, or add memory'
      );
    case 'host-pressure':
      return 'the host itself is short of memory: guests grow only if they need it';
    case 'host-pressure-ended':
      return 'the host is no longer short of memory';
    case 'reserve-in-danger':
      return (
        `the host has ${size('available')} available, less than its reserve of ${size('reserve')}: guests give memory back; ` +
        '`ps aux --sort=-rss | head` shows which process uses it: end it, stop or move a guest, or set a smaller reserve'
      );
    case 'reserve-safe':
      return `the host has its reserve again: ${size('available')} available`;
    case 'no-refresh':
      return 'this hypervisor cannot refresh figures on request: memcoord waits for the reports of the guests, and leaves them more spare memory';
  }
}

/** Outcome of restoring a guest, in words. */
export interface Restored extends Omit<Fate, 'why' | 'used'> {
  /** Why it does not have its original size; null if it has. */
  readonly why: string | null;
}

export function restoredOf({ used, why, ...rest }: Fate, { room, reserve }: Account, facts: DomainFacts | null): Restored {
  return { ...rest, why: why === null ? null : notRestoredText(why, used, room, reserve, facts) };
}

function notRestoredText(why: NonNullable<Fate['why']>, used: number, room: number, reserve: number, facts: DomainFacts | null): string {
  switch (why) {
    case 'never-moved':
      return 'memcoord has not changed its size, as far as it knows';
    case 'on-its-way':
      return 'its balloon has not reached its target';
    case 'no-room':
      return `the host can spare no more: ${formatSize(Math.max(0, room))} above its reserve of ${formatSize(reserve)}`;
    case 'in-use':
      return `it uses ${formatSize(used)}, and keeps some spare`;
    case 'no-figures':
      return 'its figures are not known yet';
    default:
      return whyText(why, facts);
  }
}
