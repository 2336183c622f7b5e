/** `memcoord doctor`: whether host and guests can be coordinated, and what to do if not. */

import { guestWord, printable, shellQuoted } from '../common/text.js';
import { formatSize, MiB } from '../common/units.js';
import type { Config } from '../config/config.js';
import { globOf } from '../config/glob.js';
import { METADATA_URI } from '../config/metadata.js';
import { lockHolder } from '../coordinator/lock.js';
import { contextOf } from '../coordinator/registry.js';
import { type GuestView, readOnce, type Snapshot } from '../coordinator/snapshot.js';
import { type DomainFacts, type HostMemory, type Hypervisor, hasBalloon } from '../hypervisor.js';
import { ERROR, figureOf, LAST_UPDATE, READ, READS, STATE, STATUS, UNUSED, USABLE } from '../sweep.js';
import { FAILED, UnreachableError } from './failure.js';
import { byName, type Connect, configFrom, connectLibvirt, type Options, printOut, READING_DEADLINE_MS, virsh } from './session.js';

/** Something that an operator should know. */
export interface Finding {
  /** A `problem` keeps memory from being coordinated; a `note` does not. */
  readonly level: 'problem' | 'note';
  readonly what: string;
  /** What to do about it: a command where there is one. */
  readonly mend: string | null;
}

export interface Report {
  readonly uri: string;
  readonly host: { readonly facts: readonly string[]; readonly findings: readonly Finding[] };
  readonly guests: readonly {
    readonly name: string;
    readonly uuid: string;
    readonly coordinated: boolean;
    readonly findings: readonly Finding[];
  }[];
}

export async function doctor(options: Options & { json?: boolean }, connect: Connect = connectLibvirt, print = printOut): Promise<number> {
  const config = await configFrom(options);
  const { hypervisor, denied } = await open(config.uri, connect);
  try {
    const report = await examine(hypervisor, config, denied);
    print(options.json === true ? JSON.stringify(report, null, 2) : reportText(report));
    const all = [...report.host.findings, ...report.guests.flatMap(({ findings }) => findings)];
    return all.some(({ level }) => level === 'problem') ? FAILED : 0;
  } finally {
    await hypervisor.close({ deadlineMs: READING_DEADLINE_MS });
  }
}

/** Connects with the rights that `run` needs, to see whether we have them; else read-only. */
async function open(uri: string, connect: Connect): Promise<{ hypervisor: Hypervisor; denied: UnreachableError | null }> {
  try {
    return { hypervisor: await connect(uri, { readOnly: false }), denied: null };
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    try {
      return { hypervisor: await connect(uri, { readOnly: true }), denied: error };
    } catch {
      throw error;
    }
  }
}

async function examine(hypervisor: Hypervisor, config: Config, denied: UnreachableError | null): Promise<Report> {
  // One after the other: a guest has one call in flight at a time, and would be set aside in the second reading.
  const snapshot = await readOnce(hypervisor, config);
  const reads = snapshot.guests.map(({ uuid }) => uuid);
  const sweep = await hypervisor.sample({ deadlineMs: READING_DEADLINE_MS, reads });
  const memory = await hypervisor.hostMemory();
  const hostId = await hypervisor.hostId();
  const holder = hostId === null ? 'nobody' : await lockHolder(hostId);
  const guests = await Promise.all(
    byName(sweep.guests.map((guest, row) => ({ ...guest, row }))).map(async ({ name, uuid, row }) => {
      const facts = await hypervisor.describe(uuid, { deadlineMs: READING_DEADLINE_MS }).catch((error: Error) => error);
      const view = snapshot.guests.find((guest) => guest.uuid === uuid);
      const findings = examineGuest({
        uri: hypervisor.uri,
        name,
        uuid,
        figure: (field) => figureOf(sweep, row, field),
        facts,
        view,
        config,
      });
      return { name, uuid, coordinated: view?.phase !== 'excluded' && findings.every(({ level }) => level === 'note'), findings };
    }),
  );
  return {
    uri: hypervisor.uri,
    host: { facts: hostFacts(snapshot, memory, hypervisor.uri), findings: examineHost(snapshot, memory, denied, holder) },
    guests,
  };
}

