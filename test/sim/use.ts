/** Is memory still reclaimed? A fixed set of hosts without odd guests, and what the policy of an earlier commit reclaimed on each. */
import { readFileSync } from 'node:fs';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { stringify } from 'yaml';
import { parseScenario, type Scenario } from '../../lib/sim/scenario.js';
import { type SimulationOptions, simulate } from '../../lib/sim/simulate.js';

/** Part of what was reclaimed before that must be reclaimed now, over all hosts. */
const KEPT = 0.95;

/** `reclaimed[i]`: GiB·h on `honestHost(i)`. To be recorded anew where the hosts or the simulated guests change, by the policy of `commit`. */
export const BASELINE = JSON.parse(readFileSync('test/fixtures/reclaimed.json', 'utf8')) as {
  readonly commit: string;
  readonly reclaimed: readonly number[];
};

/** Whole numbers from `least` to `most`, the same for a seed each time. */
function randomOf(seed: number): (least: number, most: number) => number {
  const random = xoroshiro128plus(seed);
  return (least, most) => uniformInt(random, least, most);
}

/** Sum of the guests' maxima, MiB. */
function maximaOf(guests: readonly { readonly max: string }[]): number {
  return guests.reduce((sum, { max }) => sum + Number.parseInt(max, 10), 0);
}

/** A host with room for all that its guests use, each of which starts at its maximum, works a little, and reports the truth. */
export function honestHost(seed: number): Scenario {
  const from = randomOf(seed);
  const guests = Array.from({ length: from(2, 8) }, (_, i) => {
    const max = from(1, 16) * 1024;
    const uses = Math.round((max * from(5, 25)) / 100);
    const work = Math.round((max * from(0, 40)) / 100);
    return {
      name: `g${i}`,
      max: `${max}MiB`,
      uses: `${uses}MiB`,
      noise: `${from(0, 3)}MiB`,
      eats: [
        { at: from(10, 50), size: `${work}MiB`, rate: `${from(5, 100)}MiB/s` },
        { at: from(60, 100), size: '0MiB' },
      ],
    };
  });
  const maxima = maximaOf(guests);
  const host = { memory: `${Math.round((maxima * from(70, 110)) / 100) + 2048}MiB`, used: '1GiB' };
  return parseScenario(stringify({ seed, duration: 120, host, guests }), `honest-${seed}.yaml`);
}

/** What the policy of commit 6e94140, for which all page cache was spare, reclaimed on `coldHost(0)` to `coldHost(15)` in ten minutes, GiB·h. */
export const BASELINE_COLD = 35.76;

/** The text of a host with room for all, on which guests have filled their page cache once and idle since. */
export function coldHost(seed: number, config: object = {}): string {
  const from = randomOf(seed);
  const guests = Array.from({ length: from(2, 6) }, (_, i) => {
    const max = from(1, 8) * 1024;
    const size = Math.round((max * from(10, 60)) / 100);
    const uses = Math.round((max * from(5, 25)) / 100);
    return { name: `g${i}`, max: `${max}MiB`, uses: `${uses}MiB`, noise: '2MiB', cache: [{ at: 0, size: `${size}MiB`, rate: '400MiB/s' }] };
  });
  return stringify({ seed, duration: 600, config, host: { memory: `${maximaOf(guests) + 2048}MiB`, used: '1GiB' }, guests });
}

/** What is reclaimed on the first hosts of the baseline, GiB·h, and how many guests die there. */
export async function reclaimedNow(
  options: SimulationOptions = {},
  hosts = BASELINE.reclaimed.length,
): Promise<{ readonly reclaimed: number[]; readonly kills: number }> {
  const reclaimed: number[] = [];
  let kills = 0;
  for (let seed = 0; seed < hosts; seed++) {
    const { host, guests } = await simulate(honestHost(seed), options);
    reclaimed.push(host.reclaimedGiBh);
    kills += guests.filter((guest) => guest.kills > 0).length;
  }
  return { reclaimed, kills };
}

export function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** Harm (e): memory that nobody uses goes back to the host as before. */
export function isUseKept(reclaimed: readonly number[]): boolean {
  return sumOf(reclaimed) >= KEPT * sumOf(BASELINE.reclaimed.slice(0, reclaimed.length));
}
