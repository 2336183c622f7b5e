/**
 * Do no harm (docs/ballooning.md, rule 15): a guest that would live if nobody managed the host lives under memcoord too, and has what it wants.
 * Beside it are guests that memcoord cannot control, or a limit that is lower than what the host has.
 */
import { readFile } from 'node:fs/promises';
import { report, say } from '../agent.js';
import { memoryCgroup } from '../cgroup.js';
import { virsh } from '../daemon.js';
import { balloon, destroy, type Guest, type GuestSpec, guestSpecs, ready, start } from '../guests.js';
import { LabError, sleep, until } from '../shell.js';
import { eat, pass, qemuOf, reaches } from './harm.js';
import { type Fault, fifth, putBack, roomSamples, type Scene, START } from './scene.js';
import {
  allEat,
  type Eaten,
  growsWithinRoom,
  keepsGrowing,
  mib,
  notMoved,
  type Room,
  roomIsRead,
  said,
  seconds,
  staysInPool,
} from './verdicts.js';
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

/** The cgroup's limit, KiB: room for what the guests use, not for all that the pool would let them have. */
const LIMIT = 3072 * MiB;

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
  {
    name: 'cgroup',
    title: 'the guests live in a memory cgroup whose limit is less than what the host has, and two eat',
    // It would not keep anybody within the limit, and all that it leaves is given out.
    poolMiB: 8 * 1024,
    options: ['--surplus', 'guests', '--reserve', '512MiB'],
    async unable() {
      try {
        const cgroup = await memoryCgroup(LIMIT);
        await cgroup.make();
        await cgroup.remove();
        return null;
      } catch (error) {
        if (!(error instanceof LabError)) throw error;
        return error.message;
      }
    },
    async prepare({ guests, last, signal }) {
      const cgroup = await memoryCgroup(LIMIT);
      await cgroup.make();
      last.push(async () => await cgroup.remove());
      // All of a guest's memory is counted there only if it is there from its first page on. The next test starts them again outside.
      last.push(async () => await destroy(guests));
      await destroy(guests);
      for (const guest of guests) {
        await start(guest, { paused: true });
        await cgroup.add(await qemuOf(guest));
        await virsh('resume', guest.name);
      }
      await Promise.all(guests.map(async (guest) => await ready(guest, { signal })));
      await putBack(guests, START, signal);
    },
    async play(scene) {
      const cgroup = await memoryCgroup(LIMIT);
      const eaters = scene.guests.slice(0, 2);
      const from = scene.now();
      const rooms: Room[] = [];
      let watching = true;
      const watch = (async () => {
        while (watching) {
          rooms.push({ t: scene.now(), room: await cgroup.room() });
          await sleep(EVERY_S * 1000);
        }
      })();
      scene.undo.push(async () => {
        watching = false;
        await watch;
      });
      await Promise.all(eaters.map(async (guest) => await eat(guest, 700, RATE)));
      const outcome = await eaten(scene, eaters, 700, 90);
      // What is given beside need comes now.
      await pass(scene, 5);
      watching = false;
      await watch;
      const samples = await roomSamples(scene);
      const killed = await cgroup.killed();
      return [
        allEat(outcome),
        {
          name: 'no QEMU is killed for the limit',
          ok: killed === 0,
          detail: `${killed}, with ${mib(Math.min(...rooms.map(({ room }) => room)))} left at least`,
        },
        roomIsRead(samples, rooms),
        growsWithinRoom(samples),
        staysInPool(scene.watch.readings, LIMIT, { from, what: 'the limit' }),
      ];
    },
  },
];
