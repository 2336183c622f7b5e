import { randomUUID } from 'node:crypto';
import t from 'tap';
import { doctor, type Report } from '../../lib/cli/doctor.js';
import { UnreachableError } from '../../lib/cli/failure.js';
import type { Connect } from '../../lib/cli/session.js';
import { GiB, MiB } from '../../lib/common/units.js';
import { takeLock } from '../../lib/coordinator/lock.js';
import type { DomainFacts, HostMemory } from '../../lib/hypervisor.js';
import { FAILED, LAST_UPDATE, MAXIMUM, READ, READS, STATE, STATUS, UNUSED, USABLE } from '../../lib/sweep.js';
import { collected, connectNow, connectTo, connectWithFacts, hostWith, idle } from './simulated.js';

async function examined(connect: Connect, options = {}): Promise<{ code: number; report: Report }> {
  const { print, text } = collected();
  const code = await doctor({ json: true, ...options }, connect, print);
  return { code, report: JSON.parse(text()) };
}

/** The findings about a guest that is well but for `facts`. */
async function findingsWith(
  facts: Partial<DomainFacts>,
  options = {},
  spec = {},
  figures: Readonly<Record<number, number>> = {},
): Promise<{ code: number; what: string[]; mend: string[] }> {
  const host = hostWith(idle('one', spec));
  host.guest('one').setPeriod(1);
  await host.pass(2000);
  const connect: Connect = async (...call) => {
    const real = await connectWithFacts(host, 'one', facts)(...call);
    return {
      ...real,
      sample: async (asked) => {
        const sweep = await real.sample(asked);
        for (const [field, value] of Object.entries(figures)) sweep.figures[Number(field)] = value;
        return sweep;
      },
    };
  };
  const { code, report } = await examined(connect, options);
  const findings = report.guests[0]?.findings ?? [];
  return { code, what: findings.map(({ level, what }) => `${level}: ${what}`), mend: findings.map(({ mend }) => mend ?? '') };
}

t.test('a guest that answers and has a balloon can be coordinated', async (t) => {
  const { code, what } = await findingsWith({});
  t.equal(code, 0);
  t.strictSame(what, []);
});

