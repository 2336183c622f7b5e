/** The coordinator itself is killed, or is not the only one that sets balloons: another coordinator, an operator. */
import { virsh } from '../daemon.js';
import { balloon } from '../guests.js';
import { coordinatorCommand } from '../scenario.js';
import { LabError, ROOT, run, until } from '../shell.js';
import { eat, grows, IDLE, pass, reaches } from './harm.js';
import { type Fault, launch, type Scene } from './scene.js';
import { mib, said, seconds } from './verdicts.js';

const MiB = 1024;
/** As memcoord's ADOPTED_INTERVALS: it does not shrink a guest for so many intervals of 1 s after somebody else has set it, s. */
const LEFT_ALONE_S = 5;

/**
 * Kills memcoord when the first guest's balloon is on the way to what it was just set to, and pauses that guest there.
 *
 * @returns how far it still has to go, KiB.
 */
async function killInTheMiddle(scene: Scene): Promise<number> {
  const [victim] = scene.guests;
  for (let attempt = 0; attempt < 20; attempt++) {
    const seen = scene.run.moves.length;
    const next = async () => scene.run.moves.slice(seen).find(({ guest, to, actual }) => guest === victim.name && to < actual - 16 * MiB);
    const move = await until(`memcoord to take memory from ${victim.name}`, 15_000, 2, next, scene.signal);
    await virsh('suspend', victim.name);
    scene.undo.push(async () => await virsh('resume', victim.name).catch(() => undefined));
    const left = (await balloon(victim.name)) - move.to;
    if (left >= 4 * MiB) {
      scene.run.child.kill('SIGKILL');
      await scene.run.exited;
      return left;
    }
    await virsh('resume', victim.name);
  }
  throw new LabError('memcoord was never caught in the middle of a move');
}

export const COORDINATOR_FAULTS: readonly Fault[] = [
  {
    name: 'coordinator-killed',
    title: 'memcoord is killed by SIGKILL in the middle of a move and started again, while a guest eats',
    // What the guests hold at first, and 64 MiB.
    poolMiB: 2560,
    async prepare({ guests: [victim], signal }) {
      await virsh('setmem', victim.name, String(1536 * MiB), '--live');
      await until(
        'a guest to have memory to give',
        10_000,
        100,
        async () => ((await balloon(victim.name)) === 1536 * MiB ? true : undefined),
        signal,
      );
    },
    async play(scene) {
      const [victim, first] = scene.guests;
      await eat(first, 500, 8);
      const left = await killInTheMiddle(scene);
      const killed = scene.now();
      scene.run = launch(scene);
      const { told } = scene.run;
      await until(
        'the next memcoord to be there',
        15_000,
        20,
        async () => told.some(({ kind }) => kind === 'connected') || undefined,
        scene.signal,
      );
      const back = scene.now() - killed;
      // It has met the guest, which is paused on its way, by then.
      await pass(scene, 2);
      await virsh('resume', victim.name);
      const grown = await grows(scene, first, 24, 20);
      const idle = await reaches(scene, victim, 'have given what it does not need', 60, (size) => size <= IDLE);
      return [
        {
          name: 'the next one starts at once',
          ok: back <= 5,
          detail: `connected ${seconds(back)} after the kill, with ${mib(left)} of a move still to go`,
        },
        said(told, 'adopted', 0),
        {
          name: 'and coordinates',
          ok: true,
          detail: `the eater has 24 MiB more after ${seconds(grown)}; the other is idle after ${seconds(idle)}`,
        },
      ];
    },
  },
  {
    name: 'second-coordinator',
    title: 'a second memcoord is started beside the first',
    poolMiB: 4096,
    async play(scene) {
      const [, first] = scene.guests;
      const pid = String(scene.run.child.pid);
      const [command = '', ...args] = coordinatorCommand(scene.uri, scene.pool, undefined);
      const begun = scene.now();
      const { code, stderr } = await run(command, args, { cwd: ROOT, mayFail: true, timeoutMs: 15_000 });
      const took = scene.now() - begun;
      await eat(first, 300, 15);
      const grown = await grows(scene, first, 100, 20);
      const words = stderr.trim().split('\n').at(-1) ?? '';
      return [
        {
          name: 'it is refused with exit code 4 and the pid of the first',
          ok: code === 4 && new RegExp(`\\b${pid}\\b`).test(stderr),
          detail: `code ${code} after ${seconds(took)}; the first is ${pid}: ${words}`,
        },
        { name: 'the first one goes on', ok: true, detail: `an eater has 100 MiB more after ${seconds(grown)}` },
      ];
    },
  },
  {
    name: 'setmem',
    title: 'an operator sets a guest to 1024 MiB behind memcoord’s back',
    poolMiB: 4096,
    async play(scene) {
      const [victim, ...others] = scene.guests;
      await pass(scene, 2);
      const from = scene.now();
      await virsh('setmem', victim.name, String(1024 * MiB), '--live');
      await reaches(scene, victim, 'be at 1024 MiB', 10, (size) => size >= 1024 * MiB);
      const there = scene.now();
      await reaches(scene, victim, 'give some of it', 20, (size) => size < 1008 * MiB);
      const left = scene.now() - there;
      const idle = await reaches(scene, victim, 'give all of it', 60, (size) => size <= IDLE);
      const during = scene.watch.readings.filter(({ t }) => t >= from);
      const moved = others.map(({ name }) => {
        const sizes = during.flatMap(({ actual }) => actual[name] ?? []);
        return Math.max(...sizes) - Math.min(...sizes);
      });
      return [
        {
          name: 'it is left alone for five intervals',
          // Two readings' grain.
          ok: left >= LEFT_ALONE_S - 0.5,
          detail: `at 1024 MiB for ${seconds(left)}, then given back within ${seconds(idle)}`,
        },
        said(scene.run.told, 'adopted', 1, victim.name),
        {
          name: 'the others are not moved for it',
          ok: moved.every((by) => by <= 16 * MiB),
          detail: others.map(({ name }, index) => `${name} by ${mib(moved[index] ?? Number.NaN)}`).join(', '),
        },
      ];
    },
  },
];
