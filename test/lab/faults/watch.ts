/** Reads the balloons four times a second through libvirt's own client, while things are broken under it. */
import { report } from '../agent.js';
import type { Guest } from '../guests.js';
import { figure, Virsh } from '../observer.js';
import { sleep } from '../shell.js';
import type { Meal } from './verdicts.js';

/** How often the guests are read, s. */
export const EVERY_S = 0.25;

/** One reading of all guests. */
export interface Reading {
  /** When it began, seconds on the scene's clock. */
  readonly t: number;
  /** How long it took, s. */
  readonly took: number;
  /** Balloon sizes, KiB, by guest; of those alone that were read. */
  readonly actual: Readonly<Record<string, number>>;
  /** Resident memory of their QEMUs, KiB. */
  readonly rss: Readonly<Record<string, number>>;
}

export interface Watch {
  readonly readings: readonly Reading[];
  /** Reads a guest no more, from when this resolves: one whose QEMU is stopped would hold up the others for 30 s. */
  leave(name: string): Promise<void>;
  comeBack(name: string): void;
  end(): Promise<void>;
}

export function startWatch(uri: string, names: () => readonly string[], now: () => number): Watch {
  const readings: Reading[] = [];
  const left = new Set<string>();
  let virsh = new Virsh(uri);
  let watching = true;
  let reading: Promise<void> = Promise.resolve();

  const sample = async (): Promise<void> => {
    const asked = names().filter((name) => !left.has(name));
    const t = now();
    try {
      const texts = await virsh.ask(asked.map((name) => `dommemstat ${name}`));
      const column = (of: string): Record<string, number> =>
        Object.fromEntries(asked.map((name, index) => [name, figure(texts[index] ?? '', of)] as const).filter(([, size]) => size > 0));
      readings.push({ t, took: now() - t, actual: column('actual'), rss: column('rss') });
    } catch {
      // It does not always outlive the daemon.
      virsh.end();
      virsh = new Virsh(uri);
    }
  };
  const loop = (async () => {
    while (watching) {
      reading = sample();
      await reading;
      await sleep(EVERY_S * 1000 - ((now() * 1000) % (EVERY_S * 1000)));
    }
  })();

  return {
    readings,
    async leave(name) {
      left.add(name);
      await reading;
    },
    comeBack: (name) => void left.delete(name),
    async end() {
      watching = false;
      await loop;
      virsh.end();
    },
  };
}

/** Asks eaters as often what they hold and have left. @returns ends it, with all that they said by guest. */
export function startMeals(guests: readonly Guest[], now: () => number): () => Promise<ReadonlyMap<string, readonly Meal[]>> {
  const meals = new Map<string, Meal[]>(guests.map(({ name }) => [name, []]));
  let watching = true;
  const loops = guests.map(async ({ name, socket }) => {
    while (watching) {
      const figures = await report(name, socket, 5000).catch(() => null);
      if (figures !== null) meals.get(name)?.push({ t: now(), eaten: figures.eaten ?? 0, usable: figures.MemAvailable ?? Number.NaN });
      await sleep(EVERY_S * 1000);
    }
  });
  return async () => {
    watching = false;
    await Promise.all(loops);
    return meals;
  };
}
