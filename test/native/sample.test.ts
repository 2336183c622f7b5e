import t from 'tap';
import { loadBinding } from '../../lib/libvirt/load.js';
import * as sweep from '../../lib/sweep.js';
import { failureOf, hostOf, METADATA, makeGuests, open, SOON } from './support.js';

const { STRIDE } = sweep;

t.test('the addon and lib/sweep.ts have the same fields in the same order', async (t) => {
  const { fields } = loadBinding();
  t.equal(fields.length, STRIDE);
  const values = sweep as unknown as Record<string, number>;
  t.same(
    fields.map((name) => values[name]),
    fields.map((_, i) => i),
  );
});

t.test('a sweep reads every running guest', async (t) => {
  const guests = makeGuests(3);
  const connection = await open(t, await hostOf(t, guests));
  const before = Number(process.hrtime.bigint()) / 1e6;
  const { guests: found, figures } = await connection.sample(SOON);
  const after = Number(process.hrtime.bigint()) / 1e6;
  t.same(
    found?.map(({ name, uuid }) => ({ name, uuid })),
    guests.map(({ name, uuid }) => ({ name, uuid })),
  );
  t.same(
    found?.map(({ id }) => id),
    [1, 2, 3],
    'in the order of their ids',
  );
  t.equal(figures.length, 3 * STRIDE);
  guests.forEach(({ maximum, current }, i) => {
    const row = figures.subarray(i * STRIDE, (i + 1) * STRIDE);
    t.equal(row[sweep.STATUS], sweep.READ);
    t.ok(Number.isNaN(row[sweep.ERROR]));
    t.equal(row[sweep.STATE], 1, 'running');
    t.equal(row[sweep.MAXIMUM], maximum);
    t.equal(row[sweep.ACTUAL], current);
    t.equal(row[sweep.AVAILABLE], current, "the test driver's own rules from here on");
    t.equal(row[sweep.UNUSED], current / 2);
    t.equal(row[sweep.USABLE], current / 2);
    t.equal(row[sweep.DISK_CACHES], current / 8);
    t.equal(row[sweep.RSS], current / 2);
    t.equal(row[sweep.SWAP_IN], 0);
    t.equal(row[sweep.SWAP_OUT], 0);
    t.equal(row[sweep.LAST_UPDATE], 627_319_920);
    const readAt = row[sweep.READ_AT] ?? Number.NaN;
    t.ok(readAt >= before && readAt <= after, 'dated by the clock of process.hrtime');
  });
});

t.test('the guests are named only when the set of them has changed', async (t) => {
  const connection = await open(t, await hostOf(t, makeGuests(2)));
  t.equal((await connection.sample(SOON)).guests?.length, 2);
  t.equal((await connection.sample(SOON)).guests, undefined);
});

t.test('a host without guests gives an empty sweep', async (t) => {
  const connection = await open(t, await hostOf(t, []));
  const { guests, figures } = await connection.sample(SOON);
  t.same(guests, []);
  t.equal(figures.length, 0);
});

t.test('guests that were not named are not asked', async (t) => {
  const guests = makeGuests(3);
  const connection = await open(t, await hostOf(t, guests));
  const { figures } = await connection.sample({ ...SOON, only: [guests[1]?.uuid ?? ''] });
  t.same(
    [0, 1, 2].map((i) => figures[i * STRIDE]),
    [sweep.NOT_ASKED, sweep.READ, sweep.NOT_ASKED],
  );
  t.ok(Number.isNaN(figures[sweep.ACTUAL]));
});

t.test('disk reads that the hypervisor does not tell are -1, and all else is as it was', async (t) => {
  const guests = makeGuests(3);
  const uuids = guests.map(({ uuid }) => uuid);
  const connection = await open(t, await hostOf(t, guests));
  for (const reads of [[], uuids, ['no such guest']]) {
    const { figures } = await connection.sample({ ...SOON, only: uuids.slice(0, 2), reads });
    t.same(
      [0, 1, 2].map((i) => figures[i * STRIDE]),
      [sweep.READ, sweep.READ, sweep.NOT_ASKED],
    );
    t.same(
      [0, 1, 2].map((i) => figures[i * STRIDE + sweep.ACTUAL]),
      [guests[0]?.current, guests[1]?.current, Number.NaN],
    );
    const untold = uuids.slice(0, 2).map((uuid) => (reads.includes(uuid) ? -1 : Number.NaN));
    t.same(
      [0, 1, 2].map((i) => figures[i * STRIDE + sweep.READS]),
      [...untold, Number.NaN],
      'the test driver wants a path',
    );
    t.ok([0, 1, 2].every((i) => Number.isNaN(figures[i * STRIDE + sweep.ERROR])));
  }
});

