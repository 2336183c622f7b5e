/** libvirtd is killed, or hangs, while guests need memory. */
import { slowStarts, URI, virsh } from '../daemon.js';
import { add, type Guest, remove } from '../guests.js';
import type { Verdict } from '../judge.js';
import { eat, grows, killLibvirtd, pass, qemuOf, stopLibvirtd } from './harm.js';
import { type Fault, fifth, PAUSE_S, readTimes, type Scene, TWO_INTERVALS_S } from './scene.js';
import { keepsGrowing, keepsReading, said, seconds } from './verdicts.js';
import { startMeals } from './watch.js';

/** What the guests eat meanwhile, MiB/s: an idle guest's spare lasts for as long as nobody can give it more. */
const RATE = 8;
/** The longest pause between two tries to connect is 4 s after an outage of these lengths; then come a sweep or two, and two samples. */
const BACK_S = 12;

/** Two guests eat while the daemon is away; then it is seen whether they are coordinated again. */
async function away(scene: Scene, lasts: number, goes: () => Promise<() => Promise<void>>): Promise<Verdict[]> {
  const [, first, second] = scene.guests;
  for (const guest of [first, second]) await eat(guest, 600, RATE);
  await Promise.all([grows(scene, first, 24, 15), grows(scene, second, 24, 15)]);
  const comesBack = await goes();
  const from = scene.now();
  await pass(scene, lasts);
  await comesBack();
  const back = scene.now();
  scene.tell(`libvirtd was away for ${seconds(back - from)}`);
  const grown = await Promise.all([grows(scene, first, 24, 30), grows(scene, second, 24, 30)]);
  const slowest = Math.max(...grown);
  return [
    {
      name: `guests that eat are given memory again within ${BACK_S} s`,
      ok: slowest <= BACK_S,
      detail: `after ${seconds(slowest)} at most, libvirtd was away for ${seconds(back - from)}`,
    },
    said(scene.run.told, 'lost', 1),
    said(scene.run.told, 'connected', 2),
  ];
}

async function outlive(guests: readonly Guest[], before: readonly number[]): Promise<Verdict> {
  const after = await Promise.all(guests.map(async (guest) => await qemuOf(guest).catch(() => Number.NaN)));
  return {
    name: 'the guests outlive their libvirtd',
    ok: after.every((pid, index) => pid === before[index]),
    detail: `QEMUs ${before.join(', ')} before, ${after.join(', ')} after`,
  };
}

export const LIBVIRTD_FAULTS: readonly Fault[] = [
  {
    name: 'libvirtd-killed',
    title: 'libvirtd is killed by SIGKILL under load and started again',
    daemon: true,
    poolMiB: 4096,
    async play(scene) {
      const qemus = await Promise.all(scene.guests.map(qemuOf));
      const verdicts = await away(scene, 2, async () => await killLibvirtd(scene));
      return [await outlive(scene.guests, qemus), ...verdicts];
    },
  },
  {
    name: 'libvirtd-stopped',
    title: 'libvirtd is stopped by SIGSTOP for 8 s under load',
    daemon: true,
    poolMiB: 4096,
    play: async (scene) => await away(scene, 8, async () => await stopLibvirtd(scene)),
  },
  {
    name: 'slow-hook',
    title: 'a guest is started behind a hook of 20 s, in which libvirtd answers no list, while another eats',
    daemon: true,
    poolMiB: 4096,
    // While it boots.
    uncontrolled: ['aos_vm5'],
    async unable() {
      return URI === 'qemu:///system' ? null : 'the daemon of a user has no hooks of its own';
    },
    async play(scene) {
      const first = scene.guests[1];
      await eat(first, 900, 18);
      await grows(scene, first, 24, 15);
      await slowStarts(20);
      scene.undo.push(async () => await slowStarts(0));
      const adding = add([fifth({ current: 512 })], scene.signal);
      adding.catch(() => undefined);
      scene.undo.push(async () => await remove(await adding));
      // Until it waits for the hook.
      await pass(scene, 2);
      const from = scene.now();
      const listing = virsh('list').then(() => scene.now() - from);
      listing.catch(() => undefined);
      const meals = startMeals([first], scene.now);
      scene.undo.push(meals);
      await pass(scene, 15);
      const to = scene.now();
      const eaten = await meals();
      const listed = await listing;
      scene.come.push(...(await adding));
      await pass(scene, 3);
      const names = scene.guests.map(({ name }) => name);
      return [
        { name: 'libvirtd answers no list meanwhile', ok: listed >= 10, detail: `one took ${seconds(listed)}` },
        keepsReading(await readTimes(scene), names, from, to, TWO_INTERVALS_S),
        keepsGrowing(eaten, from, to, PAUSE_S),
        said(scene.run.told, 'lost', 0),
        said(scene.run.told, 'guest-appeared', 1, 'aos_vm5'),
      ];
    },
  },
];
