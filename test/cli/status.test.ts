import t from 'tap';
import { status } from '../../lib/cli/status.js';
import { GiB, MiB } from '../../lib/common/units.js';
import { collected, connectNow, connectTo, connectWithFacts, hostWith, idle } from './simulated.js';

t.test('host and guests are printed as an aligned table, in MiB, guests in the order of their numbers', async (t) => {
  const host = hostWith(idle('vm10'), idle('vm2', { driver: false }));
  host.guest('vm10').setPeriod(1);
  await host.pass(2000);
  const { print, text } = collected();
  t.equal(await status({ pool: '8GiB' }, connectNow(host), print), 0);
  const lines = text().split('\n');
  t.match(lines[0], /^Host \(MiB\): total 16384, MemAvailable 15688: available 15688, reserve 819; pool 8192$/);
  t.match(lines[1], /^Guests: controlled ones hold 512, others 348: ample$/);
  t.match(lines[5], /^GUEST {2}PHASE +ACTUAL +USED +SPARE +WORKING +NEED +WANT +ALLOC +FLOOR +CEILING +SHARE +REACTS +SURVIVES +AGE$/);
  t.match(lines[6], /^vm2 +\S+ +512 +- +- /, 'what is not known is a dash');
  t.match(lines[7], /^vm10 +steady +512 +300 +212 +0 +400 +\d+ +\d+ +256 +2048 +1000 +\d\.\d s +\d+\/s +3 s$/);
  t.equal(lines[5]?.indexOf('ACTUAL'), (lines[7]?.indexOf(' 512') ?? 0) - 2, 'figures stand under the end of their title');
});

/** The numbers of a line, in their order. */
function numbers(line = ''): number[] {
  return (line.match(/\d+/g) ?? []).map(Number);
}

t.test('the account is printed in sums that add up', async (t) => {
  const host = hostWith(idle('vm1', { current: 1500 * MiB }), idle('vm2', { driver: false, current: 2 * GiB }));
  host.guest('vm1').setPeriod(1);
  await host.pass(2000);
  const print = async (options: Parameters<typeof status>[0]) => {
    const { print, text } = collected();
    await status(options, connectNow(host), print);
    return text().split('\n');
  };
  const lines = await print({});
  const [, , available = 0, reserve = 0] = numbers(lines[0]);
  const [need = 0, liability = 0, granted = 0] = numbers(lines[2]);
  t.ok(Math.abs(available - reserve - liability - granted - need) <= 2, `${lines[2]}`);
  const [cushions = 0, untouched = 0] = numbers(lines[3]);
  t.ok(Math.abs(available - reserve - untouched - cushions) <= 2, `${lines[3]}`);
  t.ok(untouched > liability, 'not all guests take all that they may at once');
  const pooled = await print({ pool: '3GiB' });
  const [held = 0, others = 0] = numbers(pooled[1]);
  t.match(pooled[2], new RegExp(`^Need may grow by ${3072 - held - others}: .*; bounded by the pool$`));
});

t.test('what is not controlled stands under the table, with why, what it holds and what it may take', async (t) => {
  const host = hostWith(idle('bare'), idle('left'));
  const { print, text } = collected();
  await status({ exclude: ['left'] }, connectWithFacts(host, 'bare', { balloonModel: 'none' }), print);
  t.match(
    text(),
    /\n\nbare is not controlled: no balloon device, holds 348MiB, may take \d+MiB more\nleft is not controlled: left out .*, may take 212MiB more$/,
  );
});

t.test('--json has the same in KiB', async (t) => {
  const host = hostWith(idle('one'));
  const { print, text } = collected();
  t.equal(await status({ json: true }, connectTo(host), print), 0);
  const read = JSON.parse(text());
  t.match(read, {
    uri: 'sim:///host',
    unit: 'KiB',
    host: { total: 16 * GiB, pool: null },
    guests: [{ name: 'one', actual: 512 * MiB, spare: null }],
  });
});

t.test('a host without guests says so', async (t) => {
  const { print, text } = collected();
  t.equal(await status({}, connectTo(hostWith()), print), 0);
  t.match(text(), /\nNo guest is running\.$/);
});

t.test('it reads over a read-only connection, and closes it', async (t) => {
  const host = hostWith(idle('one'));
  let closed = 0;
  const rights: boolean[] = [];
  const inner = connectTo(host, () => ({
    close: async () => void closed++,
    setMemory: () => t.fail() as never,
    setStatsPeriod: () => t.fail() as never,
  }));
  await status(
    {},
    (uri, options) => {
      rights.push(options.readOnly);
      return inner(uri, options);
    },
    () => {},
  );
  t.strictSame(rights, [true]);
  t.equal(closed, 1);
});
