/**
 * Is the simulated guest like a real one? The same orders and the same meals, at the same times, on a guest of the lab and in the
 * simulator; what libvirt shows of both is compared, reading by reading.
 */
import { SimHost } from '../../lib/sim/host.js';
import { through, type Waypoint } from '../../lib/sim/workload.js';
import { report, say } from './agent.js';
import type { Guest, Lab } from './guests.js';
import { Virsh } from './observer.js';
import { LabError, sleep } from './shell.js';
import type { Tap } from './tap.js';

const MiB = 1024;

/** What is done, and at which second. */
interface Deed {
  readonly at: number;
  /** MiB. */
  readonly set?: number;
  /** MiB, MiB/s. */
  readonly eat?: readonly [size: number, rate: number];
  readonly free?: true;
}

const PROGRAM: readonly Deed[] = [
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
interface Reading {
  readonly t: number;
  readonly actual: number;
  readonly usable: number;
}

/** Root of the mean square of the differences, MiB. */
interface Likeness {
  readonly actual: number;
  readonly usable: number;
  readonly readings: number;
}

/** Takes the guest through the program, while nobody else moves it. @returns what was read, and what was done when. */
async function readReal(virsh: Virsh, guest: Guest): Promise<{ readings: Reading[]; done: Deed[] }> {
  await virsh.ask([`dommemstat ${guest.name} --period 1 --live`, `setmem ${guest.name} 1G --live`]);
  await sleep(4000);
  const began = performance.now();
  const now = () => (performance.now() - began) / 1000;
  const readings: Reading[] = [];
  const done: Deed[] = [];
  const left = [...PROGRAM];
  let begun = Number.NaN;
  while (now() < LASTS_S) {
    const next = left[0];
    if (next !== undefined && now() >= next.at) {
      left.shift();
      if (next.set !== undefined) await virsh.ask([`setmem ${guest.name} ${next.set}M --live`]);
      if (next.eat !== undefined) await say(guest.name, guest.socket, `eat ${next.eat[0]} ${next.eat[1]}`);
      if (next.free === true) {
        // A process takes its time to start.
        const { begun_ms_ago: ago = Number.NaN } = await report(guest.name, guest.socket);
        begun = now() - ago / 1000;
        await say(guest.name, guest.socket, 'free');
      }
      done.push({ ...next, at: now() });
    }
    const [text = ''] = await virsh.ask([`dommemstat ${guest.name}`]);
    const figure = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
    readings.push({ t: now(), actual: figure('actual'), usable: figure('usable') });
    await sleep(EVERY_MS - ((performance.now() - began) % EVERY_MS));
  }
  return { readings, done: done.map((deed) => (deed.eat === undefined ? deed : { ...deed, at: begun })) };
}

/** The same in the simulator, read at the same times. `uses` is what the real guest used at rest, KiB. */
async function readSimulated(real: readonly Reading[], done: readonly Deed[], uses: number): Promise<Reading[]> {
  const eats: Waypoint[] = done.flatMap(({ at, eat, free }) => [
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
  for (const { at, set } of done) if (set !== undefined) host.at(1000 * at, () => host.set('guest', set * MiB));
  const readings: Reading[] = [];
  for (const { t } of real) {
    await host.pass(1000 * t - host.now);
    const { actual, figures } = host.guest('guest');
    readings.push({ t, actual, usable: figures?.usable ?? Number.NaN });
  }
  return readings;
}

/** How far two rows of readings are apart. */
function likeness(real: readonly Reading[], simulated: readonly Reading[]): Likeness {
  const pairs = real.flatMap((each, i) => (simulated[i] === undefined ? [] : [[each, simulated[i]] as const]));
  const rms = (of: (reading: Reading) => number) =>
    Math.sqrt(pairs.reduce((sum, [a, b]) => sum + ((of(a) - of(b)) / MiB) ** 2, 0) / pairs.length);
  return { actual: rms(({ actual }) => actual), usable: rms(({ usable }) => usable), readings: pairs.length };
}

/** What is stated of the simulator, MiB: balloons swing by 1.2 GiB, and figures are up to a second old on both sides. */
const MOST_APART = { actual: 150, usable: 200 };

/** The test, on one guest of the lab. */
export async function runLikeness(lab: Lab, tap: Tap): Promise<void> {
  const [guest] = lab.guests;
  if (guest === undefined) throw new LabError('the lab has no guest');
  const virsh = new Virsh(lab.uri);
  try {
    tap.tell(`${guest.name}: the same work and the same orders as in the simulator`);
    const { readings, done } = await readReal(virsh, guest);
    const atRest = readings.filter(({ t }) => t < 1.5);
    const uses = atRest.reduce((sum, { actual, usable }) => sum + actual - usable, 0) / atRest.length;
    const apart = likeness(readings, await readSimulated(readings, done, uses));
    for (const figure of ['actual', 'usable'] as const)
      tap.result(
        apart[figure] <= MOST_APART[figure],
        `a simulated guest is like a real one: ${figure} differs by ${MOST_APART[figure]} MiB at most (root of the mean square)`,
        `${Math.round(apart[figure])} MiB over ${apart.readings} readings`,
      );
  } finally {
    await virsh.ask([`setmem ${guest.name} ${guest.current}M --live`, `dommemstat ${guest.name} --period 0 --live`]);
    virsh.end();
  }
}
