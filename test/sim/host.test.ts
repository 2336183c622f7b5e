import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import type { GuestSpec } from '../../lib/sim/guest.js';
import { SimHost } from '../../lib/sim/host.js';
import { through } from '../../lib/sim/workload.js';
import { figureOf, LAST_UPDATE, MAXIMUM, READS, RSS_FILE } from '../../lib/sweep.js';

t.test('the wall clock is set for the guests that are there and for those that are started later', async (t) => {
  const spec = (name: string) => ({ name, maximum: GiB, uses: () => 100 * MiB });
  const host = new SimHost({ total: 8 * GiB, guests: [spec('first')] });
  host.setClock(3_600_000);
  host.start(spec('second'));
  for (const guest of host.guests) guest.setPeriod(1);
  await host.pass(1000);
  const sweep = await (await host.connect()).sample({ deadlineMs: 100 });
  t.ok(figureOf(sweep, 0, LAST_UPDATE) > 1_700_003_500);
  t.equal(figureOf(sweep, 1, LAST_UPDATE), figureOf(sweep, 0, LAST_UPDATE));
});

/** A guest that uses 1 GiB, and from the first second on takes what it may at 1 GiB/s. */
function eater(name: string, maximum: number, more: Partial<GuestSpec> = {}): GuestSpec {
  const eaten = through([{ at: 1000, size: maximum - GiB, rate: GiB }]);
  return { name, maximum, base: GiB, uses: (at) => GiB + eaten(at), ...more };
}

t.test('a host that has had nothing left for a second kills its largest guest, and the others live', async (t) => {
  const host = new SimHost({ total: 8 * GiB, guests: [eater('large', 6 * GiB), eater('small', 4 * GiB)] });
  const killed: [string, string][] = [];
  const gone: string[] = [];
  host.onKill = ({ spec }, by) => killed.push([spec.name, by]);
  host.listen((event) => event.kind === 'stopped' && gone.push(event.name));
  await host.pass(4500);
  t.ok(host.available < 0);
  t.same(killed, [], 'not at once');
  await host.pass(3000);
  t.same(killed, [['large', 'host']]);
  t.same(gone, ['large']);
  t.equal(host.kills, 1);
  t.ok(host.available > 0);
  t.same(
    host.everyone.map(({ spec, kills }) => [spec.name, kills]),
    [
      ['large', 1],
      ['small', 0],
    ],
  );
});

t.test("so does a cgroup that is over its limit, and a guest's own hard limit ends it", async (t) => {
  const host = new SimHost({ total: 64 * GiB, cgroup: 4 * GiB, guests: [eater('large', 6 * GiB)] });
  t.equal(host.available, host.cgroupRoom);
  await host.pass(8000);
  t.equal(host.kills, 1);
  const limited = new SimHost({ total: 64 * GiB, guests: [eater('limited', 6 * GiB, { hardLimit: 3 * GiB })] });
  await limited.pass(8000);
  t.same([limited.guests.length, limited.kills, limited.everyone[0]?.kills], [0, 0, 1]);
  const facts = new SimHost({ total: 64 * GiB, guests: [eater('limited', 6 * GiB, { hardLimit: 3 * GiB })] });
  const uuid = facts.guest('limited').uuid;
  t.match(await (await facts.connect()).describe(uuid, { deadlineMs: 100 }), { hardLimit: 3 * GiB });
});

t.test("ZFS' cache is in no available memory, and comes back slowly where memory is short", async (t) => {
  const host = new SimHost({ total: 16 * GiB, arc: 10 * GiB, arcMinimum: GiB, guests: [eater('a', 12 * GiB)] });
  const hypervisor = await host.connect();
  const before = await hypervisor.hostMemory();
  t.match(before, { arc: 9 * GiB, arcMinimum: GiB });
  t.equal(before.available + 9 * GiB, host.available);
  await host.pass(20_000);
  const { arc, available } = await hypervisor.hostMemory();
  t.ok(arc < 4 * GiB && available > 0, `${arc / GiB} GiB left`);
  t.equal(host.kills, 0);
});

