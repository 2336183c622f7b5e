/** The account by evidence: what there is, and what each use of memory may spend of it (docs/policy.md). */
import t from 'tap';
import { GiB, MiB } from '../../lib/common/units.js';
import type { Account } from '../../lib/policy/account.js';
import { DRAIN_HALVES, GRANT_SHOWS, RISE_AT_ONCE, RIVAL_SEEN } from '../../lib/policy/limits.js';
import { guest, World, type WorldGuest } from './world.js';

/** The account of a host whose guests are known, in MiB. */
function accountOf(world: World): Account {
  world.sample();
  world.sample();
  return inMiB(world.sample().account);
}

function inMiB(account: Account): Account {
  return Object.fromEntries(Object.entries(account).map(([key, kib]) => [key, Math.round(kib / MiB)])) as unknown as Account;
}

/** A host of 16 GiB: the reserve is 819 MiB, and a guest can take 400 MiB before memcoord reacts. */
function hostOf(guests: WorldGuest[], settings: Partial<World> = {}): World {
  return Object.assign(new World(guests, settings.config), { total: 16 * GiB }, settings);
}

const RESERVE = 819;
const AT_ONCE = 400;

t.test('a controlled guest is charged its balloon and its overhead, any other one is missing from what is available', async (t) => {
  const world = hostOf([
    guest('a', { actual: 1024 * MiB, used: 300 * MiB }),
    guest('b', { actual: 600 * MiB, used: 500 * MiB }),
    guest('other', { actual: 1024 * MiB, used: 200 * MiB, included: false }),
  ]);
  const held = 300 + 500 + 200 + 3 * 48;
  const untouched = 724 + 100 + 824;
  const liability = 2 * AT_ONCE;
  t.match(accountOf(world), {
    available: 16384 - held,
    charged: 1024 + 600,
    overhead: 2 * 48,
    uncontrolled: 200 + 48,
    untouched,
    liability,
    granted: 0,
    room: 16384 - held - RESERVE - liability,
    optionalRoom: 16384 - held - RESERVE - untouched,
    shortage: 0,
  });
});

t.test('an overhead is what the process holds beyond the balloon, and 48 MiB where that shows no more', async (t) => {
  const full = { actual: 512 * MiB, touched: 512 * MiB };
  t.equal(accountOf(hostOf([guest('a', { ...full, overhead: 300 * MiB })])).overhead, 300);
  t.equal(accountOf(hostOf([guest('a', { ...full, overhead: 20 * MiB })])).overhead, 48);
});

t.test('need has room on a host where one guest could take more than there is; cushions have none', async (t) => {
  const blind = guest('blind', { driver: false, maximum: 14 * GiB, used: 2 * GiB });
  const account = accountOf(hostOf([blind, guest('a', { used: 460 * MiB })]));
  t.equal(account.room, account.available - RESERVE - AT_ONCE - 52);
  t.ok(account.room > 11_000);
  t.equal(account.optionalRoom, account.available - RESERVE - 12 * 1024 - 52);
});

t.test('of all that guests can take, need leaves what the few largest can before memcoord reacts', async (t) => {
  const guests = [100, 200, 300, 500, 900].map((may, i) => guest(`g${i}`, { actual: (200 + may) * MiB, used: 200 * MiB, included: false }));
  const { untouched, liability } = accountOf(hostOf(guests));
  t.equal(RISE_AT_ONCE, 2);
  t.equal(untouched, 100 + 200 + 300 + 500 + 900);
  t.equal(liability, 2 * AT_ONCE, 'each no more than burst × 2 s');
  const slow = hostOf(guests);
  slow.config = { ...slow.config, burstKiBs: 50 * MiB };
  t.equal(accountOf(slow).liability, 2 * 100);
  t.equal(accountOf(hostOf(guests.slice(0, 3))).liability, 300 + 200, 'and no more than it may take');
});

t.test('what guests can take before we react is two seconds of the burst, or an interval and one where that is less', async (t) => {
  for (const [intervalMs, liability] of [
    [500, 300],
    [1000, 400],
    [5000, 400],
  ] as const) {
    const world = hostOf([guest('a', { actual: GiB, used: 400 * MiB })]);
    world.config = { ...world.config, intervalMs };
    t.equal(accountOf(world).liability, liability);
  }
});

t.test("ZFS' ARC above its minimum is available, its minimum is not", async (t) => {
  const world = hostOf([guest('a', { used: 500 * MiB })], { arc: 10 * GiB, arcMinimum: GiB });
  t.equal(accountOf(world).available, 16384 - 1024 - 548);
});

t.test('in one sample no more of the ARC is spent than is free without it, less 200 MiB: it shrinks slowly', async (t) => {
  const world = hostOf([guest('a', { used: 500 * MiB })], { arc: 14 * GiB, arcMinimum: GiB });
  const memAvailable = 16384 - 15 * 1024 - 548;
  t.equal(accountOf(world).room, memAvailable - 200);
  const none = hostOf([guest('a', { used: 500 * MiB })], { arc: 14 * GiB, available: 100 * MiB });
  t.equal(accountOf(none).room, 0);
  t.equal(accountOf(none).shortage, 0, 'but the host is not short');
});

