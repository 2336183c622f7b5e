/** Everything that is broken under memcoord on real guests, and how it is told as TAP. */
import { daemonPid } from './daemon.js';
import { BOOTS } from './faults/boots.js';
import { COORDINATOR_FAULTS } from './faults/coordinators.js';
import { HANGING } from './faults/hanging.js';
import { KINDS } from './faults/kinds.js';
import { LIBVIRTD_FAULTS } from './faults/libvirtd.js';
import { MIGRATING } from './faults/migrating.js';
import { type Fault, play, putBack } from './faults/scene.js';
import { UNHARMED } from './faults/unharmed.js';
import type { Lab } from './guests.js';
import { LabError } from './shell.js';
import type { Tap } from './tap.js';

export const FAULTS: readonly Fault[] = [
  ...HANGING,
  ...BOOTS,
  ...KINDS,
  ...MIGRATING,
  ...LIBVIRTD_FAULTS,
  ...COORDINATOR_FAULTS,
  ...UNHARMED,
];

const MiB = 1024;

/** @throws LabError where there is no such fault. */
export function faultsNamed(names: readonly string[]): Fault[] {
  return names.map((name) => {
    const fault = FAULTS.find((candidate) => candidate.name === name);
    if (fault === undefined) throw new LabError(`no fault '${name}'; there are ${FAULTS.map((known) => known.name).join(', ')}`);
    return fault;
  });
}

/** Plays faults on a lab that is up, and leaves its guests as `up` does. */
export async function runFaults(faults: readonly Fault[], lab: Lab, tap: Tap, signal: AbortSignal): Promise<void> {
  for (const fault of faults) {
    const unable =
      fault.daemon === true && (await daemonPid()) === null
        ? 'libvirtd is not one that the lab has started'
        : ((await fault.unable?.()) ?? null);
    if (unable !== null) {
      tap.result(true, `${fault.name}: ${fault.title}`, `SKIP ${unable}`);
      continue;
    }
    const begun = performance.now();
    tap.tell(`${fault.name}: ${fault.title}`);
    try {
      for (const { name, ok, detail } of await play(fault, lab, tap.tell, signal)) tap.result(ok, `${fault.name}: ${name}`, detail);
    } catch (error) {
      if (signal.aborted) throw new LabError('interrupted');
      tap.result(false, `${fault.name}: is carried out`, error instanceof Error ? error.message : String(error));
    }
    tap.tell(`${fault.name} took ${((performance.now() - begun) / 1000).toFixed(0)} s`);
  }
  const [first] = lab.guests;
  if (faults.length > 0 && first !== undefined) await putBack(lab.guests, first.current * MiB, signal);
}
