import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { GiB, MiB, parseSize } from '../../lib/common/units.js';
import { METADATA_URI } from '../../lib/config/metadata.js';
import type { DomainFacts, HypervisorEvent } from '../../lib/hypervisor.js';
import { openLibvirt, translate } from '../../lib/libvirt/hypervisor.js';
import { ACTUAL, READ, STATUS } from '../../lib/sweep.js';
import { hostOf, makeGuests, ROOT, startDaemon, until } from '../native/support.js';

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

/** What libvirt makes of the domains of a file in test/fixtures/domains, by name. */
async function factsOf(t: Test, file: string): Promise<Map<string, DomainFacts>> {
  const hypervisor = await openLibvirt(`test://${join(ROOT, 'test/fixtures/domains', file)}`);
  t.teardown(() => hypervisor.close(SOON));
  const { guests } = await hypervisor.sample(SOON);
  return new Map(
    await Promise.all(guests.map(async ({ name, uuid }) => [name, await hypervisor.describe(uuid, SOON)] as [string, DomainFacts])),
  );
}

t.test('memory devices, as libvirt counts them in <memory> and as the balloon does', async (t) => {
  const facts = await factsOf(t, 'memory-devices.xml');
  t.match(facts.get('pmem-db'), { maximum: 4 * GiB, deviceMemory: 256 * GiB, virtioMem: 0, current: 4 * GiB, obstacles: [] });
  t.match(facts.get('dimm-plugged'), { maximum: 6 * GiB, deviceMemory: 0, obstacles: [] });
  t.match(facts.get('vmem'), { maximum: 4 * GiB, deviceMemory: 64 * GiB, virtioMem: 0, current: 4 * GiB, obstacles: ['virtio-mem'] });
  t.match(facts.get('pmem-virtio'), { maximum: 4 * GiB, deviceMemory: 16 * GiB, obstacles: [] });
  t.match(facts.get('sgx'), { maximum: 4 * GiB, deviceMemory: 0, obstacles: [] });
});

t.test('devices and backing that leave the balloon alone, and those that do not', async (t) => {
  const facts = await factsOf(t, 's390-mdev.xml');
  for (const [name, { maximum, obstacles }] of facts) t.strictSame({ maximum, obstacles }, { maximum: 4 * GiB, obstacles: [] }, name);
  t.match(facts.get('backing'), { backing: 'anonymous', hardLimit: 2 * GiB, autodeflate: true });
  t.match(facts.get('noshared-immediate'), { backing: 'file', hardLimit: null });
  t.match(facts.get('vhostuser'), { backing: 'anonymous', balloonModel: 'virtio-transitional' });
});

t.test('sizes in any unit, odd names, balloons of any model', async (t) => {
  const facts = await factsOf(t, 'odd-domains.xml');
  t.match(facts.get('bytes-unit'), { maximum: GiB, current: GiB / 2, balloonModel: 'none' });
  t.match(facts.get('gb-unit'), { maximum: parseSize('2GB'), current: parseSize('1500MB') });
  t.match(facts.get('tib-unit'), { maximum: 1024 * GiB, current: 1024 * GiB });
  t.match(facts.get('tiny64'), { maximum: 64 * MiB });
  t.match(facts.get('cur-above'), { maximum: 512 * MiB, current: 512 * MiB }, 'libvirt cuts it');
  for (const name of ['name with spaces', 'café-日本-🎈', '7']) t.match(facts.get(name), { maximum: 512 * MiB }, name);
  t.match(facts.get('balloon-none'), { balloonModel: 'none', obstacles: [] });
  t.match(facts.get('balloon-nontrans'), { balloonModel: 'virtio-non-transitional', autodeflate: true, statsPeriod: 10 });
  t.match(facts.get('balloon-xen'), { balloonModel: 'xen', obstacles: ['balloon model xen'] });
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
  const woken = translate({ kind: 'lifecycle', ...guest, event: 2, detail: 4 })?.kind;
  t.equal(woken, 'resumed', 'a guest that slept is not started');
  const detailed = (event: number, detail: number) => translate({ kind: 'lifecycle', ...guest, event, detail })?.kind;
  t.same(
    [0, 1, 2, 3, 4, 5].map((detail) => detailed(2, detail)),
    ['started', 'restored', 'restored', 'restored', 'resumed', 'started'],
  );
  t.same(
    [0, 1, 2, 3, 4, 5, 6].filter((detail) => detailed(5, detail) === 'saved'),
    [4],
  );
  t.same(translate({ kind: 'reboot', ...guest }), { kind: 'rebooted', ...guest });
  t.same(translate({ kind: 'balloon', ...guest, actual: 5 }), { kind: 'balloon', ...guest, actual: 5 });
  t.same(translate({ kind: 'deviceAdded', ...guest, alias: 'hostdev0' }), { kind: 'deviceAdded', ...guest });
  t.same(translate({ kind: 'closed', reason: 2 }), { kind: 'closed', reason: 'the daemon does not answer' });
  t.same(translate({ kind: 'closed', reason: 9 }), { kind: 'closed', reason: 'reason 9' });
});
