import t from 'tap';
import { abortable } from '../../lib/common/abort.js';

t.test('settles as the promise does where nobody aborts', async (t) => {
  const { signal } = new AbortController();
  t.equal(await abortable(Promise.resolve(7), signal), 7);
  await t.rejects(abortable(Promise.reject(new Error('failed')), signal), { message: 'failed' });
});

t.test('rejects with the reason once aborted, also where it was before', async (t) => {
  const controller = new AbortController();
  const waits = abortable(new Promise(() => {}), controller.signal);
  controller.abort(new Error('enough'));
  await t.rejects(waits, { message: 'enough' });
  await t.rejects(abortable(new Promise(() => {}), AbortSignal.abort()), { name: 'AbortError' });
});
