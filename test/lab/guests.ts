/**
 * The lab itself: takes guests up and down, and remembers in .lab/run/lab.json what is its own, so that it never touches anything else.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { mkdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { report } from './agent.js';
import { startDaemon, stopDaemon, URI, virsh } from './daemon.js';
import { buildDebian } from './debian.js';
import { type Acceleration, buildImage, chooseAcceleration, type Image } from './image.js';
import { LAB, LabError, RUN, until } from './shell.js';

/** What a guest is to be. Sizes in MiB. */
export interface GuestSpec {
  readonly name: string;
  /** Balloon size to start with. */
  readonly current: number;
  readonly maximum: number;
  /** Size of its swap disk, 0 = none. */
  readonly swap: number;
  readonly autodeflate: boolean;
  /** false = boots without the balloon's driver (`say NAME insmod` loads it). */
  readonly driver: boolean;
  /** Boots the Debian of debian.ts from its disk, in place of the lab's small root; it has no swap then. */
  readonly debian?: true;
}

export interface Guest extends GuestSpec {
  readonly uuid: string;
  /** UNIX socket of the agent's serial port. */
  readonly socket: string;
  /** What the guest's kernel says. */
  readonly console: string;
}

export interface Lab {
  readonly uri: string;
  readonly acceleration: Acceleration;
  readonly guests: readonly Guest[];
  /** Logs that the daemon will have begun for the guests; those of guests of the same name that were there before are not ours. */
  readonly logs: readonly string[];
}

const STATE = join(RUN, 'lab.json');

/**
 * The guests of the three classic tests: four, 512 of 2048 MiB each. The second and the fourth have a swap disk, so that a guest
 * squeezed too far can be seen swapping; a small one, so that an eater's guest is not kept busy with it for long.
 */
export function guestSpecs(
  options: {
    count?: number;
    prefix?: string;
    current?: number;
    maximum?: number;
    swap?: readonly number[];
    swapSize?: number;
    autodeflate?: readonly number[];
    driverless?: readonly number[];
  } = {},
): GuestSpec[] {
  const {
    count = 4,
    prefix = 'aos_vm',
    current = 512,
    maximum = 2048,
    swap = [2, 4],
    swapSize = 64,
    autodeflate = [],
    driverless = [],
  } = options;
  return Array.from({ length: count }, (_, index) => ({
    name: `${prefix}${index + 1}`,
    current,
    maximum,
    swap: swap.includes(index + 1) ? swapSize : 0,
    autodeflate: autodeflate.includes(index + 1),
    driver: !driverless.includes(index + 1),
  }));
}

const CLAIM = join(LAB, 'claim');

/**
 * Takes the lab's guests for one test or show: two at a time would spoil each other's figures. Ends with the process.
 *
 * @throws LabError where another one has them.
 */
export async function claim(): Promise<void> {
  await mkdir(LAB, { recursive: true });
  const pid = Number(await readFile(CLAIM, 'utf8').catch(() => ''));
  const command = pid > 0 ? await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '') : '';
  // A process that died without giving it back may have left its pid to another program.
  if (pid !== process.pid && command.includes('.lab/js/'))
    throw new LabError(`process ${pid} is using the lab's guests; wait for it to end`);
  await writeFile(CLAIM, String(process.pid));
  process.on('exit', () => rmSync(CLAIM, { force: true }));
}

/** @returns the lab that is up, or null. */
export async function readLab(): Promise<Lab | null> {
  const text = await readFile(STATE, 'utf8').catch(() => null);
  return text === null ? null : (JSON.parse(text) as Lab);
}

/** @throws LabError where no lab is up. */
export async function theLab(): Promise<Lab> {
  const lab = await readLab();
  if (lab === null) throw new LabError("no lab is up: 'npm run lab -- up' starts it");
  return lab;
}

/** How fast a Debian guest reads its disk. */
export const DISK_MIB_PER_S = 80;

/**
 * A disk of the guest's, or none. QEMU counts a request for iotune before the host's page cache could answer it: with the cache, the disk is
 * as fast on every host.
 */
function diskXml(guest: Guest, debian: string): string {
  if (guest.debian !== true && guest.swap === 0) return '';
  const limit = `<iotune><read_bytes_sec>${DISK_MIB_PER_S * 1024 * 1024}</read_bytes_sec></iotune>`;
  return `
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='unsafe'/>
      <source file='${guest.debian === true ? debian : join(RUN, `${guest.name}.swap`)}'/>
      <target dev='vda' bus='virtio'/>${guest.debian === true ? `<readonly/>${limit}` : ''}
    </disk>`;
}

