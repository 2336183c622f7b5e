import { execFile } from 'node:child_process';
import { access, chmod, mkdir, open as openFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import type { NativeEvent } from '../../lib/libvirt/native.js';
import { ACTUAL, JOB, MAXIMUM, MISSED, READ, READS, REFRESHED, SET_ASIDE, STATE, STATUS, STRIDE, UNUSED } from '../../lib/sweep.js';
import { METADATA, open, SOON, startDaemon, until } from './support.js';

const EMULATOR = '/usr/bin/qemu-system-x86_64';
const present = await access(EMULATOR).then(
  () => true,
  () => false,
);
/** Guests without a system in them, paused: for the monitor, not for the memory. */
const MIB = 128;

async function startGuests(t: Test, virsh: (...args: string[]) => Promise<string>, count: number): Promise<void> {
  await mkdir(t.testdirName, { recursive: true });
  for (let i = 0; i < count; ++i) {
    const file = join(t.testdirName, `guest${i}.xml`);
    await writeFile(
      file,
      `<domain type='qemu'><name>guest${i}</name><maxMemory slots='1' unit='MiB'>${4 * MIB}</maxMemory><memory unit='MiB'>${MIB}</memory>
        <cpu><numa><cell id='0' cpus='0' memory='${MIB}' unit='MiB'/></numa></cpu><os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
        <devices><emulator>${EMULATOR}</emulator><memballoon model='virtio'><stats period='1'/></memballoon></devices></domain>`,
    );
    await virsh('create', '--paused', file);
  }
}

/** A guest without a system, and with a disk without one: all that is read is the boot sector. @returns its uuid. */
async function startWithDisk(t: Test, virsh: (...args: string[]) => Promise<string>): Promise<string> {
  const disk = join(t.testdirName, 'disk.raw');
  await writeFile(disk, Buffer.alloc(1024 * 1024));
  const file = join(t.testdirName, 'disk.xml');
  await writeFile(
    file,
    `<domain type='qemu'><name>disk</name><memory unit='MiB'>${MIB}</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>
      <devices><emulator>${EMULATOR}</emulator><memballoon model='virtio'/>
        <disk type='file'><driver name='qemu' type='raw'/><source file='${disk}'/><target dev='vda'/><readonly/></disk></devices></domain>`,
  );
  await virsh('create', file);
  return virsh('domuuid', 'disk');
}

/** The processes of the guests of a daemon, told by its folder, by name. */
async function processes(dir: string): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const pid of await readdir('/proc')) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    const name = /guest=(guest\d+)/.exec(command)?.[1];
    if (name !== undefined && command.includes(dir)) found.set(name, Number(pid));
  }
  return found;
}