function hostFacts({ host }: Snapshot, memory: HostMemory, uri: string): string[] {
  const { arc, arcMinimum, hugePages } = memory;
  const counted: string[] = [];
  if (arc > 0 || arcMinimum > 0)
    counted.push(`${formatSize(arc)} of ZFS ARC counted as available, except its minimum of ${formatSize(arcMinimum)}`);
  if (hugePages > 0) counted.push(`${formatSize(hugePages)} in huge page pools: no guest with a balloon uses them`);
  return [
    `connected to ${uri}`,
    ...counted,
    `${formatSize(host.total)} of memory, ${formatSize(host.available)} available; ${formatSize(host.reserve)} are never given out`,
    `guests that memcoord controls hold ${formatSize(host.charged)}, others ${formatSize(host.uncontrolled)}; what is needed may grow by ${formatSize(Math.max(0, host.room))}`,
  ];
}

function examineHost(
  { host }: Snapshot,
  { available, arc, cgroupRoom }: HostMemory,
  denied: UnreachableError | null,
  holder: number | null | 'nobody',
): Finding[] {
  const findings: Finding[] = [];
  if (cgroupRoom !== null && cgroupRoom < available + arc) {
    const what = `guests may take no more than ${formatSize(cgroupRoom)}, whatever the host has: their cgroup has a memory limit`;
    findings.push({ level: 'note', what, mend: 'see it: systemctl show machine.slice -p MemoryMax -p MemoryHigh' });
  }
  if (denied !== null) findings.push({ level: 'problem', what: `can read but not change: ${denied.message}`, mend: denied.advice || null });
  if (holder !== 'nobody') {
    const mend = holder === null ? null : `stop it before you start another: kill ${holder}`;
    findings.push({ level: 'note', what: `a coordinator is running on this host${holder === null ? '' : `: process ${holder}`}`, mend });
  }
  if (host.room < 0) {
    const what = `the host is ${formatSize(-host.room)} short of what guests may need at once: no guest can grow until others have given memory`;
    findings.push({ level: 'problem', what, mend: 'a larger --pool, a smaller --reserve, or fewer guests' });
  }
  if (host.pressure) {
    const what = 'the host itself is short of memory (it stalls or swaps): guests get no more until that ends';
    findings.push({ level: 'problem', what, mend: 'see what uses it: cat /proc/pressure/memory; ps --sort=-rss -eo rss,pid,comm | head' });
  }
  return findings;
}

interface GuestUnderTest {
  readonly uri: string;
  readonly name: string;
  readonly uuid: string;
  readonly figure: (field: number) => number;
  readonly facts: DomainFacts | Error;
  readonly view: GuestView | undefined;
  readonly config: Config;
}

/** Makes a virsh command about the guest, from the words before and after its name. */
type OnGuest = (command: string, ...words: readonly string[]) => string;

/** virDomainState: running. */
const RUNNING = 1;
const PAUSED = 3;
const ASLEEP = 7;
/** Figures are due every period; a few may be late, and their time is in whole seconds. */
const STALE_PERIODS = 3;
const STALE_SECONDS = 5;

/** How a new definition takes effect. A reboot from within the guest keeps the old one. */
const RESTART = 'then shut it down and start it anew';