function guestXml(guest: Guest, image: Image, debian: string, acceleration: Acceleration, securityLabels: string): string {
  const words = [guest.driver ? '' : ' lab.driver=no', guest.debian === true ? ' lab.debian=1 systemd.volatile=state' : ''].join('');
  const commandLine = `console=ttyS0 quiet mitigations=off nokaslr random.trust_cpu=on${words}`;
  return `<domain type='${acceleration}'>
  <name>${guest.name}</name>
  <uuid>${guest.uuid}</uuid>
  <memory unit='MiB'>${guest.maximum}</memory>
  <currentMemory unit='MiB'>${guest.current}</currentMemory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>${image.kernel}</kernel>
    <initrd>${image.initramfs}</initrd>
    <cmdline>${commandLine}</cmdline>
  </os>
  <features><acpi/></features>
  <on_reboot>restart</on_reboot>
  <on_crash>preserve</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>${diskXml(guest, debian)}
    <serial type='file'><source path='${guest.console}'/><target port='0'/></serial>
    <serial type='unix'><source mode='bind' path='${guest.socket}'/><target port='1'/></serial>
    <memballoon model='virtio'${guest.autodeflate ? " autodeflate='on'" : ''}/>
  </devices>${securityLabels}
</domain>
`;
}

/**
 * Under a system daemon that the lab did not start, QEMU would run as a user who cannot read the checkout, confined to paths that do
 * not hold it; the lab's guests run as root there, unconfined.
 */
async function securityLabels(): Promise<string> {
  if (URI !== 'qemu:///system') return '';
  const models = (await virsh('capabilities')).match(/<model>(dac|apparmor|selinux)<\/model>/g)?.join() ?? '';
  const dac = models.includes('dac') ? "\n  <seclabel type='static' model='dac' relabel='no'><label>+0:+0</label></seclabel>" : '';
  const apparmor = models.includes('apparmor') ? "\n  <seclabel type='none' model='apparmor'/>" : '';
  const selinux = models.includes('selinux') ? "\n  <seclabel type='none' model='selinux'/>" : '';
  return dac + apparmor + selinux;
}

/** UUIDs of all guests under the daemon, by name. */
export async function running(): Promise<Map<string, string>> {
  const lines = (await virsh('list', '--all', '--name', '--uuid')).split('\n').map((line) => line.trim().split(/\s+/));
  return new Map(lines.flatMap(([uuid, name]) => (uuid && name ? [[name, uuid] as const] : [])));
}

/** Balloon size now, KiB, asked of QEMU. */
export async function balloon(name: string): Promise<number> {
  return Number(/^actual (\d+)$/m.exec(await virsh('dommemstat', name))?.[1] ?? Number.NaN);
}

/**
 * Starts the guests and waits until each agent answers and each balloon has taken its guest to its size.
 *
 * @throws LabError where another lab is up, a guest of that name is not ours, or the signal interrupts; what was started is taken down
 * again then.
 */
export async function up(specs: readonly GuestSpec[], say: (line: string) => void, signal?: AbortSignal): Promise<Lab> {
  const before = await readLab();
  if (before !== null) {
    const alike = JSON.stringify(before.guests.map(({ uuid, socket, console, ...spec }) => spec)) === JSON.stringify(specs);
    const names = await running().catch(() => new Map<string, string>());
    if (alike && before.guests.every((guest) => names.get(guest.name) === guest.uuid)) {
      say(`the lab is up already: ${specs.map((spec) => spec.name).join(', ')}`);
      return before;
    }
    throw new LabError("another lab is up, or was not taken down: 'npm run lab -- down' first");
  }

  const image = await buildImage(say);
  const acceleration = await chooseAcceleration(image);
  await mkdir(RUN, { recursive: true });
  await startDaemon(say);
  try {
    await save({ uri: URI, acceleration, guests: [], logs: [] });
    say(`starting ${specs.length} guests (${acceleration === 'kvm' ? 'KVM' : 'software emulation'})`);
    const guests = await add(specs, signal);
    await Promise.all(guests.map(async (guest) => await ready(guest, { signal })));
  } catch (error) {
    await down(() => undefined);
    throw error;
  }
  say(`up: ${specs.map((spec) => spec.name).join(', ')} on ${URI}`);
  return await theLab();
}

async function save(lab: Lab): Promise<void> {
  await writeFile(`${STATE}.new`, JSON.stringify(lab, null, 2));
  await rename(`${STATE}.new`, STATE);
}

/**
 * Starts guests beside those of the lab that is up. They boot when it returns: wait for them with {@link ready}.
 *
 * @throws LabError where a guest of that name is there already, or the signal interrupts.
 */
