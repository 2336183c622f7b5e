import t from 'tap';
import { MiB } from '../../lib/common/units.js';
import { BOOT_MS, type GuestSpec, SimGuest } from '../../lib/sim/guest.js';
import { noise, settledAt, through } from '../../lib/sim/workload.js';

const KIB_OF = (mib: number) => mib * MiB;

function guest(spec: Partial<GuestSpec> = {}, bootMs = 0): SimGuest {
  return new SimGuest({ name: 'g', maximum: KIB_OF(1024), uses: () => KIB_OF(200), ...spec }, 'uuid', 1, 0, bootMs);
}

/** Lives in steps of 20 ms, as the host has it. */
function live(it: SimGuest, from: number, until: number): void {
  for (let at = from + 20; at <= until; at += 20) it.live(at);
}

t.test('a workload goes from waypoint to waypoint at their rates, and again where it repeats', async (t) => {
  const eats = through(
    [
      { at: 1000, size: 100, rate: 50 },
      { at: 5000, size: 0, rate: Number.POSITIVE_INFINITY },
    ],
    10_000,
  );
  t.same([0, 1000, 2000, 3000, 4000, 5000, 6000, 12_000].map(eats), [0, 0, 50, 100, 100, 0, 0, 50]);
  t.equal(settledAt([{ at: 1000, size: 100, rate: 50 }]), 3000);
  t.equal(through([])(5), 0);
});

t.test('noise is the same for the same seed, and within its bounds', async (t) => {
  const [a, b, c] = [noise(10, 1), noise(10, 1), noise(10, 2)];
  const seconds = Array.from({ length: 50 }, (_, i) => i * 1000);
  t.same(seconds.map(a), seconds.map(b));
  t.notSame(seconds.map(a), seconds.map(c));
  t.ok(seconds.map(a).every((value) => value >= 0 && value <= 10));
  t.equal(noise(0, 1)(5), 0);
});

t.test('a balloon moves at its speed, and takes no more than is free', async (t) => {
  const it = guest({ speed: KIB_OF(100) });
  it.setTarget(KIB_OF(100));
  live(it, 0, 1000);
  t.equal(Math.round(it.actual / MiB), 924);
  live(it, 1000, 20_000);
  t.equal(it.actual, KIB_OF(200), 'down to what it uses');
  t.equal(it.kills, 0, 'the driver kills nobody');
});

t.test('a guest out of memory swaps, then its program is killed and stays so until it takes memory anew', async (t) => {
  const eats = through([
    { at: 0, size: KIB_OF(400), rate: KIB_OF(80) },
    { at: 4500, size: 0, rate: Number.POSITIVE_INFINITY },
    { at: 6000, size: KIB_OF(50), rate: KIB_OF(100) },
  ]);
  const it = guest({ current: KIB_OF(300), swap: KIB_OF(64), base: KIB_OF(100), uses: (at) => KIB_OF(100) + eats(at) });
  live(it, 0, 4400);
  t.equal(it.kills, 1);
  t.equal(Math.round(it.swapOut / MiB), 64);
  t.equal(it.used, KIB_OF(100));
  live(it, 4400, 7000);
  t.equal(Math.round(it.used / MiB), 150, 'a new program');
});

t.test('autodeflate gives back in place of a kill, and rests until it is told something', async (t) => {
  const eats = through([{ at: 0, size: KIB_OF(200), rate: KIB_OF(200) }]);
  const it = guest({ current: KIB_OF(300), autodeflate: true, uses: (at) => KIB_OF(200) + eats(at) });
  live(it, 0, 2000);
  t.equal(it.kills, 0);
  t.equal(it.actual, KIB_OF(400));
  t.equal(it.target, KIB_OF(300));
  t.equal(it.deflatedAt > 0, true);
});

t.test('a guest that boots holds its maximum until its driver is there, and says nothing', async (t) => {
  const it = guest({ current: KIB_OF(512) }, BOOT_MS);
  it.setPeriod(1);
  live(it, 0, BOOT_MS - 20);
  t.equal(it.figures, null);
  t.equal(it.charge, KIB_OF(1024));
  live(it, BOOT_MS - 20, BOOT_MS + 3000);
  t.equal(it.actual, KIB_OF(512));
  t.equal(it.charge, KIB_OF(512));
});

t.test('after a reboot the old figures stand, while it holds its maximum', async (t) => {
  const it = guest({ current: KIB_OF(512) });
  it.setPeriod(1);
  live(it, 0, 2000);
  const before = it.figures;
  it.reboot();
  live(it, 2000, 5000);
  t.equal(it.figures, before);
  t.equal(it.actual, KIB_OF(512), 'what libvirt shows');
  t.equal(it.charge, KIB_OF(1024), 'what is so');
  live(it, 5000, 10_000);
  t.equal(it.charge, KIB_OF(512));
});

t.test(
  'page cache counts as usable and not as unused; work whose cache is gone reads from disk, and faults where it is mapped',
  async (t) => {
    for (const mapped of [false, true]) {
      const it = guest({ current: KIB_OF(512), cache: () => KIB_OF(1000), hot: KIB_OF(200), mapped });
      it.answer();
      t.match(it.figures, { usable: KIB_OF(312), unused: KIB_OF(69), caches: KIB_OF(312) });
      live(it, 0, 1000);
      t.same([it.majorFault, it.diskReads], [0, 0]);
      it.setTarget(KIB_OF(300));
      live(it, 1000, 4000);
      t.ok(it.diskReads > KIB_OF(100), `${it.diskReads} KiB read`);
      t.equal(it.majorFault > 1000, mapped, `${it.majorFault} faults`);
      const { diskReads } = it;
      it.setTarget(KIB_OF(512));
      live(it, 4000, 15_000);
      t.ok(it.diskReads < diskReads + KIB_OF(220), 'what is missing is read once, and is there again');
    }
  },
);