function examineGuest({ uri, name, uuid, figure, facts, view, config }: GuestUnderTest): Finding[] {
  const on: OnGuest = (command, ...words) => virsh(uri, command, guestWord(name, uuid), ...words);
  if (figure(STATUS) !== READ)
    return [{ level: 'problem', what: `does not answer${unanswered(figure)}`, mend: `see what it waits for: ${on('domcontrol')}` }];
  if (facts instanceof Error) return [{ level: 'problem', what: `its definition cannot be read: ${facts.message}`, mend: on('dumpxml') }];
  if (!hasBalloon(facts)) {
    const mend = `${on('edit')}   # <memballoon model='virtio'/> within <devices>, ${RESTART}`;
    const xen = 'has no balloon that works: QEMU does not have the model xen';
    return [{ level: 'problem', what: facts.balloonModel === 'xen' ? xen : 'has no balloon device', mend }];
  }
  const findings: Finding[] = facts.obstacles.map((obstacle) => ({
    level: 'problem',
    what: obstacle === 'virtio-mem' ? virtioMemText(facts) : `its balloon frees nothing for the host: ${obstacle}`,
    mend: `${on('edit')}   # take it out, ${RESTART}; or leave the guest alone: --exclude ${shellQuoted(globOf(name))}`,
  }));
  findings.push(...examineMemory(facts, on), ...examineFigures(figure, facts, on), ...examineSettings(name, facts, view, config, on));
  const state = figure(STATE);
  if (state === PAUSED) findings.push({ level: 'note', what: 'is paused: it is not moved until it goes on', mend: on('resume') });
  if (state === ASLEEP) findings.push({ level: 'note', what: 'sleeps: it is not moved until it wakes', mend: on('dompmwakeup') });
  if (view !== undefined && view.actual >= facts.maximum && facts.obstacles.length === 0) {
    const setMaximum = facts.composed ? on('edit') : on('setmaxmem', `${Math.round((2 * facts.maximum) / MiB)}MiB`, '--config');
    const mend = `${setMaximum}   # ${RESTART}`;
    findings.push({ level: 'note', what: `holds its maximum, ${formatSize(facts.maximum)}: it can give memory but not get any`, mend });
  }
  return findings;
}

function unanswered(figure: (field: number) => number): string {
  const error = figure(ERROR);
  return Number.isNaN(error) ? ' within the time that it was given' : ` (libvirt error ${error})`;
}

function virtioMemText({ virtioMem }: DomainFacts): string {
  const plugged = virtioMem > 0 ? `, ${formatSize(virtioMem)} of it plugged or requested` : '';
  return `has virtio-mem${plugged}, which does not work with a balloon: memcoord reads the guest but does not change its size`;
}

/** Findings about memory of an unusual kind. */
function examineMemory({ maximum, deviceMemory, virtioMem, backing, hardLimit, obstacles }: DomainFacts, on: OnGuest): Finding[] {
  const findings: Finding[] = [];
  if (deviceMemory > 0 && virtioMem === 0 && !obstacles.includes('virtio-mem')) {
    const what = `${formatSize(deviceMemory)} of its memory is NVDIMM or virtio-pmem, which the balloon cannot change: its maximum is ${formatSize(maximum)}`;
    findings.push({ level: 'note', what, mend: null });
  }
  if (hardLimit !== null && hardLimit < maximum) {
    const what = `is killed when its process holds ${formatSize(hardLimit)} (hard_limit, or its cgroup): it is given less, not its maximum of ${formatSize(maximum)}`;
    findings.push({ level: 'note', what, mend: on('memtune', '--hard-limit', '-1', '--live', '--config') });
  }
  if (backing === 'file') {
    const what = 'its memory is backed by a file: what the host counts both as held and as available is counted once';
    findings.push({ level: 'note', what, mend: null });
  }
  return findings;
}

function examineFigures(figure: (field: number) => number, facts: DomainFacts, on: OnGuest): Finding[] {
  const reported = !Number.isNaN(figure(USABLE)) || !Number.isNaN(figure(UNUSED));
  if (facts.statsPeriod === 0) {
    const mend = on('dommemstat', '--period', '1', '--live');
    return [{ level: 'note', what: 'is not asked for its figures (stats period 0); memcoord run does that by itself', mend }];
  }
  const age = Date.now() / 1000 - figure(LAST_UPDATE);
  if (reported && figure(LAST_UPDATE) !== 0) {
    if (figure(STATE) !== RUNNING || age < STALE_PERIODS * facts.statsPeriod + STALE_SECONDS)
      return [...missingFigures(figure), ...missingReads(figure, on)];
    // QEMU asks again only after the guest has answered: a running guest that is silent is in trouble (docs/ballooning.md).
    const mend = `see what it does: ${on('console')}`;
    return [{ level: 'problem', what: `last answered ${Math.round(age)} s ago: it hangs, or its balloon driver was taken out`, mend }];
  }
  if (figure(LAST_UPDATE) > 0) {
    const what = 'its balloon driver answers, but without figures, as those of FreeBSD and OpenWrt do: it is not moved';
    return [{ level: 'problem', what, mend: 'another driver in the guest (Windows: the service BLNSVR of virtio-win), or leave it alone' }];
  }
  const mend = 'in the guest: modprobe virtio_balloon (Linux), or the service BLNSVR of virtio-win (Windows)';
  return [{ level: 'problem', what: 'its balloon driver does not answer', mend }];
}

