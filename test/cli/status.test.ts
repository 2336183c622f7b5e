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
  t.match(lines[0], /^Host \(MiB\): total 16384, available \d+, reserve 819$/);
  t.match(lines[1], /^For guests: pool 8192, capacity \d+, charged \d+, free \d+: ample$/);
  t.match(lines[3], /^GUEST {2}PHASE +ACTUAL +USED +SPARE +NEED +ALLOC +FLOOR +CEILING +SHARE +SURVIVES +AGE$/);
  t.match(lines[4], /^vm2 +\S+ +512 +- +- /, 'what is not known is a dash');
  t.match(lines[5], /^vm10 +steady +512 +300 +212 +\d+ +\d+ +256 +2048 +1000 +\d+\/s +3 s$/);
  t.equal(lines[3]?.indexOf('ACTUAL'), (lines[5]?.indexOf(' 512') ?? 0) - 2, 'figures stand under the end of their title');
});

t.test('why a guest is not coordinated stands under the table', async (t) => {
  const host = hostWith(idle('bare'), idle('left'));
  const { print, text } = collected();
  await status({ exclude: ['left'] }, connectWithFacts(host, 'bare', { balloonModel: 'none' }), print);
  t.match(text(), /\n\nbare is not coordinated: .*balloon.*\nleft is not coordinated: /);
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
