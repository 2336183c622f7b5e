import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import { restoredOf, whyText, worded } from '../../lib/coordinator/messages.js';
import type { PolicyNotice, Why } from '../../lib/policy/types.js';

const FIGURES = {
  actual: 512 * MiB,
  target: 400 * MiB,
  to: 700 * MiB,
  needs: 5 * GiB,
  capacity: 4 * GiB,
  charged: 3 * GiB,
  available: 300 * MiB,
  reserve: GiB,
};

const KINDS: Readonly<Record<PolicyNotice['kind'], RegExp>> = {
  'guest-appeared': /^vm1 is here$/,
  'guest-gone': /^vm1 is gone$/,
  phase: /^vm1 is silent: its balloon driver has not answered yet; run memcoord doctor for what to do$/,
  'not-coordinated': /^vm1 is silent/,
  recovered: /^vm1 is silent/,
  adopted: /512MiB/,
  stuck: /^vm1 is stuck: .*set min to 512MiB/,
  thrashing: /grows it back to 700MiB/,
  overcommitted: /need 5GiB.*4GiB.*stop or move a guest, raise --pool/,
  contended: /need 5GiB.*4GiB/,
  'contention-ended': /room for every guest again/,
  'host-pressure': /short of memory/,
  'host-pressure-ended': /no longer short of memory/,
  'reserve-in-danger': /300MiB available.*reserve of 1GiB.*ps aux/,
  'reserve-safe': /reserve again/,
  'set-aside': /virsh domstate vm1 --reason/,
  'answers-again': /^vm1 answers again$/,
  'no-answer': /^vm1 has not answered for 30 s: its balloon driver has not answered yet; .* run memcoord doctor for what to do$/,
  'no-refresh': /cannot refresh figures on request/,
};

t.test('every notice of the policy has a sentence with its figures', async (t) => {
  for (const [kind, pattern] of Object.entries(KINDS) as [PolicyNotice['kind'], RegExp][]) {
    const figures = { ...FIGURES, seconds: 30, phase: 'silent', was: 'steady', why: 'no-driver' };
    const notice: PolicyNotice = { kind, level: 'info', guest: 'vm1', uuid: 'u', figures };
    const { message, ...rest } = worded(notice, null);
    t.match(message, pattern);
    t.same(rest, notice, 'and stays what it is for programs');
    t.notMatch(message, /NaN|undefined|: -|\bnull\b/);
  }
});

t.test('every reason why a guest is not moved has words', async (t) => {
  const reasons: readonly Why[] = [
    'left-out',
    'not-managed',
    'no-balloon',
    'obstacles',
    'not-described',
    'not-running',
    'migrating',
    'has-job',
  ];
  const others: readonly Why[] = ['figures-off', 'figures-stand', 'no-driver', 'hangs', 'does-not-give'];
  const texts = [...reasons, ...others].map((why) => whyText(why));
  t.equal(new Set(texts).size, texts.length);
  t.ok(texts.every((text) => text.length > 5));
});

t.test('why a guest did not get back what it had is said with the figures that decided it', async (t) => {
  const account = {
    available: 0,
    lack: 0,
    soon: 0,
    reserve: GiB,
    charged: 0,
    overhead: 0,
    uncontrolled: 0,
    untouched: 0,
    liability: 0,
    granted: 0,
  };
  const rooms = { poolRoom: Number.POSITIVE_INFINITY, room: 300 * MiB, reliefRoom: 0, optionalRoom: 0, newcomer: 0, shortage: 0 };
  const fate = { uuid: 'u', name: 'vm1', size: 500 * MiB, original: GiB, used: 450 * MiB };
  const restored = (why: Parameters<typeof restoredOf>[0]['why']) => restoredOf({ ...fate, why }, { ...account, ...rooms }, null);
  t.match(restored('no-room').why, /300MiB above its reserve of 1GiB/);
  t.match(restored('in-use').why, /^it uses 450MiB/);
  t.match(restored('hangs').why, whyText('hangs'));
  t.same(restored(null), { uuid: 'u', name: 'vm1', size: 500 * MiB, original: GiB, why: null });
});
