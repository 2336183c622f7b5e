import t from 'tap';
import { randomFrom } from './faults/random.js';
import {
  allEat,
  growsWithinRoom,
  keepsGrowing,
  keepsReading,
  longestWait,
  nobodyHurt,
  notMoved,
  periodsBack,
  type RoomSample,
  roomIsRead,
  said,
  staysInPool,
  type Told,
} from './faults/verdicts.js';
import type { Reading } from './faults/watch.js';
import { FAULTS, faultsNamed } from './faults.js';
import { startTap } from './tap.js';

const MiB = 1024;

/** Readings of one guest, one each second. */
function readings(sizes: readonly (number | undefined)[], took = 0.01): Reading[] {
  return sizes.map((size, t) => ({ t, took, actual: size === undefined ? {} : { vm: size * MiB }, rss: { vm: 250 * MiB } }));
}

t.test('an eater waits while its guest has less to use than memcoord would leave it', async (t) => {
  const meals = (usable: readonly number[], rate = 10) => usable.map((size, t) => ({ t, eaten: rate * t * MiB, usable: size * MiB }));
  const wait = (...usable: number[]) => longestWait(meals(usable));
  t.equal(wait(128, 120, 115, 100), 0);
  t.equal(wait(128, 98, 90, 120, 99, 128), 2);
  t.equal(wait(128, 99, 90, 80, 70), 3, 'one that lasts until the end counts');
  const late = new Map([['vm', meals([128, 99, 90, 80, 70])]]);
  t.match(keepsGrowing(late, 0, 4, 2.25), {
    ok: false,
    detail: 'vm ate 40 MiB within 4.0 s, had 70 MiB at least, too little for 3.0 s',
  });
  t.equal(keepsGrowing(late, 0, 4, 3.25).ok, true);
  t.equal(keepsGrowing(new Map([['vm', meals([128, 128, 128], 0)]]), 0, 2, 2.25).ok, false, 'one that does not eat proves nothing');
  t.equal(keepsGrowing(new Map(), 0, 2, 2.25).ok, false);
});

t.test('a gap between two readings counts from the first moment to the last, for each guest', async (t) => {
  const gap = (...times: number[]) => keepsReading(new Map([['vm', times]]), ['vm'], 10, 14, 2);
  t.match(gap(9, 11, 12.5, 14.5), { ok: true, detail: 'vm 1.50 s' });
  t.match(gap(9, 12.5, 14), { ok: false, detail: 'vm 2.50 s' });
  t.match(gap(11), { ok: false, detail: 'vm 3.00 s' });
  t.match(gap(), { ok: false, detail: 'vm 4.00 s' });
  t.equal(keepsReading(new Map([['vm', [11, 13]]]), ['vm', 'other'], 10, 14, 2).ok, false, 'one that is not read at all');
  t.equal(keepsReading(new Map(), [], 10, 14, 2).ok, false);
});

t.test('the sum of actual may not pass the pool in any reading short enough to tell', async (t) => {
  t.equal(staysInPool(readings([300, 400]), 400 * MiB).ok, true);
  t.equal(staysInPool(readings([300, 401, 300]), 400 * MiB).ok, false);
  t.equal(staysInPool(readings([300, 401], 0.2), 400 * MiB).ok, false, 'no reading that could tell is no proof');
  t.equal(staysInPool(readings([401, 300]), 400 * MiB, { from: 1 }).ok, true);
  const other = { uncontrolled: ['vm'] };
  t.equal(staysInPool(readings([2048, 2048]), 400 * MiB, other).ok, true, 'a guest that is not controlled counts with what it holds');
  t.equal(staysInPool(readings([2048, 2048]), 249 * MiB, other).ok, false);
});

t.test('an eater that is killed or gets less than it wants is seen', async (t) => {
  const eater = { guest: 'vm', wanted: 300 * MiB, held: 300 * MiB, killed: false };
  t.match(allEat([eater]), { ok: true, detail: '0 of 1 killed: vm 300 MiB of 300 MiB' });
  t.match(allEat([eater, { ...eater, held: 107 * MiB, killed: true }]), {
    ok: false,
    detail: /^1 of 2 killed: .*vm killed at 107 MiB of 300 MiB$/,
  });
  t.equal(allEat([{ ...eater, held: 299 * MiB }]).ok, false);
  t.equal(allEat([]).ok, false, 'nobody who eats is no proof');
});

t.test('a guest that is to be left alone may neither be ordered to move nor move', async (t) => {
  t.equal(notMoved(readings([300, 300]), [{ guest: 'other' }], ['vm']).ok, true);
  t.match(notMoved(readings([300, 300]), [{ guest: 'vm' }], ['vm']), { ok: false, detail: 'vm has 1 moves, from 300 MiB to 300 MiB' });
  t.equal(notMoved(readings([300, 301]), [], ['vm']).ok, false);
  t.match(notMoved(readings([300, 300]), [], ['vm', 'other']), { ok: false, detail: 'other was never read' });
});

t.test('the room in a cgroup must be read as it is, in every sample', async (t) => {
  const samples = (...rooms: (number | null)[]): RoomSample[] =>
    rooms.map((room, t) => ({ t, host: { cgroupRoom: room === null ? null : room * MiB }, moves: [] }));
  const rooms = [1000, 900, 800].map((room, t) => ({ t, room: room * MiB }));
  t.match(roomIsRead(samples(1000, 900, 800), rooms), { ok: true, detail: '3 samples, at most 0 MiB apart' });
  t.equal(roomIsRead(samples(950, 850, 750), rooms).ok, true, 'guests eat between the two readings');
  t.match(roomIsRead(samples(1000, 900, 700), rooms), { ok: false, detail: '3 samples, at most 100 MiB apart' });
  t.equal(roomIsRead(samples(1000, 1100, 800), rooms).ok, false);
  t.match(roomIsRead(samples(1000, null, 800), rooms), { ok: false, detail: 'cgroupRoom is not read' });
  t.equal(roomIsRead(samples(1000), []).ok, false, 'nothing to compare with is no proof');
});

