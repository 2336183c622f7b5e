/** A guest is migrated (docs/ballooning.md, rule 9). */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { report, say } from '../agent.js';
import { startDestination, URI, virsh } from '../daemon.js';
import type { Guest } from '../guests.js';
import { RUN, until } from '../shell.js';
import { eat, grows, IDLE, pass, reaches } from './harm.js';
import { type Fault, PAUSE_S, readTimes, type Scene, TWO_INTERVALS_S } from './scene.js';
import { keepsGrowing, keepsReading, mib, seconds } from './verdicts.js';
import { startMeals } from './watch.js';

const MiB = 1024;
/** So slow that it is not over before it is aborted, MiB/s. */
const BANDWIDTH = 1;

/** Begins to migrate a guest to a second daemon. The guest's files there are its own: both QEMUs have them open. */
async function startMigration({ undo, tell }: Scene, { name, socket, console }: Guest): Promise<void> {
  const dir = join(RUN, 'there');
  const { uri, end } = await startDestination(dir);
  undo.push(end);
  const xml = (await virsh('dumpxml', '--migratable', name))
    .replaceAll(socket, join(dir, 'agent'))
    .replaceAll(console, join(dir, 'console'));
  await writeFile(join(dir, 'guest.xml'), xml);
  const options = ['--live', '--bandwidth', String(BANDWIDTH), '--xml', join(dir, 'guest.xml'), '--migrateuri', `unix://${dir}/migration`];
  const migrated = virsh('migrate', ...options, '--desturi', uri, name).then(
    () => tell('the migration is over too soon'),
    (error: unknown) => tell(String(error).replace(/^.*: error/s, 'the migration: error')),
  );
  undo.push(async () => {
    await virsh('domjobabort', name).catch(() => undefined);
    await migrated;
  });
  const begun = async (): Promise<true | undefined> =>
    (await virsh('domjobinfo', name)).includes('Outgoing migration') ? true : undefined;
  await until(`the migration of ${name} to begin`, 30_000, 100, begun);
}

export const MIGRATING: readonly Fault[] = [
  {
    name: 'migrating',
    title: 'a guest with memory to give is migrated to another libvirtd for 12 s, while another eats; then the migration is aborted',
    daemon: true,
    poolMiB: 4096,
    async unable() {
      return URI === 'qemu:///system' ? null : 'a second daemon of the same user needs root';
    },
    async play(scene) {
      const [victim, first] = scene.guests;
      await eat(victim, 300, 60);
      const full = async (): Promise<true | undefined> =>
        ((await report(victim.name, victim.socket)).eaten ?? 0) >= 300 * MiB ? true : undefined;
      await until(`${victim.name} to hold 300 MiB`, 40_000, 250, full, scene.signal);
      await eat(first, 900, 15);
      await grows(scene, first, 24, 15);
      const meals = startMeals([first], scene.now);
      scene.undo.push(meals);
      await startMigration(scene, victim);
      await pass(scene, 1);
      const from = scene.now();
      // From here on memcoord would take 50 MiB of it a second.
      await say(victim.name, victim.socket, 'free');
      await pass(scene, 12);
      const to = scene.now();
      await virsh('domjobabort', victim.name);
      const eaten = await meals();
      const orders = scene.run.moves.filter(({ guest, t }) => guest === victim.name && t >= from && t <= to);
      const told = scene.run.told.filter(({ guest, message }) => guest === victim.name && message.includes('being migrated'));
      const back = await reaches(scene, victim, 'give what it does not need', 20, (size) => size <= IDLE);
      return [
        { name: 'it is sent no order meanwhile', ok: orders.length === 0, detail: `${orders.length} in ${seconds(to - from)}` },
        {
          name: 'the log says once that it is being migrated',
          ok: told.length === 1,
          detail: told.map(({ t, message }) => `${seconds(t)}: ${message}`).join('; '),
        },
        keepsReading(
          await readTimes(scene),
          scene.guests.map(({ name }) => name),
          from,
          to,
          TWO_INTERVALS_S,
        ),
        keepsGrowing(eaten, from, to, PAUSE_S),
        {
          name: 'it gives what it does not need once the migration is aborted',
          ok: back <= 15,
          detail: `at ${mib(IDLE)} after ${seconds(back)}`,
        },
      ];
    },
  },
];