t.test('five hundred guests are read in one sweep', async (t) => {
  const guests = makeGuests(500);
  const connection = await open(t, await hostOf(t, guests));
  const { guests: found, figures } = await connection.sample(SOON);
  t.equal(found?.length, 500);
  t.same(
    found?.map((_, i) => figures[i * STRIDE + sweep.ACTUAL]),
    guests.map(({ current }) => current),
  );
});

t.test('sweeps may overlap', async (t) => {
  const connection = await open(t, await hostOf(t, makeGuests(20)));
  const sweeps = await Promise.all(Array.from({ length: 10 }, () => connection.sample(SOON)));
  for (const { figures } of sweeps) {
    t.ok(Array.from({ length: 20 }, (_, i) => figures[i * STRIDE]).every((status) => status === sweep.READ));
  }
});

t.test('a batch of moves gives one result each', async (t) => {
  const guests = makeGuests(2);
  const [one, two] = guests.map(({ uuid }) => uuid) as [string, string];
  const connection = await open(t, await hostOf(t, guests));
  const gone = '00000000-0000-4000-8000-000000000000';
  const results = await connection.setMemory(
    [
      { uuid: one, kib: 700_000 },
      { uuid: two, kib: 9_000_000 },
      { uuid: gone, kib: 700_000 },
      { uuid: one, kib: 800_000 },
    ],
    SOON,
  );
  t.match(results, [
    null,
    { code: 'ERR_LIBVIRT_INVALID_ARG', libvirtCode: 8, libvirtDomain: 12, domain: 'guest1' },
    { code: 'ERR_LIBVIRT_NO_DOMAIN', libvirtCode: 42 },
    null,
  ]);
  const { figures } = await connection.sample(SOON);
  t.equal(figures[sweep.ACTUAL], 800_000, 'two moves of one guest keep their order');
  t.equal(figures[STRIDE + sweep.ACTUAL], guests[1]?.current);
  t.same(await connection.setMemory([], SOON), []);
});

t.test('a guest is described by its XML and the metadata of the namespace asked for', async (t) => {
  const [guest] = makeGuests(1) as [ReturnType<typeof makeGuests>[number]];
  const connection = await open(t, await hostOf(t, [guest]));
  const { xml, metadata } = await connection.describe(guest.uuid, { ...SOON, metadataUri: METADATA });
  t.match(xml, `<name>${guest.name}</name>`);
  t.match(metadata, /of guest0/);
  t.equal((await connection.describe(guest.uuid, { ...SOON, metadataUri: 'urn:example:none' })).metadata, null);
  const error = await failureOf(connection.describe('00000000-0000-4000-8000-000000000000', { ...SOON, metadataUri: METADATA }));
  t.equal(error.code, 'ERR_LIBVIRT_NO_DOMAIN');
});

t.test('a stats period that was set shows in the XML, and a refresh leaves it as it was', async (t) => {
  const [guest] = makeGuests(1) as [ReturnType<typeof makeGuests>[number]];
  const connection = await open(t, await hostOf(t, [guest]));
  const period = async () =>
    /<stats period='(\d+)'/.exec((await connection.describe(guest.uuid, { ...SOON, metadataUri: METADATA })).xml)?.[1];
  t.equal(await period(), undefined);
  await connection.setStatsPeriod(guest.uuid, 3, SOON);
  t.equal(await period(), '3');
  t.ok(Number.isNaN((await connection.sample(SOON)).figures[sweep.REFRESHED]), 'not asked for');
  const started = performance.now();
  const { figures } = await connection.sample({ ...SOON, refresh: [{ uuid: guest.uuid, seconds: 3 }] });
  t.equal(figures[sweep.STATUS], sweep.READ);
  t.equal(figures[sweep.REFRESHED], 0);
  t.ok(performance.now() - started >= 20, 'the guest was given time to answer');
  t.equal(await period(), '3');
});

t.test('a refresh that the hypervisor refuses is told with its error, and the guest is read without waiting', async (t) => {
  const uuid = 'a52f5b3e-5d5c-4ac0-9bd0-1d5f6c0c5a10';
  const balloonless = `<domain type='test'><name>balloonless</name><uuid>${uuid}</uuid><memory>1048576</memory><os><type>hvm</type></os>
    <devices><memballoon model='none'/></devices></domain>`;
  const connection = await open(t, await hostOf(t, [], balloonless));
  const { figures } = await connection.sample({ ...SOON, refresh: [{ uuid, seconds: 3 }] });
  t.equal(figures[sweep.STATUS], sweep.READ);
  const { libvirtCode } = await failureOf(connection.setStatsPeriod(uuid, 3, SOON));
  t.equal(figures[sweep.REFRESHED], libvirtCode);
  t.ok(libvirtCode);
});

t.test('the host tells its capabilities', async (t) => {
  t.match(await (await open(t, 'test:///default')).capabilities(SOON), /^<capabilities>/);
});