t.test('pages of a file count as available and are not; huge pages are set aside', async (t) => {
  const guests = [eater('file', 4 * GiB, { backing: 'file' }), eater('huge', 4 * GiB, { backing: 'hugetlb' })];
  const host = new SimHost({ total: 16 * GiB, hugePages: 4 * GiB, guests });
  await host.pass(5000);
  const hypervisor = await host.connect();
  t.match(await hypervisor.hostMemory(), { available: host.available + 4 * GiB, hugePages: 4 * GiB });
  const sweep = await hypervisor.sample({ deadlineMs: 100 });
  t.equal(figureOf(sweep, 0, RSS_FILE), 4 * GiB);
  t.ok(Number.isNaN(figureOf(sweep, 1, RSS_FILE)));
  t.match(await hypervisor.describe(host.guest('file').uuid, { deadlineMs: 100 }), { backing: 'file', obstacles: [] });
  t.match(await hypervisor.describe(host.guest('huge').uuid, { deadlineMs: 100 }), { backing: 'hugepages', obstacles: ['hugepages'] });
});

t.test('what a guest has read from its disks is told where it is asked for', async (t) => {
  const host = new SimHost({ total: 16 * GiB, guests: [eater('a', GiB), eater('b', GiB)] });
  const hypervisor = await host.connect();
  const guest = host.guest('a');
  const sweep = await hypervisor.sample({ deadlineMs: 100, reads: [guest.uuid] });
  t.same(figureOf(sweep, 0, READS), Math.floor(guest.diskReads));
  t.ok(Number.isNaN(figureOf(sweep, 1, READS)));
});

t.test("devices' memory is in libvirt's maximum and not in the balloon's", async (t) => {
  const host = new SimHost({
    total: 64 * GiB,
    guests: [eater('nv', 4 * GiB, { nvdimm: 16 * GiB }), eater('vm', 4 * GiB, { virtioMem: 8 * GiB })],
  });
  const hypervisor = await host.connect();
  const sweep = await hypervisor.sample({ deadlineMs: 100 });
  t.same([figureOf(sweep, 0, MAXIMUM), figureOf(sweep, 1, MAXIMUM)], [20 * GiB, 12 * GiB]);
  const [nv, vm] = await Promise.all(host.guests.map(({ uuid }) => hypervisor.describe(uuid, { deadlineMs: 100 })));
  t.match(nv, { maximum: 4 * GiB, deviceMemory: 16 * GiB, virtioMem: 0, obstacles: [] });
  t.match(vm, { maximum: 4 * GiB, deviceMemory: 8 * GiB, virtioMem: 4 * GiB, obstacles: ['virtio-mem'] });
});

t.test('lists that wait hold up a sample, and no call on a guest', async (t) => {
  const host = new SimHost({ total: 8 * GiB, guests: [eater('a', 4 * GiB)], turns: 1 });
  const hypervisor = await host.connect();
  host.listsWait = true;
  const sampled = hypervisor.sample({ deadlineMs: 500 }).catch((error: Error & { code: string }) => error.code);
  await host.pass(1000);
  t.equal(await sampled, 'ERR_MEMCOORD_DEADLINE');
  const { uuid } = host.guest('a');
  t.match(await hypervisor.describe(uuid, { deadlineMs: 100 }), { maximum: 4 * GiB });
  t.same(await hypervisor.setMemory([{ uuid, kib: 3 * GiB }], { deadlineMs: 100 }), [null]);
});

t.test('some UUIDs are none of RFC 4122, and all differ', async (t) => {
  const host = new SimHost({ total: 64 * GiB, guests: ['a', 'b', 'c', 'd'].map((name) => eater(name, 4 * GiB)) });
  const uuids = host.guests.map(({ uuid }) => uuid);
  t.equal(new Set(uuids).size, 4);
  const ofRfc = uuids.filter((uuid) => /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(uuid));
  t.equal(ofRfc.length, 3);
});
