import fc from 'fast-check';
import t from 'tap';
import { globMatcher } from '../../lib/config/glob.js';

t.test('stars, question marks, sets, braces', async (t) => {
  const cases: [glob: string, yes: string[], no: string[]][] = [
    ['web-1', ['web-1'], ['web-10', 'a web-1', 'WEB-1', '']],
    ['*', ['', '.hidden', 'a/b', 'a\nb'], []],
    ['web*', ['web', 'web-1'], ['a web']],
    ['*-test', ['-test', 'a-test-test'], ['a-tests']],
    ['*web*prod*eu*', ['web-prod-eu', 'xwebxprodxeux'], ['prod-web-eu', 'web-prod']],
    ['a*a', ['aa', 'aba'], ['a']],
    ['**', ['', 'a'], []],
    ['web-?', ['web-1', 'web-/', 'web-🐧'], ['web-', 'web-10']],
    ['vm[0-3b]', ['vm0', 'vm3', 'vmb'], ['vm4', 'vm', 'vm-']],
    ['vm[!0-3]', ['vm4', 'vm^'], ['vm0', 'vm']],
    ['[]^]', [']', '^'], ['[', 'a']],
    ['[*{]', ['*', '{'], ['a']],
    ['[\\d]', ['\\', 'd'], ['1']],
    ['{db,web}-{1,2}', ['db-1', 'web-2'], ['db', 'web-3', 'db,web-1']],
    ['a{,b{1,2*}}c', ['ac', 'ab1c', 'ab2xc'], ['abc', 'ab3c']],
    ['\\*\\{a,b\\}\\\\', ['*{a,b}\\'], ['x{a,b}\\']],
    ['!odd', ['!odd'], ['other']],
    ['vm (old)+|$^.', ['vm (old)+|$^.'], ['vm old', 'vm (old)+|$^x']],
    ['a}, \\[b', ['a}, [b'], ['a']],
    ['end\\', ['end\\'], ['end']],
  ];
  for (const [glob, yes, no] of cases) {
    const matches = globMatcher(glob);
    for (const name of yes) t.ok(matches(name), `${glob} is for ${JSON.stringify(name)}`);
    for (const name of no) t.notOk(matches(name), `${glob} is not for ${JSON.stringify(name)}`);
  }
});

t.test('what nobody can mean is refused', async (t) => {
  for (const glob of ['[z-a]', 'web[0-9', '[]', 'a}, [b', '{a', '{a}', 'web-{1..3}', '{a,b}'.repeat(7), '{'.repeat(255)])
    t.throws(() => globMatcher(glob), glob);
});

t.test('a star is for any letters, however many stars there are', async (t) => {
  const byDefinition = (glob: string, name: string): boolean => {
    if (glob === '') return name === '';
    if (glob[0] !== '*') return name !== '' && (glob[0] === '?' || glob[0] === name[0]) && byDefinition(glob.slice(1), name.slice(1));
    return byDefinition(glob.slice(1), name) || (name !== '' && byDefinition(glob, name.slice(1)));
  };
  const text = (...letters: string[]) => fc.array(fc.constantFrom(...letters), { maxLength: 9 }).map((all) => all.join(''));
  fc.assert(
    fc.property(text('a', 'b', '?', '*'), text('a', 'b'), (glob, name) => globMatcher(glob)(name) === byDefinition(glob, name)),
    { numRuns: 5000 },
  );
  t.pass('5000 globs');
});

t.test('no glob takes long, whatever the name', async (t) => {
  const name = 'a'.repeat(255);
  const globs = ['*a'.repeat(127), '*?a'.repeat(85), `${'{a*,*a}'.repeat(6)}*b`, `${'*'.repeat(254)}b`, `${'[a-z]*'.repeat(42)}b`];
  for (const glob of globs) {
    const began = performance.now();
    globMatcher(glob)(name);
    t.ok(performance.now() - began < 200, `${glob.slice(0, 20)}: ${performance.now() - began} ms`);
  }
});
