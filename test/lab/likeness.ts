/**
 * Is the simulated guest like a real one? The same orders and the same meals, at the same times, on a guest of the lab and in the
 * simulator; what libvirt shows of both is compared, reading by reading.
 */
import { SimHost } from '../../lib/sim/host.js';
import { through, type Waypoint } from '../../lib/sim/workload.js';
import { say } from './agent.js';
import type { Guest } from './guests.js';
import type { Virsh } from './observer.js';
import { sleep } from './shell.js';

const MiB = 1024;

/** What is done at which second. */
const PROGRAM: readonly {
  readonly at: number;
  readonly set?: number;
  readonly eat?: readonly [size: number, rate: number];
  readonly free?: true;
}[] = [
  { at: 2, set: 1536 },
  { at: 5, eat: [600, 150] },
  { at: 11, set: 1000 },
  { at: 14, set: 1700 },
  { at: 17, free: true },
  { at: 19, set: 512 },
];
const LASTS_S = 23;
const EVERY_MS = 250;

/** A reading. Seconds, KiB. */
export interface Reading {
  readonly t: number;
  readonly actual: number;
  readonly usable: number;
}

/** Root of the mean square of the differences, MiB. */
export interface Likeness {
  readonly actual: number;
  readonly usable: number;
  readonly readings: number;
}

/** Takes the guest through the program. It must hold 1 GiB, and nobody else may move it. */
export async function readReal(virsh: Virsh, guest: Guest): Promise<Reading[]> {
  await virsh.ask([`dommemstat ${guest.name} --period 1 --live`, `setmem ${guest.name} 1G --live`]);
  await sleep(4000);
  const began = performance.now();
  const now = () => (performance.now() - began) / 1000;
  const readings: Reading[] = [];
  const left = [...PROGRAM];
  while (now() < LASTS_S) {
    const next = left[0];
    if (next !== undefined && now() >= next.at) {
      left.shift();
      if (next.set !== undefined) await virsh.ask([`setmem ${guest.name} ${next.set}M --live`]);
      if (next.eat !== undefined) await say(guest.name, guest.socket, `eat ${next.eat[0]} ${next.eat[1]}`);
      if (next.free === true) await say(guest.name, guest.socket, 'free');
    }
    const [text = ''] = await virsh.ask([`dommemstat ${guest.name}`]);
    const figure = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
    readings.push({ t: now(), actual: figure('actual'), usable: figure('usable') });
    await sleep(EVERY_MS - ((performance.now() - began) % EVERY_MS));
  }
  return readings;
}

/** The same in the simulator, read at the same times. `uses` is what the real guest used at rest, KiB. */
export async function readSimulated(real: readonly Reading[], uses: number): Promise<Reading[]> {
  const eats: Waypoint[] = PROGRAM.flatMap(({ at, eat, free }) => [
    ...(eat === undefined ? [] : [{ at: 1000 * at, size: eat[0] * MiB, rate: eat[1] * MiB }]),
    ...(free === true ? [{ at: 1000 * at, size: 0, rate: Number.POSITIVE_INFINITY }] : []),
  ]);
  const eaten = through(eats);
  const host = new SimHost({
    total: 8192 * MiB,
    turns: 1,
    guests: [{ name: 'guest', maximum: 2048 * MiB, current: 1024 * MiB, base: uses, uses: (at) => uses + eaten(at) }],
  });
  host.guest('guest').setPeriod(1);
  for (const { at, set } of PROGRAM) if (set !== undefined) host.at(1000 * at, () => host.set('guest', set * MiB));
  const readings: Reading[] = [];
  for (const { t } of real) {
    await host.pass(1000 * t - host.now);
    const { actual, figures } = host.guest('guest');
    readings.push({ t, actual, usable: figures?.usable ?? Number.NaN });
  }
  return readings;
}

/** How far two rows of readings are apart. */
export function likeness(real: readonly Reading[], simulated: readonly Reading[]): Likeness {
  const pairs = real.flatMap((each, i) => (simulated[i] === undefined ? [] : [[each, simulated[i]] as const]));
  const rms = (of: (reading: Reading) => number) =>
    Math.sqrt(pairs.reduce((sum, [a, b]) => sum + ((of(a) - of(b)) / MiB) ** 2, 0) / pairs.length);
  return { actual: rms(({ actual }) => actual), usable: rms(({ usable }) => usable), readings: pairs.length };
}
