import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { bootId, hostMemoryReader, isLocal, machineId, readHostMemory } from '../../lib/host/memory.js';

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
  t.strictSame(await hostMemoryReader(root)(), { total: 24064000, available: 20000000, pressure: false });
});

t.test('pressure is told where tasks stall on memory for a tenth of the last 10 s', async (t) => {
  const root = t.testdir();
  const read = hostMemoryReader(root);
  await proc(root, { some: '9.90' });
  t.equal((await read()).pressure, false);
  await proc(root, { some: '10.10' });
  t.equal((await read()).pressure, true);
  await proc(root, { some: '6.00', full: '5.50' });
  t.equal((await read()).pressure, true, 'or all of them for a twentieth');
});

t.test('pressure is told while the host swaps out more than 1 MiB/s', async (t) => {
  const root = t.testdir();
  let now = 5000;
  const read = hostMemoryReader(root, () => now);
  await proc(root, { pswpout: 1_000_000 });
  t.equal((await read()).pressure, false, 'what was swapped out before the first reading says nothing');
  now += 2000;
  await proc(root, { pswpout: 1_000_500 });
  t.equal((await read()).pressure, false, '250 pages a second');
  now += 2000;
  await proc(root, { pswpout: 1_001_100 });
  t.equal((await read()).pressure, true, '300 pages a second');
  now += 100;
  await proc(root, { pswpout: 1_001_101 });
  t.equal((await read()).pressure, true, 'a reading soon after keeps the verdict');
  now += 1000;
  t.equal((await read()).pressure, false, 'and one a second later sees that it has ended');
});

t.test('a kernel without PSI is read all the same', async (t) => {
  const root = t.testdir({ meminfo: MEMINFO, vmstat: 'pswpout 0\n' });
  t.equal((await hostMemoryReader(root)()).pressure, false);
});

t.test('a /proc without MemAvailable is an error that names the field', async (t) => {
  const root = t.testdir({ meminfo: 'MemTotal: 1 kB\n', vmstat: '' });
  await t.rejects(hostMemoryReader(root)(), /meminfo has no MemAvailable/);
});

t.test('this machine has memory', async (t) => {
  const { total, available } = await readHostMemory();
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

t.test('a machine has a name, or none', async (t) => {
  const id = '0123456789abcdef0123456789abcdef';
  const root = t.testdir({ named: { 'machine-id': `${id}\n` }, first: { 'machine-id': 'uninitialized\n' }, none: {} });
  t.equal(await machineId(join(root, 'named')), id);
  t.equal(await machineId(join(root, 'first')), null);
  t.equal(await machineId(join(root, 'none')), null);
});
