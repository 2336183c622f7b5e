/** Guests of a kind that is hard to coordinate, and many of them. */
import { say } from '../agent.js';
import { virsh } from '../daemon.js';
import { balloon, type Guest, guestSpecs } from '../guests.js';
import { until } from '../shell.js';
import { eat, IDLE, pass, reaches, sizeOf } from './harm.js';
import { type Fault, fifth, START } from './scene.js';
import { mib, said, seconds } from './verdicts.js';

const MiB = 1024;

export const KINDS: readonly Fault[] = [
  {
    name: 'driverless',
    title: 'a guest has no balloon driver, while another eats; later it is loaded',
    // Its maximum would leave 512 MiB for the four: it keeps nobody from memory that it does not hold.
    poolMiB: 2560,
    extra: [fifth({ driver: false, current: 512 })],
    uncontrolled: ['aos_vm5'],
    async play(scene) {
      const first = scene.guests[1];
      const [victim] = scene.extra as [Guest];
      await eat(first, 380, 25);
      const given = await reaches(scene, first, 'be given what it needs', 30, (size) => size >= 640 * MiB);
      await pass(scene, 5);
      await say(victim.name, victim.socket, 'insmod');
      await reaches(scene, victim, 'follow its first target', 20, (size) => size <= 528 * MiB);
      const least = sizeOf(scene.watch, victim);
      const idle = await reaches(scene, victim, 'give what it does not need', 40, (size) => size <= IDLE);
      return [
        {
          name: 'it was not moved without a driver: with one it goes where libvirt had set it',
          ok: Math.abs(least - 512 * MiB) <= 16 * MiB,
          detail: mib(least),
        },
        { name: 'meanwhile the eater has all that it needs', ok: true, detail: `640 MiB after ${seconds(given)}` },
        { name: 'then it is coordinated', ok: true, detail: `idle size after ${seconds(idle)}` },
      ];
    },
  },
  {
    name: 'tmpfs',
    title: 'an operator sets a guest to less than its tmpfs leaves room for',
    poolMiB: 4096,
    async prepare({ guests: [victim], signal }) {
      await virsh('setmem', victim.name, String(1100 * MiB), '--live');
      const room = async (): Promise<true | undefined> => ((await balloon(victim.name)) === 1100 * MiB ? true : undefined);
      await until('room for the tmpfs', 10_000, 100, room, signal);
      await say(victim.name, victim.socket, 'tmpfs 600', 60_000);
    },
    async play(scene) {
      const [victim] = scene.guests;
      // 600 MiB of tmpfs, and what an idle guest uses.
      const used = 766 * MiB;
      const from = scene.now();
      await virsh('setmem', victim.name, String(500 * MiB), '--live');
      const fell = await reaches(scene, victim, 'be pushed', 10, (size) => size < used + 48 * MiB).catch(() => Number.NaN);
      const rose = await reaches(scene, victim, 'have room again', 20, (size) => size >= used + 48 * MiB);
      await pass(scene, 10);
      const sizes = scene.watch.readings.filter(({ t }) => t >= from).map(({ actual }) => actual[victim.name] ?? Number.NaN);
      const after = scene.watch.readings.filter(({ t }) => t >= scene.now() - 8).map(({ actual }) => actual[victim.name] ?? Number.NaN);
      return [
        {
          name: 'its target comes back up within 5 s',
          ok: rose <= 5,
          detail: `seen down to ${mib(Math.min(...sizes))} after ${seconds(fell)}, at ${mib(used + 48 * MiB)} again ${seconds(rose)} later`,
        },
        {
          name: 'it is left what it uses and 48 MiB from then on',
          ok: Math.min(...after) >= used + 48 * MiB,
          detail: `at least ${mib(Math.min(...after))} in the last 8 s`,
        },
      ];
    },
  },
  {
    name: 'autodeflate',
    title: 'a guest with autodeflate eats while memcoord is stopped, goes on, and frees',
    poolMiB: 4096,
    extra: [fifth({ autodeflate: true })],
    async play(scene) {
      const [guest] = scene.extra as [Guest];
      const { child } = scene.run;
      scene.undo.push(async () => child.kill('SIGCONT'));
      child.kill('SIGSTOP');
      await eat(guest, 300, 100);
      const own = await reaches(scene, guest, 'take memory back by itself', 20, (size) => size >= START + 64 * MiB);
      await pass(scene, 3);
      const taken = sizeOf(scene.watch, guest) - START;
      child.kill('SIGCONT');
      const up = await reaches(scene, guest, 'have spare memory again', 10, (size) => size >= 520 * MiB);
      await eat(guest, 400, 30);
      await reaches(scene, guest, 'have room for 400 MiB', 30, (size) => size >= 620 * MiB);
      await say(guest.name, guest.socket, 'free');
      const down = await reaches(scene, guest, 'give it back', 60, (size) => size <= IDLE);
      return [
        { name: 'it takes memory back by itself', ok: taken >= 64 * MiB, detail: `64 MiB after ${seconds(own)}, ${mib(taken)} in all` },
        { name: 'that is taken over, and it is given spare memory', ok: true, detail: `520 MiB ${seconds(up)} after SIGCONT` },
        said(scene.run.told, 'adopted', 1, guest.name),
        { name: 'it gives back what it frees', ok: true, detail: `an idle guest’s size after ${seconds(down)}` },
      ];
    },
  },
  {
    name: 'twenty',
    title: '20 guests at once, eight of which eat',
    slow: true,
    poolMiB: 20 * 448,
    extra: guestSpecs({ count: 20, current: START / MiB, swap: [] }).slice(4),
    async play(scene) {
      const all = [...scene.guests, ...scene.extra];
      const eaters = all.slice(0, 8);
      for (const guest of eaters) await eat(guest, 250, 6);
      const took = await Promise.all(
        eaters.map(async (guest) => await reaches(scene, guest, 'have room for 250 MiB', 120, (size) => size >= 470 * MiB)),
      );
      const ages = await Promise.all(
        all.map(async ({ name }) => Date.now() / 1000 - Number(/^last_update (\d+)$/m.exec(await virsh('dommemstat', name))?.[1])),
      );
      return [
        { name: 'all that eat are given memory', ok: true, detail: `250 MiB after ${seconds(Math.max(...took))} at most` },
        {
          name: 'the figures of all are no older than 4 s',
          ok: ages.every((age) => age <= 4),
          detail: `${seconds(Math.max(...ages))} at most, of ${ages.length}`,
        },
      ];
    },
  },
];
