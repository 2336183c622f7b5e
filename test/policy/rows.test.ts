import t from 'tap';
import { MiB } from '../../lib/common/units.js';
import type { Model } from '../../lib/policy/guest.js';
import { guest, World } from './world.js';

/** The numbers of a guest's row. */
function numbersOf({ guests, numbers }: Model, name: string): number[] {
  const width = numbers.length / guests.length;
  const row = guests.findIndex((belief) => belief.name === name);
  return [...numbers.subarray(row * width, (row + 1) * width)];
}

t.test('a guest keeps what is believed of it while others come and go and the order changes', async (t) => {
  const three = () => new World([guest('a'), guest('b', { actual: 700 * MiB }), guest('c', { actual: 900 * MiB })]);
  const still = three();
  const changing = three();
  still.run(6);
  changing.run(6);
  changing.guests = [guest('new'), changing.find('c'), changing.find('a')];
  still.sample();
  changing.sample();
  t.same(
    changing.model.guests.map(({ name, phase }) => [name, phase]),
    [
      ['new', 'booting'],
      ['c', 'steady'],
      ['a', 'steady'],
    ],
  );
  const beliefOf = ({ model }: World, name: string) => model.guests.find((belief) => belief.name === name);
  for (const name of ['a', 'c']) {
    for (const field of ['actual', 'target', 'orderedFrom', 'shrunkFrom', 'restingSince', 'shrinkAfter', 'lastReason'] as const) {
      t.equal(beliefOf(changing, name)?.[field], beliefOf(still, name)?.[field], `${field} of ${name}`);
    }
  }
});

t.test('nothing is believed of a guest that takes the row of another', async (t) => {
  const first = new World([guest('new')]);
  first.at += 6000;
  const world = new World([guest('old', { actual: 1500 * MiB })]);
  world.run(6);
  world.guests = [guest('new')];
  world.sample();
  first.sample();
  t.same(numbersOf(world.model, 'new'), numbersOf(first.model, 'new'));
});