t.test('the tightest cgroup limit over the guests bounds what is available', async (t) => {
  const world = hostOf([guest('a', { used: 500 * MiB })], { cgroupRoom: 3 * GiB, arc: 2 * GiB });
  const account = accountOf(world);
  t.equal(account.available, 3072);
  t.equal(account.room, 3072 - RESERVE - 12);
  world.cgroupRoom = 500 * MiB;
  for (let ms = 0; ms < 10_000; ms += 1000) world.sample();
  t.equal(Math.round(accountOf(world).shortage), RESERVE - 500);
});

t.test('pages of a file, which are in both figures of the host, count once', async (t) => {
  const accounts = (['anonymous', 'file'] as const).map((backing) => {
    const settings = { actual: 4 * GiB, maximum: 4 * GiB, used: GiB, touched: 3 * GiB, backing };
    return accountOf(hostOf([guest('a', settings), guest('other', { ...settings, included: false })]));
  });
  t.same(accounts[1], accounts[0]);
});

t.test('a guest on huge pages is outside on both sides, and the reserve is a part of what is no huge page', async (t) => {
  const huge = guest('huge', { maximum: 6 * GiB, actual: 6 * GiB, used: 2 * GiB, backing: 'hugepages', obstacles: ['hugepages'] });
  const account = accountOf(hostOf([huge], { total: 32 * GiB, hugePages: 8 * GiB }));
  t.equal(account.reserve, Math.round(0.05 * 24 * 1024));
  t.equal(account.available, 24 * 1024 - 48);
  t.match(account, { charged: 0, untouched: 0, liability: 0 });
});

t.test('a guest with virtio-mem may take what its balloon and its device have', async (t) => {
  const settings = { actual: 2 * GiB, used: GiB, virtioMem: 4 * GiB, deviceMemory: 16 * GiB, obstacles: ['virtio-mem'] };
  t.equal(accountOf(hostOf([guest('a', settings)])).untouched, 2048 + 4096 - 1024);
});

t.test('memory devices are not in what the balloon may have', async (t) => {
  const world = hostOf([guest('a', { deviceMemory: 256 * GiB, driver: false, used: GiB })]);
  t.equal(accountOf(world).untouched, 1024);
  t.equal(world.model.guests[0]?.maximum, 2 * GiB);
});

t.test('a guest that is left out may take what its driver leaves it; its maximum once it has rebooted', async (t) => {
  const world = hostOf([guest('a', { actual: GiB, used: 200 * MiB, included: false }), guest('b')]);
  const left = () => inMiB(world.sample().account).untouched - (512 - 150);
  accountOf(world);
  t.equal(left(), 1024 - 200);
  world.rebooted.add('a');
  world.find('a').answers = false;
  t.equal(left(), 2048 - 200);
});

t.test('a guest that boots may take what its balloon leaves it, which is its maximum before a driver holds it', async (t) => {
  t.equal(accountOf(hostOf([guest('a', { driver: false, used: 300 * MiB })])).untouched, 2048 - 300);
});

t.test('a guest whose memory is pinned takes nothing more', async (t) => {
  t.match(accountOf(hostOf([guest('a', { obstacles: ['vfio device hostdev0'] })])), { uncontrolled: 2048 + 48, untouched: 0, charged: 0 });
});

/** A host with a guest in need that was given memory: the grant, KiB, and the sample after it. */
function granted(): { world: World; grant: number } {
  const world = hostOf([guest('a', { used: 490 * MiB })]);
  world.run(2);
  const [move] = world.run(1);
  return { world, grant: (move?.to ?? 0) - (move?.from ?? 0) };
}

t.test('a grant is counted in full until it shows in the resident memory of the process', async (t) => {
  const { world, grant } = granted();
  t.ok(grant > 50 * MiB);
  t.equal(world.sample().account.granted, grant);
  world.find('a').used += 40 * MiB;
  t.equal(world.sample().account.granted, grant - 40 * MiB);
  world.find('a').used += grant - 40 * MiB - 20 * MiB;
  t.equal(world.sample().account.granted, 20 * MiB);
});

t.test('a grant that does not show counts for five seconds at least and ten at most; then as what the guest can still take', async (t) => {
  const { world, grant } = granted();
  let account = world.sample().account;
  const since = world.at;
  while (world.at - since < GRANT_SHOWS / 2 - 1000) account = world.sample().account;
  t.equal(account.granted, grant);
  while (world.at - since < GRANT_SHOWS) account = world.sample().account;
  t.equal(account.granted, 0);
  t.ok(account.liability >= 50 * MiB);
});

