/** `memcoord monitor`: the lines that the scripts of the classic tests (docs/classic-tests.md) read, every few seconds. */

import { guestWord, printable } from '../common/text.js';
import { machineTime, type Time } from '../common/time.js';
import { defaultConfig } from '../config/config.js';
import { HOST_SETTINGS, readSetting } from '../config/settings.js';
import type { Hypervisor } from '../hypervisor.js';
import { ACTUAL, figureOf, type GuestIdentity, LAST_UPDATE, READ, STATUS, type Sweep, UNUSED } from '../sweep.js';
import { UsageError } from './failure.js';
import { byName, type Connect, connectLibvirt, type Options, optionValue, READING_DEADLINE_MS, virsh } from './session.js';

export interface MonitorOptions extends Options {
  readonly count?: string;
  readonly machine?: boolean;
}

export interface MonitorSurroundings {
  readonly connect?: Connect;
  readonly print?: (text: string) => void;
  readonly hint?: (line: string) => void;
  readonly time?: Time;
}

/** A guest whose figures are older than this no longer reports, s. */
const STALE_SECONDS = 10;

export async function monitor(options: MonitorOptions, surroundings: MonitorSurroundings = {}): Promise<number> {
  const {
    connect = connectLibvirt,
    print = (text) => process.stdout.write(text),
    hint = (line) => process.stderr.write(`memcoord: ${line}\n`),
    time = machineTime,
  } = surroundings;
  const intervalMs = optionValue('--interval', readSetting(HOST_SETTINGS.interval, options.interval ?? '2'));
  const count = options.count === undefined ? Number.POSITIVE_INFINITY : countOf(options.count);
  const uri =
    options.connect === undefined ? defaultConfig().uri : optionValue('--connect', readSetting(HOST_SETTINGS.connect, options.connect));
  const hypervisor = await connect(uri, { readOnly: true });
  let stopped = false;
  let wake = (): void => {};
  const stop = (): void => {
    stopped = true;
    wake();
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  try {
    const hinted = new Set<string>();
    const began = time.now();
    for (let n = 0; n < count && !stopped; n++) {
      if (n > 0) {
        // By the clock, so that readings do not drift by their own duration.
        const pause = time.sleep(Math.max(0, began + n * intervalMs - time.now()));
        wake = pause.wake;
        await pause.done;
        if (stopped) break;
      }
      const sweep = await hypervisor.sample({ deadlineMs: READING_DEADLINE_MS });
      print(linesOf(sweep, options.machine === true));
      await hintAtSilence(hypervisor, sweep, uri, Math.max(1, Math.round(intervalMs / 1000)), hinted, hint);
    }
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
    await hypervisor.close({ deadlineMs: READING_DEADLINE_MS });
  }
  return 0;
}

function countOf(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new UsageError(`option --count: '${text}' is not a whole number of 1 or more`);
  return Number(text);
}

function rowsOf(sweep: Sweep): { guest: GuestIdentity; name: string; figure: (field: number) => number }[] {
  const rows = sweep.guests.map((guest, row) => ({
    guest,
    name: printable(guest.name),
    figure: (field: number) => figureOf(sweep, row, field),
  }));
  return byName(rows.filter(({ figure }) => figure(STATUS) === READ));
}

/** All lines of one reading; a guest that could not be read has none. */
function linesOf(sweep: Sweep, machine: boolean): string {
  return rowsOf(sweep)
    .map(({ name, figure }) => {
      const [actual, unused] = [pythonFloat(figure(ACTUAL) / 1024), pythonFloat(figure(UNUSED) / 1024)];
      return machine ? `memory,${name},${actual},${unused}\n` : `Memory (VM: ${name}) Actual [${actual}], Unused: [${unused}]\n`;
    })
    .join('');
}

/** A number as Python prints it: the classic tests' scripts compare text. Below 1e16, where sizes in MiB are, only whole numbers differ. */
function pythonFloat(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** Hints, once for each guest whose stats are off, how to turn them on. */
async function hintAtSilence(
  hypervisor: Hypervisor,
  sweep: Sweep,
  uri: string,
  period: number,
  hinted: Set<string>,
  hint: (line: string) => void,
): Promise<void> {
  for (const { guest, name, figure } of rowsOf(sweep)) {
    const age = Date.now() / 1000 - figure(LAST_UPDATE);
    if (hinted.has(guest.uuid) || (!Number.isNaN(figure(UNUSED)) && age < STALE_SECONDS)) continue;
    hinted.add(guest.uuid);
    const facts = await hypervisor.describe(guest.uuid, { deadlineMs: READING_DEADLINE_MS }).catch(() => null);
    if (facts?.statsPeriod !== 0 || facts.balloonModel === 'none') continue;
    hint(
      `${name} reports no figures; to turn them on: ${virsh(uri, 'dommemstat', guestWord(guest.name, guest.uuid), '--period', String(period), '--live')}`,
    );
  }
}
