import t from 'tap';
import { withSection } from './readme.js';

const README = '# Title\n\n<!-- a:begin -->\nold\n<!-- a:end -->\n\nrest\n<!-- b:begin -->\n<!-- b:end -->\n';

t.test('a section is put between its own markers, and all else stays', async (t) => {
  t.equal(withSection(README, 'a', 'new\n'), README.replace('old', 'new'));
  t.equal(withSection(README, 'b', 'x'), README.replace('<!-- b:begin -->\n', '<!-- b:begin -->\nx\n'));
});

t.test('what is written twice is the same as once', async (t) => {
  const once = withSection(README, 'a', 'new');
  t.equal(withSection(once, 'a', 'new'), once);
});

t.test('without its markers, or with them the wrong way round, nothing is written', async (t) => {
  t.throws(() => withSection(README, 'c', 'x'), { message: /no markers <!-- c:begin -->/ });
  t.throws(() => withSection('<!-- a:end --> <!-- a:begin -->', 'a', 'x'));
});
