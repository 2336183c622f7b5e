import fc from 'fast-check';
import t from 'tap';
import { type Amount, isMore, MiB } from '../../lib/common/units.js';
import { METADATA_URI, parseMetadata } from '../../lib/config/metadata.js';
import { GUEST_SETTINGS } from '../../lib/config/settings.js';
import { domainFacts } from '../../lib/libvirt/describe.js';
import { guest, World } from '../policy/world.js';
import { hostileText, isOneLine, PATIENCE_MS, timed } from './hostile.js';

/** Whether what came of a text is what may come of any. */
function isSound(text: string): boolean {
  const { overrides, problems } = parseMetadata(text);
  const { min, max, share = 1, bootRestMs = 0 } = overrides;
  const size = (amount: Amount | undefined) =>
    amount === undefined ||
    (typeof amount === 'number' ? Number.isSafeInteger(amount) && amount > 0 : amount.percent > 0 && amount.percent <= 100);
  return (
    problems.length <= 8 &&
    problems.every((problem) => isOneLine(problem) && problem.length < 250) &&
    Object.keys(overrides).every((key) => key === 'bootRestMs' || Object.hasOwn(GUEST_SETTINGS, key)) &&
    bootRestMs >= 0 &&
    bootRestMs <= 3_600_000 &&
    size(min) &&
    size(max) &&
    share >= 1 &&
    share <= 1e6 &&
    !(min !== undefined && max !== undefined && isMore(min, max))
  );
}