t.test('each thing that keeps a guest from being coordinated is a problem, with the command that mends it', async (t) => {
  const bare = await findingsWith({ balloonModel: 'none' });
  t.equal(bare.code, 1);
  t.strictSame(bare.what, ['problem: has no balloon device']);
  t.match(bare.mend[0], /^virsh -c sim:\/\/\/host edit one {3}# <memballoon model='virtio'\/>/);

  const pinned = await findingsWith({ obstacles: ['hugepages', 'vfio device hostdev0'] });
  t.equal(pinned.code, 1);
  t.match(pinned.what, [
    'problem: its balloon frees nothing for the host: hugepages',
    'problem: its balloon frees nothing for the host: vfio device hostdev0',
  ]);
  t.match(pinned.mend[0], '--exclude one');

  const mute = await findingsWith({}, {}, { driver: false });
  t.equal(mute.code, 1);
  t.match(mute.what, ['problem: its balloon driver does not answer']);
  t.match(mute.mend[0], 'modprobe virtio_balloon');
});

t.test('a balloon of Xen, virtio-mem and a driver without figures keep a guest from being coordinated', async (t) => {
  const xen = await findingsWith({ balloonModel: 'xen', obstacles: ['balloon model xen'] });
  t.equal(xen.code, 1);
  t.strictSame(xen.what, ['problem: has no balloon that works: QEMU does not have the model xen']);
  t.match(xen.mend[0], "edit one   # <memballoon model='virtio'/> within <devices>");

  const virtioMem = await findingsWith({ obstacles: ['virtio-mem'], deviceMemory: 64 * GiB, virtioMem: 4 * GiB });
  t.equal(virtioMem.code, 1);
  t.strictSame(virtioMem.what, [
    'problem: has virtio-mem, 4GiB of it plugged or requested, which does not work with a balloon: memcoord reads the guest but does not change its size',
  ]);
  t.match(virtioMem.mend[0], '--exclude one');

  const mute = await findingsWith({}, {}, {}, { [UNUSED]: Number.NaN, [USABLE]: Number.NaN });
  t.equal(mute.code, 1);
  t.match(mute.what, [/^problem: its balloon driver answers, but without figures/]);
  t.match(mute.mend[0], 'BLNSVR');
});

t.test('memory of other kinds than most guests have is a note', async (t) => {
  const nvdimm = await findingsWith({ deviceMemory: 256 * GiB });
  t.equal(nvdimm.code, 0);
  t.strictSame(nvdimm.what, ['note: 256GiB of its memory is NVDIMM or virtio-pmem, which the balloon cannot change: its maximum is 2GiB']);

  const limited = await findingsWith({ hardLimit: GiB });
  t.equal(limited.code, 0);
  t.strictSame(limited.what, [
    'note: is killed when its process holds 1GiB (hard_limit, or its cgroup): it is given less, not its maximum of 2GiB',
  ]);
  t.strictSame(limited.mend, ['virsh -c sim:///host memtune one --hard-limit -1 --live --config']);
  t.strictSame((await findingsWith({ hardLimit: 4 * GiB })).what, [], 'a limit above the maximum is none');

  const filed = await findingsWith({ backing: 'file' });
  t.equal(filed.code, 0);
  t.match(filed.what, [/^note: its memory is backed by a file/]);

  const old = await findingsWith({}, {}, {}, { [USABLE]: Number.NaN });
  t.equal(old.code, 0);
  t.match(old.what, [/^note: reports no 'usable' memory: its 'unused' less what its kernel keeps/]);
  t.match(old.mend[0], 'Linux 4.6');

  const full = await findingsWith({ composed: true, deviceMemory: GiB }, {}, { current: 2 * GiB }, { [MAXIMUM]: 3 * GiB });
  t.match(full.mend[1], /^virsh -c sim:\/\/\/host edit one /, 'setmaxmem refuses where it is made of parts');
});

t.test("the host's other memory is told: ZFS' cache, huge page pools, the guests' cgroup", async (t) => {
  const host = hostWith();
  const withMemory = (memory: Partial<HostMemory>) =>
    examined(connectTo(host, (real) => ({ hostMemory: async () => ({ ...(await real.hostMemory()), ...memory }) })));
  const zfs = await withMemory({ arc: 22 * GiB, arcMinimum: GiB });
  t.equal(zfs.code, 0);
  t.ok(zfs.report.host.facts.includes('22GiB of ZFS ARC counted as available, except its minimum of 1GiB'));
  const pools = await withMemory({ hugePages: 4 * GiB });
  t.ok(pools.report.host.facts.includes('4GiB in huge page pools: no guest with a balloon uses them'));
  const limited = await withMemory({ cgroupRoom: 3 * GiB });
  t.equal(limited.code, 0);
  t.match(limited.report.host.findings, [
    { level: 'note', what: /^guests may take no more than 3GiB/, mend: /systemctl show machine.slice/ },
  ]);
  t.same((await withMemory({ cgroupRoom: 99 * GiB })).report.host.findings, [], 'a limit that the host does not reach is none');
});

t.test('what memcoord copes with is a note', async (t) => {
  const unasked = await findingsWith({ statsPeriod: 0 });
  t.equal(unasked.code, 0);
  t.match(unasked.what, [/^note: is not asked for its figures/]);
  t.strictSame(unasked.mend, ['virsh -c sim:///host dommemstat one --period 1 --live']);

  const full = await findingsWith({}, {}, { current: 2 * GiB });
  t.equal(full.code, 0);
  t.match(full.what, [/^note: holds its maximum, 2GiB/]);
  t.match(full.mend[0], /^virsh -c sim:\/\/\/host setmaxmem one 4096MiB --config/);

  const small = { current: 200 * MiB, uses: () => 80 * MiB };
  t.same((await findingsWith({}, {}, small)).what, [], 'a floor that nobody has set is no more than what a guest has');
  const low = await findingsWith({ metadata: '<m min="256MiB"/>' }, {}, small);
  t.equal(low.code, 0);
  t.match(low.what, ['note: holds 200MiB, less than its floor of 256MiB: memcoord run raises it']);

  const tall = await findingsWith({ metadata: '<m min="3GiB"/>' });
  t.match(tall.what[0], 'note: its min of 3GiB is more than its maximum of 2GiB, which holds instead');
  t.equal(tall.mend[0], 'a smaller min', "no command raises the maximum to what the guest's owner wrote");

  const odd = await findingsWith({ metadata: '<memcoord min="lots"/>' });
  t.equal(odd.code, 0);
  t.match(odd.what, [/^note: metadata: min: 'lots' is not a size/]);
  t.match(odd.mend[0], /virsh -c sim:\/\/\/host metadata one urn:memcoord:domain:1 --key memcoord --live --config --set '<memcoord /);

  const left = await findingsWith({ metadata: '<m manage="no"/>' });
  t.equal(left.code, 0);
  t.match(left.what, ['note: is left alone, as its settings say (manage: no)']);

  const excluded = await findingsWith({}, { exclude: ['one'] });
  t.equal(excluded.code, 0);
  t.match(excluded.what, [/^note: is left alone: /]);
});

t.test('where the hypervisor does not report disk reads that is a note, with the command that leaves page cache alone', async (t) => {
  const { code, what, mend } = await findingsWith({}, {}, {}, { [READS]: -1 });
  t.equal(code, 0);
  t.match(what, [/^note: this hypervisor does not report what it reads from its disks/]);
  t.match(mend[0], /virsh -c sim:\/\/\/host metadata one .* --set '<memcoord signal="unused"\/>'$/);
});

t.test('a guest that is paused or asleep, or does not answer, is told with how to wake it', async (t) => {
  const host = hostWith(idle('one'));
  host.guest('one').setPeriod(1);
  await host.pass(2000);
  const now = await connectNow(host)('', { readOnly: true });
  const inState = (field: number, value: number): Connect =>
    connectTo(host, () => ({
      sample: async (options) => {
        const sweep = await now.sample(options);
        sweep.figures[field] = value;
        return sweep;
      },
    }));
  const first = async (connect: Connect): Promise<unknown> => (await examined(connect)).report.guests[0]?.findings[0];
  t.match(await first(inState(STATE, 3)), { level: 'note', what: /^is paused/, mend: /resume one$/ });
  t.match(await first(inState(STATE, 7)), { level: 'note', what: /^sleeps/, mend: /dompmwakeup one$/ });
  t.match(await first(inState(STATUS, FAILED)), { level: 'problem', what: /^does not answer/, mend: /domcontrol one$/ });
  t.match(await first(inState(LAST_UPDATE, Date.now() / 1000 - 60)), {
    level: 'problem',
    what: /^last answered 60 s ago/,
    mend: /console one$/,
  });
  t.equal((await examined(inState(STATUS, READ))).code, 0);
  const unreadable = connectNow(host, () => ({ describe: () => Promise.reject(new Error('no such domain')) }));
  t.match(await first(unreadable), { level: 'problem', what: 'its definition cannot be read: no such domain' });
});

t.test('a connection that may only read is a problem of the host', async (t) => {
  const host = hostWith();
  const inner = connectTo(host);
  const connect: Connect = (uri, options) =>
    options.readOnly ? inner(uri, options) : Promise.reject(new UnreachableError(uri, new Error('Permission denied')));
  const { code, report } = await examined(connect);
  t.equal(code, 1);
  t.match(report.host.findings, [{ level: 'problem', what: /can read but not change.*Permission denied/, mend: /group libvirt/ }]);
});

t.test('where libvirt cannot be reached at all, the first failure is thrown', async (t) => {
  const error = new UnreachableError('qemu:///system', new Error('Permission denied'));
  await t.rejects(
    examined((uri, { readOnly }) => Promise.reject(readOnly ? new UnreachableError(uri, new Error('other')) : error)),
    error,
  );
  await t.rejects(
    examined(() => Promise.reject(new TypeError('a defect'))),
    TypeError,
  );
});

t.test('a coordinator at work, a host that is short, and guests that hold more than the pool are reported', async (t) => {
  const id = randomUUID();
  const held = await takeLock(id);
  const host = hostWith(...Array.from({ length: 10 }, (_, i) => idle(`vm${i}`, { current: 2 * GiB })));
  host.pressure = true;
  const { code, report } = await examined(
    connectTo(host, () => ({ hostId: async () => id })),
    { pool: '1GiB' },
  );
  await held.release();
  t.equal(code, 1);
  t.match(report.host.findings, [
    {
      level: 'note',
      what: `a coordinator is running on this host: process ${process.pid}`,
      mend: `stop it before you start another: kill ${process.pid}`,
    },
    { level: 'problem', what: /^the host is \d+(MiB|GiB) short of what guests may need at once/ },
    { level: 'problem', what: /short of memory/ },
  ]);
});

t.test('people read it as text, guests in the order of their numbers', async (t) => {
  const host = hostWith(idle('vm10'), idle('vm9'));
  for (const guest of host.guests) guest.setPeriod(1);
  await host.pass(2000);
  const { print, text } = collected();
  t.equal(await doctor({}, connectWithFacts(host, 'vm9', { balloonModel: 'none' }), print), 1);
  t.match(
    text(),
    /^Host\n {2}connected to sim:\/\/\/host\n {2}16GiB of memory, .*\n.*\n\nvm9: cannot be coordinated as it is\n {2}problem {2}has no balloon device\n {11}virsh .*\n\nvm10: can be coordinated$/,
  );
  const empty = collected();
  t.equal(await doctor({}, connectTo(hostWith()), empty.print), 0);
  t.match(empty.text(), /\n\nNo guest is running\.$/);
});
