import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { GiB } from '../../lib/common/units.js';
import { cgroupLimits } from '../../lib/host/cgroups.js';

const GIB = 2 ** 30;
/** What v1 has where there is no limit. */
const NONE = 9_223_372_036_854_771_712n;

type Folders = Readonly<Record<string, Readonly<Record<string, string | number | bigint>>>>;

/**
 * A host in a folder: its mounts (with ROOT for that folder), the cgroup of each process by pid, and the files of the cgroups.
 *
 * @returns the /proc of it
 */
function host(root: string, mountinfo: string, processes: Readonly<Record<number, string>>, folders: Folders): string {
  const write = (file: string, text: string): void => {
    mkdirSync(join(root, file, '..'), { recursive: true });
    writeFileSync(join(root, file), text);
  };
  write('proc/self/mountinfo', mountinfo.replaceAll('ROOT', root));
  for (const [pid, cgroup] of Object.entries(processes)) write(`proc/${pid}/cgroup`, cgroup);
  for (const [folder, files] of Object.entries(folders)) {
    for (const [name, value] of Object.entries(files)) write(join(folder, name), `${value}\n`);
  }
  return join(root, 'proc');
}

const V2 =
  '21 28 0:20 / /sys rw shared:6 - sysfs sysfs rw\n30 21 0:26 / ROOT/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n';
const V1 = `28 26 0:24 / ROOT/cgroup/unified rw - cgroup2 cgroup2 rw
29 26 0:25 / ROOT/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
33 26 0:29 / ROOT/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
36 26 0:32 / ROOT/cgroup/memory rw - cgroup cgroup rw,memory
`;
const web = { uuid: 'web', pid: 10 };
const db = { uuid: 'db', pid: 11 };
/** systemd writes a dash of a name like this, and it is so in the folder's name. */
const scope = (name: string) => `machine-qemu\\x2d1\\x2d${name}.scope`;

t.test('v2: the tightest of the folders over all guests, its file pages counted', async (t) => {
  const own = (name: string) => `0::/machine.slice/${scope(name)}/libvirt/emulator\n`;
  const limits = (folders: Folders) => cgroupLimits([web, db], host(t.testdir(), V2, { 10: own('web'), 11: own('db') }, folders));
  const machine = (more: Folders[string]) => ({
    'cgroup/machine.slice': { 'memory.max': 'max', 'memory.high': 'max', 'memory.current': 9 * GIB, ...more },
  });
  const stat = `anon 1\nfile ${3 * GIB}\nshmem ${2 * GIB}\ninactive_file ${GIB / 2}\nactive_file ${GIB / 4}\n`;
  t.equal(limits({}).room(), null, 'no files, as in the root folder');
  t.equal(limits(machine({})).room(), null);
  t.equal(limits(machine({ 'memory.max': 12 * GIB })).room(), 3 * GiB);
  t.equal(limits(machine({ 'memory.max': 12 * GIB, 'memory.stat': stat })).room(), 3.75 * GiB, 'shared memory is not given back');
  t.equal(limits(machine({ 'memory.max': 12 * GIB, 'memory.high': 10 * GIB })).room(), GiB, 'the kernel slows down who is above high');
  t.equal(limits(machine({ 'memory.high': 8 * GIB })).room(), 0, 'no less than nothing');
  const { room, own: alone } = limits({
    ...machine({ 'memory.max': 12 * GIB }),
    [`cgroup/machine.slice/${scope('web')}`]: { 'memory.max': 5 * GIB, 'memory.high': 6 * GIB },
    [`cgroup/machine.slice/${scope('web')}/libvirt`]: { 'memory.max': 'max', 'memory.high': 4 * GIB },
  });
  t.equal(room(), 3 * GiB);
  t.strictSame([...alone], [['web', 4 * GiB]], 'what is over one guest alone is its own');
});