/** An attribute's value as XML may have it: with references, or raw. */
const escaped = (text: string) => text.replace(/[<&"\n\r\t]/g, (letter) => `&#${letter.charCodeAt(0)};`);
const value = fc.oneof(
  fc.constantFrom(
    '512MiB',
    '1GiB',
    '25%',
    '100.5%',
    '120s',
    '8GB',
    '99999TiB',
    '1',
    '1000000',
    'usable',
    'yes',
    'no',
    '-1',
    '1e309',
    'NaN',
    '512MiB&#10;',
  ),
  hostileText.map(escaped),
  hostileText,
);
const attribute = fc.tuple(
  fc.oneof(
    fc.constantFrom(...Object.keys(GUEST_SETTINGS)),
    fc.constantFrom('__proto__', 'constructor', 'xmlns', 'xmlns:a', 'a:min', 'MIN', 'file', 'href'),
    hostileText,
  ),
  value,
);
const element = fc
  .tuple(
    fc.constantFrom('memcoord', 'a:memcoord', 'domain', 'x'),
    fc.array(attribute, { maxLength: 12 }),
    fc.oneof(
      fc.constant('/>'),
      hostileText.map((text) => `>${text}</memcoord>`),
    ),
  )
  .map(([name, attributes, end]) => `<${name} ${attributes.map(([key, text]) => `${key}="${text}"`).join(' ')}${end}`);

t.test('any text gives settings that are allowed and problems of one line each', async (t) => {
  fc.assert(fc.property(fc.oneof(element, hostileText, fc.string({ unit: 'binary', maxLength: 200 })), isSound), { numRuns: 5000 });
  t.pass('5000 texts');
});

t.test('nothing in it raises a guest above its maximum, and no other guest below what it uses', async (t) => {
  let [raised, bounded] = [0, 0];
  const size = fc.oneof(
    fc.constantFrom('1KiB', '8191PiB', '9007199254740991KiB', '1GiB'),
    fc.integer({ min: 1, max: 8192 }).map((n) => `${n}MiB`),
  );
  const settings = fc.record(
    { min: size, max: size, share: fc.integer({ min: 0, max: 2_000_000 }), signal: fc.constantFrom('usable', 'unused', 'x') },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(settings, fc.integer({ min: 0, max: 2500 }), (wanted, used) => {
      const attributes = Object.entries(wanted).map(([key, text]) => `${key}="${text}"`);
      const { overrides } = parseMetadata(`<memcoord ${attributes.join(' ')}/>`);
      const world = new World([guest('greedy', { used: used * MiB, overrides }), guest('other'), guest('third', { actual: 1024 * MiB })], {
        pool: 2048 * MiB,
      });
      const moves = world.run(12);
      if (moves.some(({ name }) => name === 'greedy')) raised++;
      if (overrides.min !== undefined) bounded++;
      return moves.every(({ name, to }) => {
        const { maximum } = world.find(name);
        return to > 0 && to <= maximum && (name === 'greedy' || to >= world.find(name).used + 48 * MiB);
      });
    }),
    { numRuns: 300 },
  );
  t.ok(raised > 50 && bounded > 50, `${raised} were moved, ${bounded} had a floor of their own`);
});

const many = (count: number, part: (i: number) => string) => Array.from({ length: count }, (_, i) => part(i)).join('');

const entities = `<!DOCTYPE m [<!ENTITY e0 "1">${many(40, (i) => `<!ENTITY e${i + 1} "&e${i};&e${i};">`)}]><m min="&e40;"/>`;
for (const [what, text] of [
  ['entities of entities', entities],
  ['an entity that names a file', '<!DOCTYPE m [<!ENTITY a SYSTEM "file:///etc/passwd">]><m min="&a;"/>'],
  ['a document type that names one', '<!DOCTYPE m SYSTEM "http://127.0.0.1/x.dtd"><m min="1GiB"/>'],
  ['a processing instruction before a document type', '<?xml version="1.0"?>\n<!DOCTYPE m []><m min="1GiB"/>'],
  ['four megabytes', `<m note="${'x'.repeat(4_000_000)}"/>`],
  ['elements in elements', `${many(1300, () => '<a>')}`],
  ['an unknown entity', '<m min="&xxe;"/>'],
] as const) {
  t.test(`${what}: ignored in no time, and reported`, async (t) => {
    const took = timed(() => {
      const { overrides, problems } = parseMetadata(text);
      t.strictSame(overrides, {});
      t.ok(problems.length > 0 && problems.every(isOneLine));
    });
    t.ok(took < PATIENCE_MS, `${took} ms`);
  });
}

const domain = (metadata: string) => `<domain type='kvm' id='3'>
  <name>web</name>
  <title>&lt;metadata> &lt;/metadata></title>
  ${metadata}
  <memory unit='KiB'>2097152</memory>
  <currentMemory unit='KiB'>524288</currentMemory>
  <devices><memballoon model='virtio'><stats period='5'/></memballoon></devices>
</domain>`;

t.test("other people's metadata in a domain's XML changes nothing of its facts", async (t) => {
  const facts = domainFacts(domain(''), null);
  t.match(facts, { maximum: 2_097_152, statsPeriod: 5, obstacles: [] });
  const inner = fc.oneof(
    hostileText.map((text) => `<a:b xmlns:a="urn:x">${escaped(text)}</a:b>`),
    fc.constantFrom(
      '<metadata><memory>1</memory></metadata>',
      '<![CDATA[</metadata></domain><domain>]]>',
      '<!-- </metadata> -->',
      '<a/></metadata><memory unit="KiB">9</memory><metadata>',
    ),
  );
  fc.assert(
    fc.property(fc.array(inner, { maxLength: 4 }), (parts) => {
      t.strictSame(domainFacts(domain(`<metadata>${parts.join('\n')}</metadata>`), null), facts);
    }),
    { numRuns: 200 },
  );
});

for (const [what, metadata] of [
  ['an element with many attributes', `<a:b xmlns:a='urn:x' ${many(200_000, (i) => `a${i}='' `)}/>`],
  ['elements in elements', `${many(200_000, () => '<a>')}${many(200_000, () => '</a>')}`],
  ['namespaces in namespaces', `${many(40_000, (i) => `<a xmlns:n${i}='urn:${i}'>`)}${many(40_000, () => '</a>')}`],
  ['many elements', many(300_000, () => '<a/>')],
] as const) {
  t.test(`${what} in a domain's metadata holds nobody up`, async (t) => {
    const xml = domain(`<metadata>${metadata}</metadata>`);
    const took = timed(() => t.match(domainFacts(xml, null), { maximum: 2_097_152, statsPeriod: 5 }));
    t.ok(took < PATIENCE_MS, `${took} ms`);
    t.strictSame(parseMetadata(`<m xmlns='${METADATA_URI}'>${metadata}</m>`).overrides, {});
  });
}
