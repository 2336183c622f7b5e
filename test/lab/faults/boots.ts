/** A guest reboots, dies, comes and goes. */
import { report, say } from '../agent.js';
import { virsh } from '../daemon.js';
import { add, balloon, type Guest, ready, remove } from '../guests.js';
import { until } from '../shell.js';
import { eat, grows, IDLE, pass, qemuOf, reaches, sizeOf, takesAndGives } from './harm.js';
import { type Fault, fifth, PAUSE_S, type Scene, START } from './scene.js';
import { keepsGrowing, mib, said, seconds } from './verdicts.js';
import { startMeals } from './watch.js';

const MiB = 1024;
/** memcoord's `boot-rest` in these faults, s: by default they would have to wait for two minutes before anything is given back. */
const REST_S = 20;
const RESTS = ['--boot-rest', String(REST_S)];

/** Until its agent answers after a boot that began later than `since`, s on the scene's clock. */
async function booted(scene: Scene, guest: Guest, since: number): Promise<number> {
  const answer = async (): Promise<true | undefined> => {
    const figures = await report(guest.name, guest.socket, 2000).catch(() => null);
    return figures !== null && (figures.uptime ?? Infinity) < scene.now() - since + 1 ? true : undefined;
  };
  await until(`${guest.name} to have booted`, 60_000, 200, answer, scene.signal);
  return scene.now();
}

export const BOOTS: readonly Fault[] = [
  {
    name: 'rebooted',
    title: 'a guest reboots from inside while another eats',
    // Less than its maximum and what the eater is given: a guest that reboots keeps nobody from memory that it does not hold.
    poolMiB: 2560,
    uncontrolled: ['aos_vm1'],
    options: RESTS,
    async play(scene) {
      const [victim, first] = scene.guests;
      await eat(first, 300, 40);
      await reaches(scene, first, 'have room for 300 MiB', 20, (size) => size >= 520 * MiB);
      const from = scene.now();
      await say(victim.name, victim.socket, 'reboot');
      await eat(first, 420, 15);
      const meals = startMeals([first], scene.now);
      scene.undo.push(meals);
      const back = await booted(scene, victim, from);
      scene.tell(`${victim.name} is back after ${seconds(back - from)}`);
      await reaches(scene, first, 'be given what it needs', 30, (size) => size >= 680 * MiB);
      const grown = keepsGrowing(await meals(), from, scene.now(), PAUSE_S);
      const raised = scene.run.moves.filter(({ guest, reason }) => guest === victim.name && reason === 'boot');
      const most = Math.max(...raised.map(({ to }) => to));
      return [
        grown,
        {
          name: 'its target is raised while it boots',
          ok: most >= 2 * START,
          detail: raised.length === 0 ? 'it is not' : `to ${mib(most)} after ${seconds((raised[0]?.t ?? Number.NaN) - from)}`,
        },
        await takesAndGives(scene, victim),
      ];
    },
  },
  {
    name: 'guest-killed',
    title: 'a guest’s QEMU is killed by SIGKILL while another waits for memory',
    poolMiB: 1920,
    async play(scene) {
      const [victim, first] = scene.guests;
      await eat(victim, 500, 40);
      await reaches(scene, victim, 'have room for 500 MiB', 30, (size) => size >= 700 * MiB);
      await eat(first, 460, 40);
      await pass(scene, 12);
      const before = sizeOf(scene.watch, first);
      scene.gone.add(victim.name);
      process.kill(await qemuOf(victim), 'SIGKILL');
      const took = await reaches(scene, first, 'be given what the dead one held', 20, (size) => size >= before + 40 * MiB);
      return [
        {
          name: 'its memory goes to another within 5 s',
          ok: took <= 5,
          detail: `${first.name} from ${mib(before)} by 40 MiB in ${seconds(took)}`,
        },
        said(scene.run.told, 'guest-gone', 1, victim.name),
      ];
    },
  },
  {
    name: 'come-and-go',
    title: 'a guest is started and destroyed during the run, while another eats',
    poolMiB: 3584,
    // While it boots.
    uncontrolled: ['aos_vm5'],
    options: RESTS,
    async play(scene) {
      const first = scene.guests[1];
      const started = scene.now();
      const [guest] = (await add([fifth({ current: 1024 })], scene.signal)) as [Guest];
      scene.undo.push(async () => await remove([guest]));
      scene.come.push(guest);
      await eat(first, 700, 15);
      await grows(scene, first, 24, 15);
      await ready(guest, { signal: scene.signal, moved: true });
      const begun = scene.now();
      const given = async (): Promise<true | undefined> => ((await balloon(guest.name)) <= IDLE ? true : undefined);
      await until(`${guest.name} to give what it does not need`, 60_000, 200, given, scene.signal);
      const gives = scene.now() - begun;
      const taken = scene.run.moves.find((move) => move.guest === guest.name && move.to < move.from);
      const rested = (taken?.t ?? Number.NaN) - started;
      await eat(guest, 300, 30);
      const grown = async (): Promise<true | undefined> => ((await balloon(guest.name)) >= 520 * MiB ? true : undefined);
      await until(`${guest.name} to be given memory`, 30_000, 200, grown, scene.signal);
      const meals = startMeals([first], scene.now);
      const from = scene.now();
      await virsh('destroy', guest.name);
      await pass(scene, 5);
      const to = scene.now();
      return [
        {
          name: 'it is coordinated from its boot on',
          ok: true,
          detail: `from 1024 MiB to an idle guest’s size in ${seconds(gives)}, and up as it eats`,
        },
        { name: `it rests for ${REST_S} s after its start`, ok: rested >= REST_S, detail: `first asked to give after ${seconds(rested)}` },
        keepsGrowing(await meals(), from, to, PAUSE_S),
        said(scene.run.told, 'guest-appeared', 1, guest.name),
        said(scene.run.told, 'guest-gone', 1, guest.name),
        said(scene.run.told, 'lost', 0),
      ];
    },
  },
];