export async function add(specs: readonly GuestSpec[], signal?: AbortSignal): Promise<Guest[]> {
  const lab = await theLab();
  const names = await running();
  const foreign = specs.find((spec) => names.has(spec.name));
  if (foreign !== undefined) throw new LabError(`a guest ${foreign.name} exists that the lab did not make; it stays untouched`);
  // The path of a UNIX socket is bounded to 107 bytes: hence the short names.
  const guests = specs.map((spec) => ({
    ...spec,
    uuid: randomUUID(),
    socket: join(RUN, `${spec.name}.sock`),
    console: join(RUN, `${spec.name}.console`),
  }));
  const user = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'libvirt/qemu/log');
  const logFolder = URI === 'qemu:///system' ? '/var/log/libvirt/qemu' : user;
  const logs = guests.map((guest) => join(logFolder, `${guest.name}.log`)).filter((log) => !existsSync(log));
  await save({ ...lab, guests: [...lab.guests, ...guests], logs: [...lab.logs, ...logs] });
  const image = await buildImage(() => undefined);
  const debian = specs.some((spec) => spec.debian) ? await buildDebian(() => undefined) : '';
  const labels = await securityLabels();
  for (const guest of guests) {
    if (signal?.aborted === true) throw new LabError('interrupted');
    await writeFile(xmlOf(guest), guestXml(guest, image, debian, lab.acceleration, labels));
    await start(guest);
  }
  return guests;
}

const xmlOf = (guest: Guest): string => join(RUN, `${guest.name}.xml`);

/** Starts a guest of the lab that is not running; with `paused` it does not boot before it is resumed. */
export async function start(guest: Guest, { paused = false } = {}): Promise<void> {
  if (guest.swap > 0) {
    const path = join(RUN, `${guest.name}.swap`);
    await writeFile(path, '');
    await truncate(path, guest.swap * 1024 * 1024);
  }
  await virsh('create', xmlOf(guest), ...(paused ? ['--paused'] : []));
}

/** Ends guests of the lab, where they have not ended by themselves, and forgets them. */
export async function remove(guests: readonly Guest[]): Promise<void> {
  await destroy(guests);
  const lab = await theLab();
  await save({ ...lab, guests: lab.guests.filter(({ uuid }) => guests.every((guest) => guest.uuid !== uuid)) });
}

/** Ends guests of the lab; {@link start} starts them again. */
export async function destroy(guests: readonly Guest[]): Promise<void> {
  const names = await running();
  const there = guests.filter((guest) => names.get(guest.name) === guest.uuid);
  await Promise.all(there.map(async (guest) => await virsh('destroy', guest.uuid)));
}

/** Starts those of the lab's guests that have ended. They boot when it returns. */
export async function startEnded(guests: readonly Guest[]): Promise<void> {
  const names = await running();
  for (const guest of guests) if (!names.has(guest.name)) await start(guest);
}

/**
 * Waits until the agent answers and, unless a coordinator may move it, the balloon is where the guest was told to start. A boot takes some
 * 5 s of one CPU under emulation.
 */
export async function ready(guest: Guest, { signal, moved = false }: { signal?: AbortSignal | undefined; moved?: boolean }): Promise<void> {
  const limit = 180_000;
  try {
    const answer = async (): Promise<object | undefined> => await report(guest.name, guest.socket, 2000).catch(() => undefined);
    await until(`the agent of ${guest.name}`, limit, 500, answer, signal);
    if (!guest.driver || moved) return;
    const size = guest.current * 1024;
    const arrived = async (): Promise<true | undefined> => ((await balloon(guest.name)) === size ? true : undefined);
    await until(`the balloon of ${guest.name}`, limit, 500, arrived, signal);
  } catch (error) {
    if (signal?.aborted === true) throw error;
    const tail = (await readFile(guest.console, 'utf8').catch(() => '')).trim().split('\n').slice(-5).join('\n');
    throw new LabError(`${error instanceof Error ? error.message : error}; its console ends:\n${tail}`);
  }
}

/** Takes down what the lab made: its guests, its daemon if it started one, its files except the cached image. */
export async function down(say: (line: string) => void): Promise<void> {
  const lab = await readLab();
  if (lab !== null) {
    // Guests outlive their daemon; where ours has died, a new one finds them again.
    await startDaemon(say);
    await destroy(lab.guests);
    say(`ended ${lab.guests.length} guests`);
  }
  if (await stopDaemon()) say('ended libvirtd');
  for (const log of lab?.logs ?? []) await rm(log, { force: true });
  await rm(RUN, { recursive: true, force: true });
}

/** Where the guests stand, one line each. */
export async function status(): Promise<string[]> {
  const lab = await theLab();
  const names = await running();
  return await Promise.all(
    lab.guests.map(async (guest) => {
      if (names.get(guest.name) !== guest.uuid) return `${guest.name}  not running`;
      const size = (await balloon(guest.name)) / 1024;
      const figures = await report(guest.name, guest.socket).catch(() => null);
      const answer =
        figures === null
          ? 'its agent does not answer'
          : `free ${Math.round((figures.MemFree ?? 0) / 1024)} MiB, eaten ${(figures.eaten ?? 0) / 1024} MiB`;
      return `${guest.name}  balloon ${size} of ${guest.maximum} MiB, ${answer}, up ${figures?.uptime ?? '?'} s`;
    }),
  );
}