/** Some balloon drivers report less than others. */
function missingFigures(figure: (field: number) => number): Finding[] {
  if (!Number.isNaN(figure(USABLE))) return [];
  const what = "reports no 'usable' memory: its 'unused' less what its kernel keeps for itself counts as spare, page cache as used";
  return [{ level: 'note', what, mend: 'in the guest: Linux 4.6 or newer, or a newer virtio-win (Windows)' }];
}

/** Without disk reads, cache that the guest works in may be taken. */
function missingReads(figure: (field: number) => number, on: OnGuest): Finding[] {
  if (!(figure(READS) < 0)) return [];
  const what =
    'this hypervisor does not report what it reads from its disks: page cache that it works in shows only once it faults or swaps';
  return [{ level: 'note', what, mend: `leave its page cache alone: ${set(on, 'signal="unused"')}` }];
}

/** The command that gives a guest settings of its own. */
function set(on: OnGuest, attributes: string): string {
  return on('metadata', METADATA_URI, '--key', 'memcoord', '--live', '--config', '--set', `<memcoord ${attributes}/>`);
}

function examineSettings(name: string, facts: DomainFacts, view: GuestView | undefined, config: Config, on: OnGuest): Finding[] {
  const findings: Finding[] = [];
  const { context, problems } = contextOf(name, facts, config);
  const example = set(on, 'min="512MiB" share="1000"');
  for (const problem of problems) findings.push({ level: 'note', what: problem, mend: `set it anew: ${example}` });
  const { min, manage } = context.overrides;
  if (typeof min === 'number' && min > facts.maximum) {
    const what = `its min of ${formatSize(min)} is more than its maximum of ${formatSize(facts.maximum)}, which holds instead`;
    // Do not advise a larger maximum: the guest's owner may have written min, and must not decide what memory the guest may take.
    findings.push({ level: 'note', what, mend: 'a smaller min' });
  }
  if (view === undefined) return findings;
  if (manage === false) findings.push({ level: 'note', what: 'is left alone, as its settings say (manage: no)', mend: null });
  else if (view.phase === 'excluded' && facts.obstacles.length === 0)
    findings.push({ level: 'note', what: `is left alone: ${view.why ?? 'excluded'}`, mend: null });
  if (view.phase !== 'excluded' && view.actual < view.floor) {
    findings.push({
      level: 'note',
      what: `holds ${formatSize(view.actual)}, less than its floor of ${formatSize(view.floor)}: memcoord run raises it`,
      mend: null,
    });
  }
  return findings;
}

/** The report for people. */
function reportText({ host, guests }: Report): string {
  const lines = ['Host', ...host.facts.map((fact) => `  ${fact}`), ...host.findings.flatMap(findingLines)];
  if (guests.length === 0) lines.push('', 'No guest is running.');
  for (const { name, coordinated, findings } of guests) {
    lines.push('', `${name}: ${verdict(coordinated, findings)}`, ...findings.flatMap(findingLines));
  }
  return lines.map(printable).join('\n');
}

function verdict(coordinated: boolean, findings: readonly Finding[]): string {
  if (coordinated) return 'can be coordinated';
  return findings.some(({ level }) => level === 'problem') ? 'cannot be coordinated as it is' : 'is not coordinated';
}

function findingLines({ level, what, mend }: Finding): string[] {
  return [`  ${level.padEnd(7)}  ${what}`, ...(mend === null ? [] : [`           ${mend}`])];
}
