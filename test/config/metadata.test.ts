import t from 'tap';
import { METADATA_URI, parseMetadata } from '../../lib/config/metadata.js';

const MiB = 1024;

t.test('all settings are read', async (t) => {
  t.strictSame(
    parseMetadata(`<memcoord xmlns="${METADATA_URI}" min="512MiB" max="1GiB" share="2000" signal="unused" manage="no" boot-rest="30s"/>`),
    {
      overrides: { min: 512 * MiB, max: 1024 * MiB, share: 2000, signal: 'unused', manage: false, bootRestMs: 30_000 },
      problems: [],
    },
  );
});

t.test("sizes may be parts of the guest's maximum", async (t) => {
  const { overrides, problems } = parseMetadata('<m min="25%" max="8GB"/>');
  t.strictSame({ overrides, problems }, { overrides: { min: { percent: 25 }, max: 7_812_500 }, problems: [] });
});

t.test("the element's name and prefix are the writer's choice", async (t) => {
  const text = `<our:settings xmlns:our="${METADATA_URI}" min='300MiB'></our:settings>`;
  t.strictSame(parseMetadata(text), { overrides: { min: 300 * MiB }, problems: [] });
});

t.test('no metadata is no problem', async (t) => {
  t.strictSame(parseMetadata(null), { overrides: {}, problems: [] });
  t.strictSame(parseMetadata(''), { overrides: {}, problems: [] });
});

t.test('a bad setting costs only itself', async (t) => {
  const { overrides, problems } = parseMetadata('<m min="lots" share="2000" shares="1" __proto__="x"/>');
  t.strictSame(overrides, { share: 2000 });
  t.equal(problems.length, 3);
  t.match(problems[0], /^metadata: min: 'lots' is not a size/);
  t.match(problems[1], /^metadata: shares: no such setting, did you mean 'share'\?/);
  t.match(problems[2], /^metadata: __proto__: no such setting; known: min, max, share, signal, manage/);
});

t.test('a floor above the ceiling is dropped', async (t) => {
  const { overrides, problems } = parseMetadata('<m min="2GiB" max="1GiB"/>');
  t.strictSame(overrides, { max: 1024 * MiB });
  t.strictSame(problems, ['metadata: min: must not be more than max']);
});

const bomb = `<!DOCTYPE m [<!ENTITY a "${'x'.repeat(50)}"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><m min="&b;"/>`;
for (const [what, text] of [
  ['an entity bomb', bomb],
  ['text that is longer than any settings', `<m min="512MiB" note="${'x'.repeat(5000)}"/>`],
  ['half an element', '<m min="512MiB"'],
  ['no XML at all', 'min=512MiB'],
  ['two elements', '<m min="512MiB"/><m min="1MiB"/>'],
  ['an attribute twice', '<m min="512MiB" min="1MiB"/>'],
  ['a null byte', '<m min="512MiB\0"/>'],
] as const) {
  t.test(`${what}: ignored, and told in one line`, async (t) => {
    const { overrides, problems } = parseMetadata(text);
    t.strictSame(overrides, {});
    t.equal(problems.length, 1);
    t.match(problems[0], /^metadata: /);
    t.notMatch(problems[0], /\n/);
  });
}

t.test('what a guest may write into the log is bounded', async (t) => {
  const attributes = Array.from({ length: 100 }, (_, i) => `unknown-${'x'.repeat(20)}-${i}="1"`).join(' ');
  const { problems } = parseMetadata(`<m ${attributes}/>`);
  t.equal(problems.length, 8);
  t.ok(problems.every((problem) => problem.length < 200));
  const { problems: long } = parseMetadata(`<m min="${'y'.repeat(3000)}"/>`);
  t.ok(long.length === 1 && (long[0]?.length ?? 0) < 200);
});

t.test('nothing that a guest writes forges a line of the log', async (t) => {
  const { problems } = parseMetadata('<m min="a&#10;b&#x2028;c&#x202e;d"/>');
  t.match(problems[0], /^metadata: min: 'a\?b\?c\?d' is not a size/);
});
