/** A guest hangs, or is paused. */
import { virsh } from '../daemon.js';
import { eat, grows, pass, sizeOf, stopQemu, takesAndGives } from './harm.js';
import { type Fault, PAUSE_S, readTimes, TWO_INTERVALS_S } from './scene.js';
import { keepsGrowing, keepsReading, mib, said, seconds } from './verdicts.js';
import { startMeals } from './watch.js';

const MiB = 1024;

/** The first guest's QEMU hangs in the midst of being given memory, while two others eat. */
function stoppedQemu(name: string, lasts: number, rate: number, slow: boolean): Fault {
  return {
    name,
    title: `a guest's QEMU is stopped by SIGSTOP for ${lasts} s`,
    slow,
    poolMiB: 5120,
    async play(scene) {
      const [victim, ...others] = scene.guests;
      const [first, second] = others;
      for (const guest of [victim, first, second]) await eat(guest, 900, rate);
      await Promise.all([victim, first, second].map(async (guest) => await grows(scene, guest, 24, 20)));
      const goOn = await stopQemu(scene, victim);
      const meals = startMeals([first, second], scene.now);
      const from = scene.now();
      await pass(scene, lasts);
      const to = scene.now();
      await goOn();
      const back = await grows(scene, victim, 24, 20);
      const names = others.map(({ name }) => name);
      return [
        keepsReading(await readTimes(scene), names, from, to, TWO_INTERVALS_S),
        keepsGrowing(await meals(), from, to, PAUSE_S),
        { name: 'it is given memory again within 10 s of SIGCONT', ok: back <= 10, detail: `grown by 24 MiB after ${seconds(back)}` },
        said(scene.run.told, 'set-aside', 1, victim.name),
        said(scene.run.told, 'answers-again', 1, victim.name),
        said(scene.run.told, 'lost', 0),
      ];
    },
  };
}

export const HANGING: readonly Fault[] = [
  stoppedQemu('qemu-stopped', 10, 15, false),
  // libvirt gives up waiting for its monitor after 30 s.
  stoppedQemu('qemu-stopped-long', 45, 15, true),
  {
    name: 'paused',
    title: 'a guest is paused by virsh suspend for 6 s and resumed, while another eats',
    poolMiB: 4096,
    async play(scene) {
      const [victim, first] = scene.guests;
      await eat(first, 600, 15);
      await grows(scene, first, 24, 15);
      await virsh('suspend', victim.name);
      scene.undo.push(async () => await virsh('resume', victim.name).catch(() => undefined));
      const meals = startMeals([first], scene.now);
      const [from, before] = [scene.now(), sizeOf(scene.watch, victim)];
      await pass(scene, 6);
      const to = scene.now();
      await virsh('resume', victim.name);
      await pass(scene, 2);
      const sizes = scene.watch.readings.filter(({ t }) => t >= from).flatMap(({ actual }) => actual[victim.name] ?? []);
      const off = Math.max(...sizes.map((size) => Math.abs(size - before)));
      return [
        { name: 'it is not moved meanwhile', ok: off <= MiB, detail: `${mib(before)}, at most ${mib(off)} off until 2 s after resume` },
        keepsGrowing(await meals(), from, to, PAUSE_S),
        await takesAndGives(scene, victim),
      ];
    },
  },
];
