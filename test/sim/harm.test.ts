/** The judge of harm is itself judged: coordinators that do one wrong thing each are caught, one that does nothing is not. */
import { EventEmitter } from 'node:events';
import fc from 'fast-check';
import t from 'tap';
import { MiB } from '../../lib/common/units.js';
import { Coordinator, type CoordinatorOptions } from '../../lib/coordinator/coordinator.js';
import type { Hypervisor } from '../../lib/hypervisor.js';
import { parseScenario } from '../../lib/sim/scenario.js';
import { simulate } from '../../lib/sim/simulate.js';
import { scenarioOf, scenarioText } from './scenarios.js';

/** Sizes to be set, MiB by second and guest. */
type Orders = Readonly<Record<number, Readonly<Record<string, number>>>>;

/** A coordinator that does as it is told, once a second, whatever comes of it. */
function blindly(orders: Orders): typeof Coordinator {
  class Blind extends EventEmitter {
    readonly #options: CoordinatorOptions;
    #stopped = false;

    constructor(options: CoordinatorOptions) {
      super();
      this.#options = options;
    }

    async start(): Promise<void> {
      void this.#run(await this.#options.connect());
    }

    async stop(): Promise<void> {
      this.#stopped = true;
    }

    async #run(hypervisor: Hypervisor): Promise<void> {
      const { time } = this.#options;
      for (let second = 0; !this.#stopped && time !== undefined; second++) {
        const { guests } = await hypervisor.sample({ deadlineMs: 500 }).catch(() => ({ guests: [] }));
        if (guests.length > 0) this.emit('sample', { guests: [] });
        const moves = guests.flatMap(({ uuid, name }) => {
          const size = orders[second]?.[name];
          return size === undefined ? [] : [{ uuid, kib: size * MiB }];
        });
        await hypervisor.setMemory(moves, { deadlineMs: 500 });
        await time.sleep(1000 * (second + 1) - time.now()).done;
      }
    }
  }
  return Blind as unknown as typeof Coordinator;
}

const violated = async (text: string, orders: Orders) => {
  const { violations, ...result } = await simulate(parseScenario(text, 'harm.yaml'), { coordinator: blindly(orders) });
  return { ...result, harms: [...new Set(violations.map(({ invariant }) => invariant))].sort() };
};

t.test('a guest that dies of what was taken from it, on a host with room, is killed by its coordinator', async (t) => {
  const text = `
    host: { memory: 16GiB }
    duration: 30
    guests: [{ name: a, max: 4GiB, size: 2GiB, uses: 500MiB, eats: [{ at: 20, size: 1GiB, rate: 100MiB/s }] }]`;
  const { harms, guests } = await violated(text, { 5: { a: 700 } });
  t.same(harms, ['dies', 'outlives']);
  t.match(guests, [{ name: 'a', kills: 1, unmanaged: { kills: 0 } }]);
});

t.test('it is not where the host had no room for it, nor where it dies unmanaged as well', async (t) => {
  const rises = 'uses: 500MiB, eats: [{ at: 20, size: 1GiB, rate: 100MiB/s }]';
  const full = await violated(
    `
    host: { memory: 4GiB, used: 2500MiB }
    duration: 30
    guests: [{ name: a, max: 2GiB, ${rises} }]`,
    { 5: { a: 700 } },
  );
  t.same(full.harms, []);
  t.equal(full.guests[0]?.kills, 1);
  const both = await violated(
    `
    host: { memory: 16GiB }
    duration: 30
    guests: [{ name: a, max: 4GiB, size: 1GiB, ${rises} }]`,
    { 5: { a: 700 } },
  );
  t.same(both.harms, []);
  t.equal(both.guests[0]?.unmanaged.kills, 1);
});

