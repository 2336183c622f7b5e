import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { GiB } from '../../lib/common/units.js';
import { bootId, hostMemoryReader, isLocal } from '../../lib/host/memory.js';

const MEMINFO = 'MemTotal:       24064000 kB\nMemFree:         1000000 kB\nMemAvailable:   20000000 kB\n';

async function proc(
  root: string,
  { some = '0.00', full = '0.00', pswpout = 0 }: { some?: string; full?: string; pswpout?: number },
): Promise<void> {
  await mkdir(join(root, 'pressure'), { recursive: true });
  await writeFile(join(root, 'meminfo'), MEMINFO);
  await writeFile(join(root, 'vmstat'), `nr_free_pages 17\npswpin 3\npswpout ${pswpout}\n`);
  const line = (kind: string, avg10: string): string => `${kind} avg10=${avg10} avg60=99.00 avg300=99.00 total=1\n`;
  await writeFile(join(root, 'pressure/memory'), line('some', some) + line('full', full));
}

t.test('total and available memory are those of /proc/meminfo, in KiB', async (t) => {
  const root = t.testdir();
  await proc(root, {});
  t.strictSame(hostMemoryReader({ proc: root })(), {
    total: 24064000,
    available: 20000000,
    arc: 0,
    arcMinimum: 0,
    hugePages: 0,
    cgroupRoom: null,
    pressure: false,
  });
});

t.test("ZFS' ARC is told above its minimum, and what the minimum is", async (t) => {
  const arcstats = (size: number) =>
    `13 1 0x01 123 33456 8000000000 9000000000\nname type data\nhits 4 17\nc_min 4 ${2 ** 30}\nc_max 4 ${2 ** 35}\nsize 4 ${size}\nmfu_size 4 99\n`;
  const root = (size: number) =>
    t.testdir({ meminfo: MEMINFO, vmstat: '', spl: { kstat: { zfs: { arcstats: arcstats(size).replaceAll(' ', '    ') } } } });
  t.match(hostMemoryReader({ proc: root(23 * 2 ** 30) })(), { arc: 22 * GiB, arcMinimum: GiB });
  t.match(hostMemoryReader({ proc: root(2 ** 29) })(), { arc: 0, arcMinimum: GiB }, 'of less than the minimum nothing is given back');
});

t.test('huge page pools of all sizes count', async (t) => {
  const pools = 'HugePages_Total:    1024\nHugePages_Free:     1024\nHugepagesize:       2048 kB\n';
  const read = (more: string) => hostMemoryReader({ proc: t.testdir({ meminfo: MEMINFO + more, vmstat: '' }) })().hugePages;
  t.equal(read(`${pools}Hugetlb:         10485760 kB\n`), 10 * GiB, 'one of 1 GiB pages too');
  t.equal(read(pools), 2 * GiB, 'a kernel before 4.16 counts one');
  t.equal(read(''), 0, 'or has none');
});

t.test('what is left within the limit of a cgroup is for somebody else to tell', async (t) => {
  const root = t.testdir({ meminfo: MEMINFO, vmstat: '' });
  t.equal(hostMemoryReader({ proc: root, cgroupRoom: () => 17 })().cgroupRoom, 17);
});

t.test('pressure is told where tasks stall on memory for a tenth of the last 10 s', async (t) => {
  const root = t.testdir();
  const read = hostMemoryReader({ proc: root });
  await proc(root, { some: '9.90' });
  t.equal(read().pressure, false);
  await proc(root, { some: '10.10' });
  t.equal(read().pressure, true);
  await proc(root, { some: '6.00', full: '5.50' });
  t.equal(read().pressure, true, 'or all of them for a twentieth');
});

t.test('pressure is told while the host swaps out more than 1 MiB/s', async (t) => {
  const root = t.testdir();
  let now = 5000;
  const read = hostMemoryReader({ proc: root, now: () => now });
  await proc(root, { pswpout: 1_000_000 });
  t.equal(read().pressure, false, 'what was swapped out before the first reading says nothing');
  now += 2000;
  await proc(root, { pswpout: 1_000_500 });
  t.equal(read().pressure, false, '250 pages a second');
  now += 2000;
  await proc(root, { pswpout: 1_001_100 });
  t.equal(read().pressure, true, '300 pages a second');
  now += 100;
  await proc(root, { pswpout: 1_001_101 });
  t.equal(read().pressure, true, 'a reading soon after keeps the verdict');
  now += 1000;
  t.equal(read().pressure, false, 'and one a second later sees that it has ended');
});

t.test('a kernel without PSI is read all the same', async (t) => {
  const root = t.testdir({ meminfo: MEMINFO, vmstat: 'pswpout 0\n' });
  t.equal(hostMemoryReader({ proc: root })().pressure, false);
});

t.test('a /proc without MemAvailable is an error that names the field', async (t) => {
  const root = t.testdir({ meminfo: 'MemTotal: 1 kB\n', vmstat: '' });
  t.throws(hostMemoryReader({ proc: root }), /meminfo has no MemAvailable/);
});

t.test('this machine has memory', async (t) => {
  const { total, available } = hostMemoryReader()();
  t.ok(available > 0 && available <= total);
});

t.test('a boot of the machine has a name, where the kernel gives it one', async (t) => {
  const root = t.testdir({ sys: { kernel: { random: { boot_id: '0e1c\n' } } } });
  t.equal(await bootId(root), '0e1c');
  t.equal(await bootId(join(root, 'elsewhere')), null);
});

t.test('which hosts are this one', async (t) => {
  const local = ['qemu:///system', 'qemu:///session', 'test:///default', 'qemu+unix:///system?socket=/run/x', 'QEMU:///system', 'xen:///'];
  const remote = [
    'qemu://host/system',
    'qemu+ssh:///system',
    'qemu+ssh://user@host/system',
    'qemu+tcp://localhost/system',
    'esx://host/',
    'nonsense',
  ];
  t.same(
    local.filter((uri) => !isLocal(uri)),
    [],
  );
  t.same(remote.filter(isLocal), []);
});
