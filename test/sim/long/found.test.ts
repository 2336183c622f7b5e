/** What random scenarios found and what was mended for it: each made short, and run again. */
import t from 'tap';
import { parseScenario } from '../../../lib/sim/scenario.js';
import { simulate } from '../../../lib/sim/simulate.js';

const found: Readonly<Record<string, string>> = {
  'a guest that rises while too much is charged was promised what was yet to be taken from it': `
    host: { memory: 1500MiB }
    guests: [{ name: a, max: 700MiB, uses: 100MiB, eats: [{ at: 3, size: 400MiB, rate: 100MiB/s }] }]
    events: [{ at: 2, do: eat, size: 1046MiB, for: 20 }]`,
  'a guest was promised memory while the host was short, when it is given only what it cannot live without': `
    host: { memory: 3500MiB }
    config: { sampling-budget: 0% }
    guests: [{ name: a, max: 1300MiB, eats: [{ at: 29, size: 1300MiB, rate: 150MiB/s }] }]
    events: [{ at: 27, do: pressure, for: 20 }]`,
  'a guest that lacked something itself was counted among those that give': `
    host: { memory: 2500MiB }
    config: { interval: 2, surplus: guests, burst: 400MiB/s }
    guests:
      - { name: a, max: 1200MiB, size: 400MiB, uses: 100MiB }
      - name: b
        max: 1080MiB
        uses: 150MiB
        eats: [{ at: 10, size: 1400MiB, rate: 250MiB/s }]
        tmpfs: [{ at: 0, size: 100MiB, rate: 20MiB/s }]
      - { name: c, max: 1100MiB }`,
  'the last few MiB to its ceiling, which a guest was short of, were not asked of others': `
    host: { memory: 2325MiB }
    config: { surplus: guests }
    guests:
      - { name: a, max: 620MiB, uses: 110MiB, eats: [{ at: 3.5, size: 1400MiB, rate: 20MiB/s }] }
      - { name: b, max: 1500MiB, size: 500MiB }
      - { name: c, max: 700MiB, uses: 100MiB }`,
  'a guest that had just been moved gave nothing to one in need until the next sweep': `
    host: { memory: 2500MiB }
    config: { interval: 2, surplus: guests, burst: 400MiB/s }
    guests:
      - { name: a, max: 1200MiB, size: 400MiB, uses: 100MiB }
      - name: b
        max: 1080MiB
        uses: 150MiB
        eats: [{ at: 11.68, size: 1400MiB, rate: 230MiB/s }]
        tmpfs: [{ at: 0, size: 70MiB, rate: 20MiB/s }]
      - { name: c, max: 1100MiB, size: 985MiB, uses: 70MiB }`,
  'a target that a call stored after it had been given up was taken for one that the coordinator knows': `
    host: { memory: 3000MiB }
    guests: [{ name: a, max: 1600MiB, size: 400MiB, limit: 522MiB }]
    events: [{ at: 19, do: hang, for: 20, guest: a }]`,
  'what a guest gave for good, at last, was taken for unrest of the one that got it': `
    seed: 22161
    host: { memory: 3900MiB }
    config: { interval: 2, surplus: guests }
    guests:
      - { name: a, max: 1250MiB, uses: 100MiB, eats: [{ at: 20, size: 800MiB, rate: 400MiB/s }] }
      - { name: b, max: 450MiB, driver: no }
      - { name: c, max: 700MiB, starts: 56.27 }
      - name: d
        max: 1900MiB
        size: 800MiB
        uses: 150MiB
        eats:
          - { at: 10, size: 1400MiB, rate: 1000MiB/s }
          - { at: 20, size: 750MiB, rate: 1500MiB/s }
          - { at: 40, size: 1200MiB, rate: 200MiB/s }
        tmpfs: [{ at: 42, size: 150MiB, rate: 100MiB/s }]
      - name: e
        max: 1500MiB
        uses: 100MiB
        eats: [{ at: 0, size: 300MiB, rate: 1500MiB/s }, { at: 60, size: 500MiB, rate: 300MiB/s }]
        hot: 265MiB
    events: [{ at: 36.08, do: vfio, guest: a }]`,
  'a coordinator that had stopped was held to what it had promised': `
    duration: 8
    host: { memory: 5500MiB }
    guests: [{ name: a, max: 1400MiB, size: 500MiB, uses: 100MiB, eats: [{ at: 6, size: 1200MiB, rate: 150MiB/s }] }]`,
  'a guest whose programs took memory while it read its cache again was given back the last step alone': `
    duration: 100
    host: { memory: 44GiB }
    guests: [{ name: a, max: 7607MiB, size: 5097MiB, uses: 917MiB, hot: 2633MiB, mapped: yes, eats: [{ at: 84, size: 1170MiB, rate: 173MiB/s }] }]`,
  'cache passed for spare where it was decided whom to sample, while it was watched what a step into it cost': `
    duration: 100
    host: { memory: 44GiB }
    guests: [{ name: a, max: 7607MiB, size: 5097MiB, uses: 917MiB, hot: 2633MiB, mapped: yes, eats: [{ at: 83.6, size: 1170MiB, rate: 173MiB/s }] }]`,
  'cache that a guest works in passed for spare where it was decided whom to sample': `
    duration: 75
    host: { memory: 16GiB }
    config: { interval: 2 }
    guests: [{ name: a, max: 11794MiB, size: 3420MiB, uses: 1129MiB, hot: 687MiB, mapped: yes, eats: [{ at: 59, size: 1512MiB, rate: 190MiB/s }] }]`,
  'a guest whose driver was taken out as it reported for the last time held the pool for 7 s as if it were controlled': `
    duration: 30
    host: { memory: 12025MiB, used: 1GiB }
    config: { pool: 8025MiB }
    guests:
      - { name: a, max: 12240MiB, size: 3550MiB, uses: 1952MiB, noise: 3MiB }
      - { name: b, max: 7369MiB, size: 7295MiB, uses: 1751MiB, cache: [{ at: 0, size: 1053MiB, rate: 500MiB/s }] }
    events: [{ at: 15.62, do: unload, guest: b }]`,
  'what a cache had grown by was forgiven twice, so that a guest went on reading from disk': `
    seed: 777486
    duration: 110
    host: { memory: 54283MiB }
    config: { interval: 2 }
    guests:
      - { name: a, max: 1036MiB, size: 798MiB, eats: [{ at: 17, size: 48MiB, rate: 36MiB/s }], noise: 3MiB, hot: 26MiB }
      - { name: b, max: 10230MiB, size: 3069MiB, uses: 399MiB, hot: 1655MiB, hot-from: 60 }`,
  'what guests had taken since their figures was not counted when they were kept alive': `
    seed: 119627
    duration: 60
    host: { memory: 36963MiB, used: 1GiB }
    guests:
      - { name: g0, max: 3461MiB, size: 2734MiB, uses: 1394MiB, noise: 3MiB, eats: [{ at: 51, size: 1701MiB, rate: 183MiB/s }, { at: 34, size: 697MiB, rate: 39MiB/s }] }
      - { name: g1, max: 7574MiB, size: 4847MiB, uses: 921MiB, eats: [{ at: 24, size: 2434MiB, rate: 356MiB/s }] }
      - { name: g2, max: 2239MiB, size: 582MiB, uses: 233MiB, eats: [{ at: 26, size: 238MiB, rate: 19MiB/s }, { at: 47, size: 307MiB, rate: 169MiB/s }] }
      - { name: g3, max: 7902MiB, size: 2845MiB, uses: 1309MiB, noise: 3MiB, eats: [{ at: 41, size: 753MiB, rate: 154MiB/s }] }
      - { name: g4, max: 3125MiB, size: 3000MiB, uses: 360MiB, eats: [{ at: 26, size: 343MiB, rate: 58MiB/s }], cache: [{ at: 0, size: 1795MiB, rate: 200MiB/s }] }
      - { name: g5, max: 6855MiB, size: 5073MiB, uses: 1775MiB, eats: [{ at: 35, size: 1121MiB, rate: 144MiB/s }] }
      - { name: wave, count: 20, max: 4086MiB, size: 2452MiB, uses: 511MiB, eats: [{ at: 44, size: 1747MiB, rate: 55MiB/s }] }
      - { name: odd0, max: 2058MiB, size: 1708MiB, uses: 683MiB }
    events: [{ at: 0.05, do: unload, guest: g0 }]`,
};

for (const [what, text] of Object.entries(found))
  t.test(`found, and mended: ${what}`, async (t) => {
    const { violations } = await simulate(parseScenario(text, 'found.yaml'));
    t.same(violations, []);
  });