t.test('who starves may have all that is above the reserve, less what others that rise are kept alive with', async (t) => {
  const { world, grant } = granted();
  const idle = world.sample().account;
  t.equal(idle.granted, grant);
  t.equal(idle.reliefRoom, idle.available - idle.reserve);
  world.find('a').used += 30 * MiB;
  const { available, reserve, reliefRoom, room } = world.sample().account;
  t.ok(reliefRoom > room && reliefRoom < available - reserve, `${(available - reserve - reliefRoom) / MiB} MiB are about to be taken`);
});

t.test('but no more than the host is seen to lose: who rose and has stopped bars nobody', async (t) => {
  const { world } = granted();
  world.find('a').used += 30 * MiB;
  const kept = () => {
    const { available, reserve, reliefRoom } = world.sample(100).account;
    return available - reserve - reliefRoom;
  };
  const first = kept();
  t.ok(first > 20 * MiB);
  for (let ms = 0; ms < 1700; ms += 100) kept();
  t.ok(kept() < first / 2);
});

t.test('the host is short of what it loses until donors have given', async (t) => {
  const world = hostOf([guest('a', { used: 400 * MiB, actual: GiB })]);
  world.sample();
  const { soon, available } = world.sample().account;
  t.equal(soon, available);
  world.available = available - 100 * MiB;
  // No more than all guests at `burst`, and what was seen so long ago counts half.
  t.equal(world.sample(DRAIN_HALVES).account.soon, available - 100 * MiB - 0.6 * 100 * MiB);
  world.config = { ...world.config, samplingBudget: 0, intervalMs: 2000 };
  t.equal(world.sample(DRAIN_HALVES).account.soon, available - 100 * MiB - 2.5 * 50 * MiB, 'without extra samples, at the next sweep');
});

t.test('a cushion that is given is no grant: it may be taken, as all that is held untouched', async (t) => {
  const world = hostOf([guest('a', { used: 400 * MiB, actual: 505 * MiB })]);
  world.config = { ...world.config, burstKiBs: 400 * MiB };
  const moves = world.run(4);
  t.ok(moves.length > 0 && moves.every(({ reason }) => reason === 'surplus'));
  t.equal(world.sample().account.granted, 0);
});

t.test('while somebody else is seen to move guests, need spends half of the room', async (t) => {
  const world = hostOf([guest('a', { actual: 700 * MiB, used: 300 * MiB }), guest('b')]);
  world.run(10);
  const { room } = inMiB(world.sample().account);
  const before = world.find('b').actual;
  world.find('b').actual = before + 40 * MiB;
  world.sample();
  const { account } = world.sample();
  t.equal(account.room, (account.available - account.reserve - account.liability - account.granted) / 2);
  t.ok(account.room < 0.6 * room * MiB);
  world.sample(RIVAL_SEEN);
  t.ok(inMiB(world.sample().account).room > 0.9 * room);
});

t.test('against the pool controlled guests count with their balloons, others with what they hold', async (t) => {
  const guests = [guest('a', { actual: GiB, used: 300 * MiB }), guest('other', { actual: GiB, used: 200 * MiB, included: false })];
  const world = hostOf(guests);
  world.config = { ...world.config, pool: 2 * GiB };
  const account = accountOf(world);
  t.equal(account.poolRoom, 2048 - 1024 - 248);
  t.equal(account.room, account.poolRoom);
  t.equal(account.optionalRoom, account.poolRoom);
  world.config = { ...world.config, pool: GiB };
  t.equal(accountOf(world).shortage, 248, 'what the guests hold above the pool is to come back');
});

t.test('a pool may be a part of the host', async (t) => {
  const world = hostOf([guest('a', { actual: GiB })]);
  world.config = { ...world.config, pool: { percent: 50 } };
  t.equal(accountOf(world).poolRoom, 8192 - 1024);
});

t.test('a host under its reserve is short by what is missing, and has no room', async (t) => {
  const world = hostOf([guest('a', { actual: GiB, used: 500 * MiB })], { available: 600 * MiB });
  t.match(accountOf(world), { shortage: RESERVE - 600, available: 600 });
  t.ok(accountOf(world).room < 0);
});

t.test('the reserve is 5 % of the host, 512 MiB where that is more, and never under 200 MiB', async (t) => {
  t.equal(accountOf(hostOf([], { total: 64 * GiB })).reserve, Math.round(0.05 * 64 * 1024));
  t.equal(accountOf(hostOf([], { total: 4 * GiB })).reserve, 512);
  const world = hostOf([]);
  world.config = { ...world.config, reserve: 0 };
  t.equal(accountOf(world).reserve, 200);
});

t.test('what a process holds that was never read is nothing, and takes no room', async (t) => {
  const world = hostOf([guest('a'), guest('unread')]);
  world.unread.add('unread');
  t.match(accountOf(world), { uncontrolled: 0, available: 16384 - 2 * (150 + 48) });
});
