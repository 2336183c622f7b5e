/**
 * `memory.js URI MARK...`: runs whole cycles of the coordinator over the guests of libvirt's test driver; prints the memory that the process
 * holds after so many, as one line of JSON (Held[] of ../memory.ts). Wants `--expose-gc`.
 */
import { GiB, type Hypervisor, MiB, open } from 'memcoord';
import * as field from '../../lib/sweep.js';
import type { Held } from '../memory.js';
import { type Clock, rush } from '../rush.js';

const [uri = '', ...rest] = process.argv.slice(2);
const marks = rest.map(Number);

/**
 * The test driver's guests with figures that live: without, they would be taken for silent and never be moved. Each uses 100 to 300 MiB, up
 * and down, and the host has room for them, so that targets are set all the time. Balloons have the size that was set: inside this process, each connection of the driver
 * has a host of its own. Stats periods, which the driver has not, are said to be set.
 */
async function lively(clock: Clock): Promise<Hypervisor> {
  const hypervisor = await open(uri);
  const sizes = new Map<string, number>();
  return {
    ...hypervisor,
    async sample(options) {
      const sweep = await hypervisor.sample(options);
      const { guests, figures } = sweep;
      for (const [guest, { uuid }] of guests.entries()) {
        const row = guest * field.STRIDE;
        const actual = sizes.get(uuid) ?? figures[row + field.ACTUAL] ?? Number.NaN;
        const usable = Math.max(0, actual - (200 + 100 * Math.sin(clock.now / 5000 + guest)) * MiB);
        figures[row + field.ACTUAL] = actual;
        figures[row + field.AVAILABLE] = actual;
        figures[row + field.UNUSED] = usable;
        figures[row + field.USABLE] = usable;
        figures[row + field.LAST_UPDATE] = Math.floor(clock.now / 1000);
        figures[row + field.READ_AT] = clock.now;
      }
      return sweep;
    },
    setMemory: async (moves, options) => {
      const errors = await hypervisor.setMemory(moves, options);
      const error = errors.find((error) => error !== null);
      if (error) throw error;
      for (const { uuid, kib } of moves) sizes.set(uuid, kib);
      moved += moves.length;
      return errors;
    },
    setStatsPeriod: async () => undefined,
    hostMemory: async () => ({
      total: 512 * GiB,
      available: 256 * GiB,
      arc: 0,
      arcMinimum: 0,
      hugePages: 0,
      cgroupRoom: null,
      pressure: false,
    }),
  };
}

let moved = 0;
const held: Held[] = [];
await rush(lively, Math.max(...marks), (cycle) => {
  if (!marks.includes(cycle)) return;
  globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  held.push({ cycles: cycle, moves: moved, rssMiB: rss / 2 ** 20, heapMiB: heapUsed / 2 ** 20 });
});
console.log(JSON.stringify(held));
process.exit();
