import t from 'tap';
import { loadBinding } from '../../lib/libvirt/load.js';
import { failureOf, hostOf, METADATA, makeGuests, open, runNode, SOON } from './support.js';

t.test("an error tells what failed, on which guest, in libvirt's numbers, and where it was called", async (t) => {
  const guests = makeGuests(1);
  const connection = await open(t, await hostOf(t, guests));
  async function theCaller() {
    return connection.setMemory([{ uuid: guests[0]?.uuid ?? '', kib: 9_000_000 }], SOON);
  }
  const [error] = await theCaller();
  t.ok(error instanceof Error);
  t.match(error, {
    code: 'ERR_LIBVIRT_INVALID_ARG',
    libvirtCode: 8,
    libvirtDomain: 12,
    domain: 'guest0',
    message: "cannot set the memory of guest 'guest0': invalid argument: cannot set memory higher than max memory",
  });
  t.match(error?.stack, /^Error \[ERR_LIBVIRT_INVALID_ARG\]: cannot set the memory of guest 'guest0'/);
  t.match(error?.stack, /\n {4}at theCaller .*errors\.test\.ts/);
});

t.test('a rejected promise carries the stack of its call too', async (t) => {
  const connection = await open(t, 'test:///default');
  async function theCaller() {
    return connection.nodeMemory(SOON);
  }
  const error = await failureOf(theCaller());
  t.match(error, { code: 'ERR_LIBVIRT_NO_SUPPORT', libvirtCode: 3 });
  t.match(error.stack, /\n {4}at theCaller .*errors\.test\.ts/);
});

t.test('a URI that leads nowhere is an error with the URI in it', async (t) => {
  const error = await failureOf(loadBinding().open('junk', { readOnly: false, ...SOON }));
  t.match(error, { code: 'ERR_LIBVIRT_NO_CONNECT', libvirtCode: 5, message: /'junk'/ });
  t.match(error.stack, /errors\.test\.ts/);
});

t.test('a daemon that is not there is an error', async (t) => {
  const error = await failureOf(loadBinding().open('test+unix:///default?socket=/nonexistent/socket', { readOnly: false, ...SOON }));
  t.match(error, { code: 'ERR_LIBVIRT_SYSTEM_ERROR', libvirtCode: 38, message: /\/nonexistent\/socket/ });
});

t.test('a connection that asks for a password is refused and told why', async (t) => {
  const uri = await hostOf(t, [], "<auth><user password='secret'>somebody</user></auth>");
  const error = await failureOf(loadBinding().open(uri, { readOnly: false, ...SOON }));
  t.match(error, { code: 'ERR_MEMCOORD_AUTH_UNSUPPORTED', libvirtCode: 45, message: /auth\.conf/ });
});

t.test('a read-only connection reads and refuses to change anything', async (t) => {
  const guests = makeGuests(1);
  const uuid = guests[0]?.uuid ?? '';
  const connection = await open(t, await hostOf(t, guests), true);
  const { figures } = await connection.sample({ ...SOON, refresh: [{ uuid, seconds: 1 }] });
  t.equal(figures[0], 0);
  t.match(await connection.setMemory([{ uuid, kib: 600_000 }], SOON), [{ code: 'ERR_LIBVIRT_OPERATION_DENIED', message: /read only/ }]);
  t.match(await failureOf(connection.setStatsPeriod(uuid, 1, SOON)), { code: 'ERR_LIBVIRT_OPERATION_DENIED', domain: 'guest0' });
  t.notMatch((await connection.describe(uuid, { ...SOON, metadataUri: METADATA })).xml, /<stats period/, 'nor did the refresh');
});

t.test('arguments of the wrong kind throw at once', async (t) => {
  const { open: openAny } = loadBinding() as unknown as { open: (...args: unknown[]) => unknown };
  const connection = (await open(t, 'test:///default')) as unknown as Record<string, (...args: unknown[]) => unknown>;
  const wrong = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
  const uuid = '6695eb01-f6a4-8304-79aa-97f2502e193f';
  t.throws(() => openAny(1, SOON), wrong);
  t.throws(() => openAny('test:///default'), wrong);
  t.throws(() => openAny('test:///default', { readOnly: true }), wrong);
  t.throws(() => connection.sample?.(), wrong);
  t.throws(() => connection.sample?.({ deadlineMs: Number.NaN }), wrong);
  t.throws(() => connection.sample?.({ deadlineMs: -1 }), wrong);
  t.throws(() => connection.sample?.({ ...SOON, only: 'all' }), wrong);
  t.throws(() => connection.sample?.({ ...SOON, refresh: [uuid] }), wrong);
  for (const reads of [uuid, [1], {}, null]) t.throws(() => connection.sample?.({ ...SOON, reads }), wrong);
  t.throws(() => connection.setMemory?.([{ uuid, kib: 1.5 }], SOON), wrong);
  t.throws(() => connection.setMemory?.([{ uuid, kib: -1 }], SOON), wrong);
  t.throws(() => connection.setMemory?.([null], SOON), wrong);
  t.throws(() => connection.setMemory?.({}, SOON), wrong);
  t.throws(() => connection.setStatsPeriod?.(uuid, 1e12, SOON), wrong);
  t.throws(() => connection.describe?.(uuid, SOON), wrong);
  t.throws(() => connection.onEvent?.(1), { name: 'TypeError' });
});

t.test('libvirt prints nothing by itself, whatever fails', async (t) => {
  const { code, stdout, stderr } = await runNode(`
    const failures = [];
    const note = (error) => failures.push(error.code);
    await binding.open('junk', { readOnly: false, ...SOON }).catch(note);
    await binding.open('test+unix:///default?socket=/nonexistent', { readOnly: false, ...SOON }).catch(note);
    const connection = await binding.open(uri, { readOnly: false, ...SOON });
    await connection.nodeMemory(SOON).catch(note);
    await connection.setStatsPeriod('nothing', 1, SOON).catch(note);
    await connection.close(SOON);
    console.log(failures.length);`);
  t.same({ code, stdout, stderr }, { code: 0, stdout: '4', stderr: '' });
});
