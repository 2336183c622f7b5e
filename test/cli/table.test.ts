import t from 'tap';
import { table } from '../../lib/cli/table.js';

t.test('columns are aligned, whatever the cells hold', async (t) => {
  t.strictSame(
    table(
      [
        ['GUEST', 'SIZE'],
        ['a\x1b[31m\nb', '7'],
      ],
      1,
    ),
    ['GUEST     SIZE', 'a?[31m?b     7'],
  );
});
