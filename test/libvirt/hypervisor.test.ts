import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { METADATA_URI } from '../../lib/config/metadata.js';
import type { HypervisorEvent } from '../../lib/hypervisor.js';
import { openLibvirt, translate } from '../../lib/libvirt/hypervisor.js';
import { ACTUAL, READ, STATUS } from '../../lib/sweep.js';
import { hostOf, makeGuests, startDaemon, until } from '../native/support.js';

const SOON = { deadlineMs: 10_000 };

t.test('a host of two guests, from opening to closing', async (t) => {
  const guests = makeGuests(2);
  const [first, second] = guests.map(({ uuid }) => uuid) as [string, string];
  const hypervisor = await openLibvirt(await hostOf(t, guests));
  t.equal(hypervisor.isAlive(), true);

  const before = await hypervisor.sample(SOON);
  t.same(
    before.guests.map(({ name }) => name),
    ['guest0', 'guest1'],
  );
  t.same(await hypervisor.setMemory([{ uuid: first, kib: 700_000 }], SOON), [null]);
  await hypervisor.setStatsPeriod(first, 2, SOON);
  const after = await hypervisor.sample({ ...SOON, refresh: [first, second], only: [first] });
  t.equal(after.guests, before.guests, 'the same array while the set is the same');
  t.equal(after.figures[STATUS], READ);
  t.equal(after.figures[ACTUAL], 700_000);

  const facts = await hypervisor.describe(first, SOON);
  t.match(facts, { maximum: 2_097_152, current: 700_000, balloonModel: 'virtio', statsPeriod: 2, obstacles: [], metadata: null });
  t.equal((await hypervisor.describe(second, SOON)).statsPeriod, 0, 'a refresh switches on nothing that was off');
  t.equal(await hypervisor.hostId(), null, 'nobody shares a test driver inside this process');
  t.ok((await hypervisor.hostMemory()).total > 0, 'its host is this one');

  await hypervisor.close(SOON);
  t.equal(hypervisor.isAlive(), false);
  await t.rejects(hypervisor.sample(SOON), { code: 'ERR_MEMCOORD_CLOSED' });
});

t.test('our metadata is handed on', async (t) => {
  const file = join(t.testdir(), 'node.xml');
  await writeFile(
    file,
    `<node><domain type='test'><name>a</name><memory>1048576</memory>
      <metadata><m:memcoord xmlns:m='${METADATA_URI}' min='512MiB'/></metadata><os><type>hvm</type></os></domain></node>`,
  );
  const hypervisor = await openLibvirt(`test://${file}`);
  t.teardown(() => hypervisor.close(SOON));
  const { guests } = await hypervisor.sample(SOON);
  t.match((await hypervisor.describe(guests[0]?.uuid ?? '', SOON)).metadata, /min=['"]512MiB['"]/);
});

t.test('events come until their listener is taken off, and the loss of the connection is one', async (t) => {
  const { uri, pid, virsh } = await startDaemon(t);
  const hypervisor = await openLibvirt(uri);
  t.teardown(() => hypervisor.close(SOON));
  t.match(await hypervisor.hostId(), /^[0-9a-f-]{36}$|^test\+unix:/);
  const events: HypervisorEvent[] = [];
  const others: HypervisorEvent[] = [];
  hypervisor.onEvent((event) => events.push(event));
  const off = hypervisor.onEvent((event) => others.push(event));
  await virsh('suspend', 'test');
  await until('the event', () => events.length > 0);
  t.match(events, [{ kind: 'paused', name: 'test' }]);
  t.same(others, events);
  off();
  process.kill(pid, 'SIGKILL');
  await until('the end', () => events.length > 1);
  t.match(events[1], { kind: 'closed' });
  t.equal(others.length, 1);
});

t.test("native events in the coordinator's words", async (t) => {
  const guest = { uuid: 'u', name: 'n' };
  const lifecycle = (event: number) => translate({ kind: 'lifecycle', ...guest, event, detail: 0 })?.kind;
  t.same([0, 1, 2, 3, 4, 5, 6, 7, 8, 99].map(lifecycle), [
    undefined,
    undefined,
    'started',
    'paused',
    'resumed',
    'stopped',
    undefined,
    'paused',
    'stopped',
    undefined,
  ]);
  t.same(translate({ kind: 'reboot', ...guest }), { kind: 'rebooted', ...guest });
  t.same(translate({ kind: 'balloon', ...guest, actual: 5 }), { kind: 'balloon', ...guest, actual: 5 });
  t.same(translate({ kind: 'deviceAdded', ...guest, alias: 'hostdev0' }), { kind: 'deviceAdded', ...guest });
  t.same(translate({ kind: 'closed', reason: 2 }), { kind: 'closed', reason: 'the daemon does not answer' });
  t.same(translate({ kind: 'closed', reason: 9 }), { kind: 'closed', reason: 'reason 9' });
});
