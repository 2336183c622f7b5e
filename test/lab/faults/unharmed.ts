/**
 * Do no harm (BALLOON.md, rule 15): a guest that would live if nobody managed the host lives under memcoord too, and has what it wants.
 * Beside it are guests that memcoord cannot control.
 */
import { readFile } from 'node:fs/promises';
import { report, say } from '../agent.js';
import { virsh } from '../daemon.js';
import { balloon, type Guest, type GuestSpec, guestSpecs } from '../guests.js';
import { LabError, sleep, until } from '../shell.js';
import { eat, pass, reaches } from './harm.js';
import { type Fault, fifth, type Scene } from './scene.js';
import { allEat, type Eaten, keepsGrowing, notMoved, said, seconds } from './verdicts.js';
import { EVERY_S, startMeals } from './watch.js';

const MiB = 1024;
/** As fast as the course's eaters. */
const RATE = 18;
/** As long as any guest may have too little: 5 s, and the observer's own grain. */
const TOO_LITTLE_S = 5 + EVERY_S;

/** Follows guests that eat until each holds `amount` MiB or is killed. */
async function eaten(scene: Scene, guests: readonly Guest[], amount: number, limitS: number): Promise<Eaten[]> {
  const end = scene.now() + limitS;
  return await Promise.all(
    guests.map(async ({ name, socket }) => {
      const wanted = amount * MiB;
      let held = 0;
      while (scene.now() < end) {
        if (scene.signal.aborted) throw new LabError('interrupted');
        if (scene.run.child.exitCode !== null) throw new LabError(`memcoord ended with code ${scene.run.child.exitCode}`);
        const figures = await report(name, socket, 5000).catch(() => null);
        if (figures !== null) {
          held = Math.max(held, figures.eaten ?? 0);
          if (figures.eating === 0) return { guest: name, wanted, held: Math.max(held, figures.last_eaten ?? 0), killed: true };
          if (held >= wanted) break;
        }
        await sleep(EVERY_S * 1000);
      }
      return { guest: name, wanted, held, killed: false };
    }),
  );
}

/** Two guests beside the four that take no part. */
const [DRIVERLESS, EXCLUDED] = guestSpecs({ count: 6, swap: [] }).slice(4) as [GuestSpec, GuestSpec];

/** What the host must have for {@link UNHARMED}'s first, MiB: four eaters with 1450 MiB each, two big idle guests that hold 700, the reserve of 5 %. */
const AVAILABLE = 8500;
/** QEMU cannot map more than the host has at once. */
const TOTAL = 16 * 1024;

export const UNHARMED: readonly Fault[] = [
  {
    name: 'uncontrolled',
    title: 'a driverless guest of 14 GiB and an excluded one of 8 GiB are idle while four others eat',
    // Their maxima leave 2 GiB of it for the four.
    poolMiB: 24 * 1024,
    extra: [
      { ...DRIVERLESS, driver: false, current: 14 * 1024, maximum: 14 * 1024 },
      { ...EXCLUDED, current: 8 * 1024, maximum: 8 * 1024 },
    ],
    excluded: [EXCLUDED.name],
    uncontrolled: [DRIVERLESS.name, EXCLUDED.name],
    async unable() {
      const memory = await readFile('/proc/meminfo', 'utf8');
      const figure = (name: string): number => Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(memory)?.[1]) / MiB;
      if (figure('MemTotal') < TOTAL * 0.95) return `needs a host of ${TOTAL} MiB`;
      const available = figure('MemAvailable');
      return available < AVAILABLE ? `needs ${AVAILABLE} MiB that are available; the host has ${Math.round(available)}` : null;
    },
    async play(scene) {
      const from = scene.now();
      const meals = startMeals(scene.guests, scene.now);
      scene.undo.push(meals);
      await Promise.all(scene.guests.map(async (guest) => await eat(guest, 1200, RATE)));
      const eaters = await eaten(scene, scene.guests, 1200, 150);
      return [
        allEat(eaters),
        keepsGrowing(await meals(), from, scene.now(), TOO_LITTLE_S),
        notMoved(
          scene.watch.readings,
          scene.run.moves,
          scene.extra.map(({ name }) => name),
        ),
        said(scene.run.told, 'overcommitted', 0),
      ];
    },
  },
  {
    name: 'rebooted-big',
    title: 'a guest of 8 GiB that was shrunk reboots while two others eat, and its balloon driver comes back late',
    // While it boots, its maximum leaves 2 GiB for the four.
    poolMiB: 10 * 1024,
    // What loads its driver at each boot is this test: so long does it take.
    extra: [fifth({ driver: false, current: 2048, maximum: 8 * 1024 })],
    uncontrolled: ['aos_vm5'],
    async prepare({ extra, signal }) {
      const [victim] = extra as [Guest];
      await say(victim.name, victim.socket, 'insmod');
      const there = async (): Promise<true | undefined> => ((await balloon(victim.name)) === 2048 * MiB ? true : undefined);
      await until(`${victim.name} to be at 2048 MiB`, 30_000, 200, there, signal);
    },
    async play(scene) {
      const [victim] = scene.extra as [Guest];
      const eaters = scene.guests.slice(1, 3);
      const shrunk = await reaches(scene, victim, 'be shrunk', 60, (size) => size <= 1200 * MiB);
      await Promise.all(eaters.map(async (guest) => await eat(guest, 900, RATE)));
      await Promise.all(eaters.map(async (guest) => await reaches(scene, guest, 'be given memory', 30, (size) => size >= 500 * MiB)));
      const meals = startMeals(eaters, scene.now);
      scene.undo.push(meals);
      const from = scene.now();
      await say(victim.name, victim.socket, 'reboot');
      const outcome = await eaten(scene, eaters, 900, 120);
      const grown = keepsGrowing(await meals(), from, scene.now(), TOO_LITTLE_S);
      await say(victim.name, victim.socket, 'insmod');
      const loaded = Date.now() / 1000;
      const reporting = async (): Promise<true | undefined> =>
        Number(/^last_update (\d+)$/m.exec(await virsh('dommemstat', victim.name))?.[1]) > loaded ? true : undefined;
      await until(`${victim.name} to report`, 30_000, 200, reporting, scene.signal);
      // The eaters hold what they have, whatever becomes of the other.
      await pass(scene, 5);
      return [
        { name: 'it is shrunk before', ok: true, detail: `from 2048 to 1200 MiB in ${seconds(shrunk)}` },
        allEat(outcome),
        grown,
        said(scene.run.told, 'overcommitted', 0),
      ];
    },
  },
];