t.test('all growth of a cycle together stays within the room in the cgroup', async (t) => {
  const sample = (room: number | null, ...sizes: [actual: number | null, to: number][]): RoomSample => ({
    t: 0,
    host: { cgroupRoom: room === null ? null : room * MiB },
    moves: sizes.map(([actual, to]) => ({ to: to * MiB, actual: actual === null ? null : actual * MiB })),
  });
  t.match(growsWithinRoom([sample(100, [300, 340], [300, 350]), sample(50)]), {
    ok: true,
    detail: 'at most 90 MiB in a cycle, and at least 10 MiB left',
  });
  t.equal(growsWithinRoom([sample(100, [300, 340], [300, 361])]).ok, false);
  t.equal(growsWithinRoom([sample(100, [400, 300], [300, 401])]).ok, false, 'what others are to give is not there yet');
  t.equal(growsWithinRoom([sample(100, [300, 200])]).ok, false, 'no growth is no proof');
  t.equal(growsWithinRoom([sample(100, [300, 340]), sample(null, [300, 340])]).ok, false);
});

t.test('whoever was killed is seen, before and after a boot', async (t) => {
  const sound = { uptime: 50, oom_kills: 0, eaters_killed: 0, bystander: 1 };
  const hurt = (after: object, before: object = sound) =>
    !nobodyHurt({ vm: { ...sound, ...before } }, { vm: { ...sound, uptime: 60, ...after } }, new Set()).ok;
  t.equal(hurt({}), false);
  t.equal(hurt({ oom_kills: 1 }), true);
  t.equal(hurt({ eaters_killed: 1 }), true);
  t.equal(hurt({ bystander: 0 }), true);
  t.equal(hurt({ oom_kills: 2 }, { oom_kills: 2 }), false, 'what was killed before is no matter of ours');
  t.equal(hurt({ uptime: 5, oom_kills: 2 }, { oom_kills: 2 }), true, 'a boot counts from 0');
  t.equal(nobodyHurt({ vm: sound }, {}, new Set()).ok, false, 'a guest that does not answer is hurt');
  t.equal(nobodyHurt({ vm: sound }, {}, new Set(['vm'])).ok, false, 'nobody asked is no proof');
  t.equal(nobodyHurt({ vm: sound, other: sound }, { vm: { ...sound, uptime: 60 } }, new Set(['other'])).ok, true);
});

t.test('what must be said once may be said neither twice nor of another guest', async (t) => {
  const line = (guest: string): Told => ({ t: 1, kind: 'set-aside', guest, message: `${guest} hangs` });
  t.match(said([line('vm')], 'set-aside', 1, 'vm'), { ok: true, name: "the log says 'set-aside' of vm once", detail: '1.0 s: vm hangs' });
  t.equal(said([line('vm'), line('vm')], 'set-aside', 1, 'vm').ok, false);
  t.match(said([line('other')], 'set-aside', 1, 'vm'), { ok: false, detail: 'not at all' });
  t.equal(said([], 'lost', 0).ok, true);
  t.equal(said([{ ...line(''), kind: 'lost' }], 'lost', 0).ok, false);
});

t.test('a stats period that was not put back is seen', async (t) => {
  t.equal(periodsBack({ a: 7 }, { a: 7, b: 0 }).ok, true);
  t.equal(periodsBack({ a: 7 }, { a: 1, b: 0 }).ok, false);
  t.equal(periodsBack({ a: 7 }, { a: 7, b: 1 }).ok, false);
  t.equal(periodsBack({}, {}).ok, false);
});

t.test('faults are known by their names, and one that is not there is named with all that are', async (t) => {
  t.equal(new Set(FAULTS.map(({ name }) => name)).size, FAULTS.length);
  t.strictSame(
    faultsNamed(['paused']).map(({ name }) => name),
    ['paused'],
  );
  t.throws(() => faultsNamed(['nonsense']), { message: /no fault 'nonsense'; there are .*paused/ });
});

t.test('the same seed gives the same numbers, another one others, all within their bounds', async (t) => {
  const numbers = (seed: number) => {
    const random = randomFrom(seed);
    return Array.from({ length: 1000 }, () => random.whole(3, 9));
  };
  t.strictSame(numbers(1), numbers(1));
  t.strictNotSame(numbers(1), numbers(2));
  t.strictSame([...new Set(numbers(1))].sort(), [3, 4, 5, 6, 7, 8]);
});

t.test('results are TAP: numbered, no number sign in them that would be a directive, and the plan at the end', async (t) => {
  const lines: string[] = [];
  const tap = startTap((line) => lines.push(line));
  tap.result(true, 'a #1', 'b #2');
  tap.result(true, 'c', 'SKIP no daemon');
  tap.result(false, 'd', 'e');
  t.equal(tap.end(), false);
  t.strictSame(lines, [
    'TAP version 14',
    'ok 1 - a 1 (b 2)',
    'ok 2 - c # SKIP no daemon',
    'not ok 3 - d (e)',
    '1..3',
    '# 2 passed, 1 failed',
  ]);
});