t.test('v1: the same, where each controller has a mount of its own', async (t) => {
  const own = (name: string) =>
    `11:cpuset:/machine.slice/${scope(name)}/vcpu0\n4:memory:/machine.slice/${scope(name)}\n1:name=systemd:/x\n0::/y\n`;
  const processes = { 10: own('web'), 11: own('db') };
  const { room, own: alone } = cgroupLimits(
    [web, db],
    host(t.testdir(), V1, processes, {
      'cgroup/memory': { 'memory.limit_in_bytes': NONE, 'memory.usage_in_bytes': 20 * GIB },
      'cgroup/memory/machine.slice': {
        'memory.limit_in_bytes': 12 * GIB,
        'memory.usage_in_bytes': 9 * GIB,
        'memory.stat': `inactive_file 77\nactive_file 77\ntotal_inactive_file ${GIB / 2}\ntotal_active_file ${GIB / 2}\n`,
      },
      [`cgroup/memory/machine.slice/${scope('web')}`]: { 'memory.limit_in_bytes': NONE },
      [`cgroup/memory/machine.slice/${scope('db')}`]: { 'memory.limit_in_bytes': 2 * GIB },
    }),
  );
  t.equal(room(), 4 * GiB);
  t.strictSame([...alone], [['db', 2 * GiB]]);
});

t.test("without systemd's slices guests are where the daemon is, or in a folder of libvirt's", async (t) => {
  const libvirtd = '0::/system.slice/libvirtd.service\n';
  const folders = { 'cgroup/system.slice/libvirtd.service': { 'memory.max': 6 * GIB, 'memory.current': 2 * GIB } };
  const one = cgroupLimits([web], host(t.testdir(), V2, { 10: libvirtd }, folders));
  t.equal(one.room(), 4 * GiB, 'the limit is over all guests, if there is but one');
  t.strictSame([...one.own], []);
  const own = host(
    t.testdir(),
    V2,
    { 10: '0::/machine/qemu-1-web.libvirt-qemu/emulator\n' },
    {
      'cgroup/machine/qemu-1-web.libvirt-qemu': { 'memory.max': 6 * GIB, 'memory.current': 2 * GIB },
    },
  );
  const alone = cgroupLimits([web], own);
  t.equal(alone.room(), null);
  t.strictSame([...alone.own], [['web', 6 * GiB]], 'and a guest has its own, if it is the only one');
});

t.test('a limit over some guests of several is none over all', async (t) => {
  const third = { uuid: 'third', pid: 12 };
  const in1 = (folder: string) => `0::/${folder}.slice/guest.scope\n`;
  const proc = host(
    t.testdir(),
    V2,
    { 10: in1('gold'), 11: in1('gold'), 12: in1('tin') },
    {
      'cgroup/gold.slice': { 'memory.max': 6 * GIB, 'memory.current': 2 * GIB },
      'cgroup/tin.slice': { 'memory.max': GIB, 'memory.current': GIB },
    },
  );
  const { room, own } = cgroupLimits([web, db, third], proc);
  t.equal(room(), null);
  t.strictSame([...own], [['third', GiB]]);
});

t.test('inside a container: the mount shows a part of the hierarchy', async (t) => {
  const mount = '30 21 0:26 /lxc/host7 ROOT/cg\\040roup rw - cgroup2 cgroup2 rw\n';
  const proc = host(
    t.testdir(),
    mount,
    { 10: '0::/lxc/host7/machine.slice/m.scope\n', 11: '0::/../../elsewhere\n' },
    {
      'cg roup/machine.slice': { 'memory.max': 6 * GIB, 'memory.current': 2 * GIB },
    },
  );
  t.equal(cgroupLimits([web], proc).room(), 4 * GiB);
  t.equal(cgroupLimits([db], proc).room(), null, 'what is outside of our namespace cannot be read');
});

t.test('nothing there to read is no limit', async (t) => {
  const limits = cgroupLimits([web, db], join(t.testdir(), 'proc'));
  t.equal(limits.room(), null);
  t.equal(limits.own.size, 0);
  t.equal(cgroupLimits([]).room(), null);
});

t.test('a folder that goes away meanwhile is no limit any more', async (t) => {
  const root = t.testdir();
  const proc = host(
    root,
    V2,
    { 10: '0::/machine.slice/m.scope\n', 11: '0::/machine.slice/n.scope\n' },
    {
      'cgroup/machine.slice': { 'memory.max': 6 * GIB, 'memory.current': 2 * GIB },
    },
  );
  const { room } = cgroupLimits([web, db], proc);
  t.equal(room(), 4 * GiB);
  writeFileSync(join(root, 'cgroup/machine.slice/memory.max'), 'max\n');
  t.equal(room(), null);
});