t.test('work that begins later reads its files first; a stream is read and kept by nobody', async (t) => {
  const later = guest({ current: KIB_OF(512), hot: KIB_OF(200), hotFrom: 5000 });
  live(later, 0, 4980);
  t.equal(later.diskReads, 0);
  live(later, 4980, 20_000);
  t.ok(Math.abs(later.diskReads - KIB_OF(200)) < KIB_OF(2), `${later.diskReads} KiB`);
  const stream = guest({ streams: KIB_OF(10) });
  live(stream, 0, 10_000);
  stream.answer();
  t.equal(Math.round(stream.diskReads), KIB_OF(100));
  t.match(stream.figures, { caches: 0 });
});

t.test('tmpfs cannot be taken by the balloon nor by the killer: what is left hangs', async (t) => {
  const it = guest({
    current: KIB_OF(700),
    base: KIB_OF(100),
    uses: () => KIB_OF(100),
    tmpfs: through([{ at: 0, size: KIB_OF(900), rate: KIB_OF(200) }]),
  });
  live(it, 0, 10_000);
  t.ok(it.frozen);
  t.equal(it.kills, 1);
});

t.test('a paused or stopped guest stands still, and so does its clock', async (t) => {
  const it = guest({ uses: (at) => at });
  it.paused = true;
  live(it, 0, 5000);
  t.equal(it.used, 0);
  it.paused = false;
  live(it, 5000, 6000);
  t.equal(it.used, 1000);
});

t.test('QEMU takes no target above its RAM, and a balloon may not come up to it', async (t) => {
  const it = guest({ current: KIB_OF(512), nvdimm: KIB_OF(8192), most: KIB_OF(800) });
  t.equal(it.deviceMemory, KIB_OF(8192));
  it.setTarget(KIB_OF(2048));
  t.equal(it.target, KIB_OF(1024));
  live(it, 0, 5000);
  t.equal(it.actual, KIB_OF(800));
});

t.test('what virtio-mem has plugged is memory beside the balloon', async (t) => {
  const it = guest({ current: KIB_OF(512), virtioMem: KIB_OF(2048) });
  it.answer();
  t.equal(it.size, KIB_OF(1536));
  t.match(it.figures, { usable: KIB_OF(1336), available: KIB_OF(1536 - 69) });
  t.equal(it.actual, KIB_OF(512));
});

t.test('MemTotal is never less than what is free of it, however small the balloon', async (t) => {
  const it = guest({ current: KIB_OF(64), uses: () => KIB_OF(10) });
  it.answer();
  t.match(it.figures, { available: KIB_OF(54), usable: KIB_OF(54) });
});

t.test('MemTotal of Windows stays where it was, whatever the balloon', async (t) => {
  const it = guest({ current: KIB_OF(512), figures: 'windows' });
  it.answer();
  t.match(it.figures, { available: KIB_OF(1024 - 69), usable: KIB_OF(312) });
});

t.test('huge pages are in no resident memory; pages of a file are in it', async (t) => {
  const [anonymous, hugetlb, file] = [guest(), guest({ backing: 'hugetlb' }), guest({ backing: 'file' })];
  t.same(
    [anonymous, hugetlb, file].map(({ rss }) => rss / MiB),
    [248, 48, 248],
  );
  t.same(
    [anonymous, hugetlb, file].map(({ rssFile }) => rssFile / MiB),
    [0, 0, 200],
  );
  t.same(
    [anonymous, hugetlb, file].map(({ mayTake }) => mayTake / MiB),
    [824, 0, 824],
  );
});

t.test('what Linux was just given does not all count as free, and is taken first', async (t) => {
  let uses = KIB_OF(200);
  const it = guest({ current: KIB_OF(400), uses: () => uses });
  it.setPeriod(1);
  const at = (until: number) => {
    live(it, until - 1000, until);
    it.answer();
    return { usable: Math.round((it.figures?.usable ?? Number.NaN) / MiB), rss: Math.round(it.rss / MiB) };
  };
  const { rss } = at(1000);
  it.setTarget(KIB_OF(500));
  t.same(at(2000), { usable: 250, rss }, 'of 100 MiB given 50 count');
  uses += KIB_OF(40);
  t.same(at(3000), { usable: 250, rss: rss + 40 }, 'taken of those that do not');
  uses += KIB_OF(40);
  t.same(at(4000), { usable: 220, rss: rss + 80 });
  uses -= KIB_OF(60);
  t.same(at(5000), { usable: 280, rss: rss + 80 });
  it.setTarget(KIB_OF(530));
  t.same(at(6000), { usable: 280, rss: rss + 80 });
  uses += KIB_OF(20);
  t.same(at(7000), { usable: 280, rss: rss + 100 }, 'though it has touched memory that is free');
  it.setTarget(KIB_OF(500));
  t.same(at(8000), { usable: 260, rss: rss + 100 }, 'the balloon takes it first, too');
});
