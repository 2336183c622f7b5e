import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import { parseScenario } from '../../lib/sim/scenario.js';

const guests = 'guests: [{ name: a, max: 1GiB }]\n';

t.test('a scenario has defaults for all but its guests', async (t) => {
  const scenario = parseScenario(guests, 's.yaml');
  t.match(scenario, { seed: 1, memory: 64 * GiB, used: 0, events: [], guests: [{ starts: 0, spec: { name: 'a', maximum: GiB } }] });
  t.ok(scenario.duration > 0 && scenario.duration === scenario.restAt, 'it lasts until the targets must be at rest');
});

t.test('a guest with a count is so many guests; sizes, rates and settings are written as in the configuration file', async (t) => {
  const { guests, config, seed, duration } = parseScenario(
    'seed: 3\nduration: 10\nconfig: { pool: 4GiB, interval: 2 }\nguests: [{ name: web, count: 2, max: 1GiB, size: 512MiB, uses: 100MiB, eats: [{ at: 1, size: 300MiB, rate: 100MiB/s }] }]',
    's.yaml',
    9,
  );
  t.same(
    guests.map(({ spec }) => spec.name),
    ['web1', 'web2'],
  );
  t.equal(guests[0]?.spec.uses(2000), 200 * MiB);
  t.match(config, { pool: 4 * GiB, intervalMs: 2000 });
  t.equal(seed, 9, 'the one given goes before the one in the file');
  t.equal(duration, 10_000);
});

t.test('kinds of memory have short forms, and huge pages are enough for the guests on them', async (t) => {
  const { guests, hugePages, arc, arcMinimum, cgroup } = parseScenario(
    `host: { memory: 64GiB, arc: 8GiB, arc-min: 1GiB, hugepages: 1GiB }
guests:
  - { name: a, max: 4GiB, figures: hugetlb }
  - { name: b, max: 4GiB, figures: filebacked }
  - { name: c, max: 4GiB, figures: nvdimm }
  - { name: d, max: 4GiB, figures: windows, backing: file, nvdimm: 1GiB, virtio-mem: 2GiB, hard-limit: 3GiB, most: 2GiB }`,
    's.yaml',
  );
  t.match(
    guests.map(({ spec }) => spec),
    [
      { backing: 'hugetlb', figures: undefined },
      { backing: 'file' },
      { nvdimm: 64 * GiB },
      { figures: 'windows', backing: 'file', nvdimm: GiB, virtioMem: 2 * GiB, hardLimit: 3 * GiB, most: 2 * GiB },
    ],
  );
  t.same([hugePages, arc, arcMinimum, cgroup], [4 * GiB, 8 * GiB, GiB, Number.POSITIVE_INFINITY]);
});

t.test('what goes on for ever is not judged for rest', async (t) => {
  const { restAt, duration } = parseScenario('guests: [{ name: a, max: 1GiB, eats: [{ at: 1, size: 1MiB }], repeat: 5 }]', 's.yaml');
  t.equal(restAt, Number.POSITIVE_INFINITY);
  t.equal(duration, 120_000);
});

for (const [text, message] of [
  ['', /s\.yaml: guests: is missing/],
  ['guests: []', /s\.yaml:1: guests: must name a guest/],
  ['guests: [{ name: a }]', /s\.yaml:1: guests\[0\]\.max: /],
  ['guests:\n  - { name: a, max: 1GiB, siz: 1GiB }', /s\.yaml:2: guests\[0\]\.siz: no such setting, did you mean 'size'\?/],
  ['guests: [{ name: a, max: 1GiB, eats: [{ at: 1, siz: 1MiB }] }]', /eats\[0\]\.siz: no such setting, did you mean 'size'\?/],
  [`${guests}config: { pol: 1GiB }`, /s\.yaml:2: config\.pol: no such setting, did you mean 'pool'\?/],
  ['guests: [{ name: a, max: 1GiB }, { name: a, max: 1GiB }]', /s\.yaml:1: guests\[1\]\.name: two are named a/],
  ['guests: [{ name: a, max: 1GiB, size: 2GiB }]', /s\.yaml:1: guests\[0\]\.size: must not be more than max/],
  [`host: { memory: 4GiB, used: 5GiB }\n${guests}`, /s\.yaml:1: host\.used: must not be more than memory/],
  ['guests:\n  - { name: a, max: 1GiB, count: 600 }\n  - { name: b, max: 1GiB, count: 600 }', /s\.yaml:2: guests: must be 1000 at most/],
  [
    `${guests}events: [{ at: 1, do: clock, by: 1e300 }]`,
    /s\.yaml:2: events\[0\]\.by: must be a number of seconds from -1000000000 to 1000000000/,
  ],
  [`host: { memory: 4GiB, used: 1GiB, arc: 4GiB }\n${guests}`, /s\.yaml:1: host\.memory: must leave used, arc and hugepages room/],
  [`host: { memory: 4GiB, arc-min: 1GiB }\n${guests}`, /s\.yaml:1: host\.arc-min: must not be more than arc/],
  ['guests: [{ name: a, max: 1GiB, backing: ram }]', /guests\[0\]\.backing: must be hugetlb or file/],
  [`${guests}events: [{ at: 1, do: slow-list }]`, /slow-list: takes for: how many seconds/],
  [`${guests}events: [{ at: 1, do: dance, guest: a }]`, /events\[0\]\.do: must be one of: pause, hang/],
  [`${guests}events: [{ at: 1, do: reboot }]`, /s\.yaml:2: events\[0\]\.guest: reboot: guest must be one of the guests/],
  [`${guests}events: [{ at: 1, do: reboot, guest: b }]`, /reboot: guest must be one of the guests/],
  [`${guests}events: [{ at: 1, do: eat, guest: a, size: 1MiB, for: 1 }]`, /eat: befalls the host/],
  [`${guests}events: [{ at: 1, do: pause, guest: a }]`, /pause: takes for: how many seconds/],
  [`${guests}events: [{ at: 1, do: kill, guest: a, for: 2 }]`, /kill: lasts for no time/],
  [`${guests}events: [{ at: 1, do: set, guest: a }]`, /set: takes a size/],
  [`${guests}events: [{ at: 1, do: clock }]`, /clock: takes by/],
] as const)
  t.test(`refused, with the place and what to write: ${text.slice(0, 60)}`, async (t) => {
    t.throws(() => parseScenario(text, 's.yaml'), { code: 'ERR_MEMCOORD_CONFIG', message });
  });
