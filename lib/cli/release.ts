/** `memcoord release`: restores the guests in an emergency. */

import { machineTime, type Time } from '../common/time.js';
import { formatSize } from '../common/units.js';
import { Coordinator } from '../coordinator/coordinator.js';
import { type Lock, LockedError, lockHolder, lockOwner, takeLock } from '../coordinator/lock.js';
import type { Restored } from '../coordinator/messages.js';
import { FAILED } from './failure.js';
import { byName, type Connect, configFrom, connectLibvirt, type Options, printOut } from './session.js';

export interface ReleaseOptions extends Options {
  readonly stop?: boolean;
  readonly dryRun?: boolean;
}

export interface ReleaseSurroundings {
  readonly connect?: Connect;
  readonly print?: (line: string) => void;
  /** Takes lines that are not results: warnings, and what is done about a running coordinator. */
  readonly tell?: (line: string) => void;
  readonly time?: Time;
}

/** Time for a coordinator to end after a signal, ms. */
const PATIENCE_MS = 10_000;

/** @throws LockedError if a coordinator holds the host and is not to be stopped, or cannot be. */
export async function release(options: ReleaseOptions, surroundings: ReleaseSurroundings = {}): Promise<number> {
  const { connect = connectLibvirt, print = printOut, tell = (line) => process.stderr.write(`${line}\n`), time } = surroundings;
  const dryRun = options.dryRun === true;
  // Whatever interval is configured: nobody wants to wait for it here.
  const config = { ...(await configFrom(options)), intervalMs: 1000 };
  const coordinator = new Coordinator({
    connect: () => connect(config.uri, { readOnly: dryRun }),
    config,
    dryRun,
    lock: (hostId) => hold(hostId, options.stop === true, tell),
    ...(time === undefined ? {} : { time }),
  });
  coordinator.on('notice', ({ kind, message }) => kind === 'state' && tell(message));
  await coordinator.start();
  const guests = byName(await coordinator.release());
  for (const guest of guests) print(line(guest, dryRun));
  if (guests.length === 0) tell('no guest is running');
  return guests.some(({ original, why }) => !Number.isNaN(original) && why !== null) ? FAILED : 0;
}

function line({ name, size, original, why }: Restored, dryRun: boolean): string {
  if (Number.isNaN(original)) return `${name}: ${dryRun ? 'would be' : 'is'} left at ${formatSize(size)}: ${why}`;
  const has = `${name}: ${dryRun ? 'would have' : 'has'} ${formatSize(size)}`;
  return why === null ? `${has}, as before memcoord` : `${has}, not the ${formatSize(original)} of before memcoord: ${why}`;
}

/** Takes the lock. With `stop`, first ends the coordinator that holds it. */
async function hold(hostId: string, stop: boolean, tell: (line: string) => void): Promise<Lock> {
  try {
    return await takeLock(hostId);
  } catch (error) {
    if (!(error instanceof LockedError)) throw error;
    if (!stop) throw new LockedError(error.pid, 'stop it first, or have this command do it: memcoord release --stop');
  }
  // Any process may answer with any pid: only a pid that the kernel names as the socket's owner may be ended.
  const pid = await lockOwner(hostId);
  if (pid === null) throw new LockedError(null, 'whose it is cannot be seen from here: try as root, where the coordinator runs');
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    if ((await lockOwner(hostId)) !== pid) break;
    tell(
      `process ${pid} coordinates this host: ${signal === 'SIGTERM' ? 'asked to stop' : `did not stop in ${PATIENCE_MS / 1000} s: killed`}`,
    );
    process.kill(pid, signal);
    if (await isFree(hostId)) break;
  }
  return takeLock(hostId);
}

async function isFree(hostId: string): Promise<boolean> {
  const end = machineTime.now() + PATIENCE_MS;
  while (machineTime.now() < end) {
    if ((await lockOwner(hostId)) === null && (await lockHolder(hostId)) === 'nobody') return true;
    await machineTime.sleep(100).done;
  }
  return false;
}