t.test(
  'guests of a real QEMU, as long as their monitors answer and when they do not',
  { skip: present ? false : `${EMULATOR} is not there` },
  async (t) => {
    const { uri, virsh } = await startDaemon(t, { qemu: true });
    const connection = await open(t, uri);
    const dir = uri.slice(uri.indexOf('=') + 1).replace('/run/libvirt-sock', '');
    // libvirt would take more than a second over each.
    t.teardown(async () => {
      for (const pid of (await processes(dir)).values()) process.kill(pid, 'SIGKILL');
    });
    await startGuests(t, virsh, 6);
    const { guests = [], figures } = await connection.sample(SOON);
    t.same(
      guests.map(({ name }) => name),
      [0, 1, 2, 3, 4, 5].map((i) => `guest${i}`),
    );
    t.equal(figures[STATE], 3, 'paused');
    t.equal(figures[ACTUAL], MIB * 1024);
    t.ok(Number.isNaN(figures[UNUSED]), 'not reported is NaN');

    const withDisk = await startWithDisk(t, virsh);
    const reads = [guests[0]?.uuid ?? '', withDisk];
    const readsOf = async (options: { only?: readonly string[]; reads?: readonly string[] }) => {
      const { figures } = await connection.sample({ ...SOON, ...options });
      return [0, 1, 6].map((row) => figures[row * STRIDE + READS]);
    };
    await until('its boot sector to be read', async () => Number((await readsOf({ reads }))[2]) > 0, 30_000);
    t.same(await readsOf({ reads }), [0, Number.NaN, 0.5], 'no disk: 0; not asked: NaN; a disk: its boot sector');
    t.same(await readsOf({ reads, only: [withDisk] }), [Number.NaN, Number.NaN, 0.5]);
    t.same(await readsOf({}), [Number.NaN, Number.NaN, Number.NaN]);
    await virsh('destroy', 'disk');

    const events: NativeEvent[] = [];
    connection.onEvent((event) => events.push(event));
    await virsh('reset', 'guest5');
    await until('the reboot', () => events.some(({ kind }) => kind === 'reboot'));
    const mouse = join(t.testdirName, 'mouse.xml');
    await writeFile(mouse, "<input type='mouse' bus='usb'/>");
    await virsh('attach-device', 'guest5', mouse, '--live');
    await until('the device', () => events.some(({ kind }) => kind === 'deviceAdded'));
    t.match(
      events.find(({ kind }) => kind === 'reboot'),
      { name: 'guest5', uuid: guests[5]?.uuid ?? '' },
    );
    t.match(
      events.find(({ kind }) => kind === 'deviceAdded'),
      { name: 'guest5', alias: /input/ },
    );

    const dimm = join(t.testdirName, 'dimm.xml');
    await writeFile(dimm, `<memory model='dimm'><target><size unit='MiB'>${MIB}</size><node>0</node></target></memory>`);
    const maximum = async () => (await connection.sample(SOON)).figures[5 * STRIDE + MAXIMUM];
    t.equal(await maximum(), MIB * 1024);
    events.length = 0;
    await virsh('attach-device', 'guest5', dimm, '--live');
    await until('the memory', () => events.some(({ kind }) => kind === 'deviceAdded'));
    t.equal(await maximum(), 2 * MIB * 1024, 'memory that was plugged in counts from then on');

    const uuids = guests.map(({ uuid }) => uuid);
    const period = async () =>
      /<stats period='(\d+)'/.exec((await connection.describe(uuids[0] ?? '', { ...SOON, metadataUri: METADATA })).xml)?.[1];
    await connection.setStatsPeriod(uuids[0] ?? '', 7, SOON);
    await connection.sample({ ...SOON, refresh: [{ uuid: uuids[0] ?? '', seconds: 7 }] });
    t.equal(await period(), '7', 'a refresh leaves the period as it was');

    // A dump into a pipe that nobody reads lasts for as long as is needed.
    const pipe = join(t.testdirName, 'pipe');
    await rm(pipe, { force: true });
    await promisify(execFile)('mkfifo', [pipe]);
    await chmod(pipe, 0o666);
    const reader = await openFile(pipe, 'r+');
    const held = uuids[4] ?? '';
    const row = async (options = {}) => (await connection.sample({ ...SOON, ...options })).figures.subarray(4 * STRIDE, 5 * STRIDE);
    t.ok(Number.isNaN((await row())[JOB]), 'no job');
    events.length = 0;
    const dumped = virsh('dump', '--live', 'guest4', pipe).catch(({ stderr }) => String(stderr));
    await until('the first pass', () => events.some(({ kind, ...event }) => kind === 'job' && 'uuid' in event && event.uuid === held));
    const refreshed = await row({ refresh: [{ uuid: held, seconds: 1 }] });
    t.same(
      [STATUS, ACTUAL, JOB, REFRESHED].map((field) => refreshed[field]),
      [READ, MIB * 1024, 8, 68],
      'it is read, and not refreshed',
    );
    const began = performance.now();
    t.match(await connection.setMemory([{ uuid: held, kib: 100 * 1024 }], SOON), [
      { code: 'ERR_MEMCOORD_BUSY', message: /migration, save, dump/ },
    ]);
    await t.rejects(connection.setStatsPeriod(held, 2, SOON), { code: 'ERR_MEMCOORD_BUSY' });
    t.ok(performance.now() - began < 2000, 'neither waits for the job');
    await reader.close();
    t.match(await dumped, /Failed to core dump/);
    t.ok(Number.isNaN((await row())[JOB]), 'it is over');
    t.same(await connection.setMemory([{ uuid: held, kib: 100 * 1024 }], SOON), [null]);

    // BALLOON: a monitor command has no time-out.
    const running = await processes(dir);
    const hung = [0, 1, 2, 3].map((i) => running.get(`guest${i}`) ?? 0);
    t.ok(hung.every((pid) => pid > 1));
    const statuses = async () => {
      const sweep = await connection.sample({ deadlineMs: 500 });
      return guests.map((_, i) => sweep.figures[i * STRIDE + STATUS]);
    };
    for (const pid of hung) process.kill(pid, 'SIGSTOP');
    try {
      t.same((await statuses()).slice(0, 4), [MISSED, MISSED, MISSED, MISSED]);
      const started = performance.now();
      t.same(await statuses(), [SET_ASIDE, SET_ASIDE, SET_ASIDE, SET_ASIDE, READ, READ]);
      t.ok(performance.now() - started < 400, 'without waiting for those that hang');
      const moves = uuids.map((uuid) => ({ uuid, kib: 100 * 1024 }));
      const codes = (await connection.setMemory(moves, { deadlineMs: 2000 })).map((error) => error?.code ?? null);
      t.same(codes, [...Array(4).fill('ERR_MEMCOORD_BUSY'), null, null]);
      t.match(
        await connection.describe(uuids[0] ?? '', { deadlineMs: 2000, metadataUri: METADATA }),
        { xml: /guest0/ },
        'needs no monitor',
      );
    } finally {
      for (const pid of hung) process.kill(pid, 'SIGCONT');
    }
    await until('all to be read again', async () => (await statuses()).every((status) => status === READ));
  },
);