for (const [what, more, event] of [
  ['it rises faster than the burst', 'eats: [{ at: 20, size: 1GiB, rate: 900MiB/s }]', ''],
  ['libvirt cannot be reached', 'eats: [{ at: 20, size: 1GiB, rate: 100MiB/s }]', '{ at: 18, do: daemon-hang, for: 10 }'],
  ['it cannot be reached', 'eats: [{ at: 20, size: 1GiB, rate: 100MiB/s }]', '{ at: 18, do: freeze, guest: a, for: 10 }'],
  ['its balloon is slow', 'speed: 60MiB/s, eats: [{ at: 20, size: 1GiB, rate: 100MiB/s }]', ''],
] as const)
  t.test(`nor where ${what}`, async (t) => {
    const text = `
      host: { memory: 16GiB }
      duration: 26
      guests: [{ name: a, max: 4GiB, size: 2GiB, uses: 500MiB, ${more} }]
      events: [${event}]`;
    const { harms, guests } = await violated(text, { 5: { a: 700 } });
    t.same(harms, []);
    t.match(guests, [{ kills: 1, unmanaged: { kills: 0 } }]);
  });

t.test('a guest that is left short beside memory starves', async (t) => {
  const text = 'host: { memory: 16GiB }\nduration: 30\nguests: [{ name: a, max: 4GiB, size: 2GiB, uses: 500MiB }]';
  t.same((await violated(text, { 5: { a: 560 } })).harms, ['starves']);
  t.same((await violated(text, { 5: { a: 560 }, 9: { a: 640 } })).harms, [], 'for less than five seconds');
  t.same(
    (await violated(text.replace('duration', 'config: { pool: 560MiB }\nduration'), { 5: { a: 560 } })).harms,
    [],
    'the pool has no more',
  );
  t.same((await violated(text.replace('16GiB', '1100MiB'), { 5: { a: 560 } })).harms, [], 'others may need what there is');
});

t.test('who is given what the host does not have drains it', async (t) => {
  const text = `
    host: { memory: 8GiB, used: 2GiB }
    duration: 80
    guests: [{ name: a, max: 8GiB, size: 2GiB, uses: 1GiB, eats: [{ at: 20, size: 7GiB, rate: 100MiB/s }] }]`;
  const { harms, host, unmanaged } = await violated(text, { 5: { a: 8192 } });
  t.same(harms, ['host']);
  t.equal(host.kills, 1);
  t.equal(unmanaged.kills, 0);
});

t.test('a guest that is made to swap thrashes', async (t) => {
  const text = `
    host: { memory: 16GiB }
    duration: 30
    guests: [{ name: a, max: 4GiB, size: 2GiB, uses: 500MiB, swap: 1GiB, eats: [{ at: 12, size: 300MiB, rate: 100MiB/s }] }]`;
  const { harms, guests } = await violated(text, { 5: { a: 610 }, 15: { a: 2048 } });
  t.same(harms, ['thrash']);
  t.match(guests, [{ kills: 0, unmanaged: { swapIn: 0 } }]);
});

t.test('a guest whose cache is taken reads from disk, and faults where it is mapped', async (t) => {
  const text = (mapped: string) => `
    host: { memory: 16GiB }
    duration: 30
    guests: [{ name: a, max: 4GiB, size: 2GiB, uses: 500MiB, hot: 1GiB, mapped: ${mapped} }]`;
  t.same((await violated(text('no'), { 5: { a: 700 } })).harms, ['rereads']);
  t.same((await violated(text('yes'), { 5: { a: 700 } })).harms.sort(), ['rereads', 'thrash']);
  t.same((await violated(text('no'), { 5: { a: 1400 }, 8: { a: 2048 } })).harms, [], 'for three seconds');
});

t.test('a coordinator that does nothing harms nobody, though guests may be left short', { timeout: 300_000 }, async (t) => {
  class Idle extends Coordinator {
    constructor(options: CoordinatorOptions) {
      super({ ...options, dryRun: true });
    }
  }
  let killed = 0;
  await fc.assert(
    fc.asyncProperty(scenarioText, async (text) => {
      const { violations, guests } = await simulate(scenarioOf(text), { coordinator: Idle });
      killed += guests.filter(({ kills }) => kills > 0).length;
      return (
        violations.every(({ invariant }) => invariant === 'starves') &&
        guests.every(({ kills, unmanaged }) => kills > 0 === unmanaged.kills > 0)
      );
    }),
    { numRuns: 30, seed: 1 },
  );
  t.ok(killed > 0, `${killed} guests die in both`);
});
