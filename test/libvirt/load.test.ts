import t from 'tap';
import { explained, LoadError, loadBinding } from '../../lib/libvirt/load.js';

t.test('the addon is loaded once', async (t) => {
  t.equal(loadBinding(), loadBinding());
  t.ok(loadBinding().libvirtVersion >= 4_006_000);
});

t.test('a missing library names the package to install', async (t) => {
  const error = explained('libvirt.so.0: cannot open shared object file: No such file or directory');
  t.ok(error instanceof LoadError);
  t.match(error, { code: 'ERR_MEMCOORD_LOAD', message: /libvirt\.so\.0.*apt-get install libvirt0/ });
  t.match(explained('libstdc++.so.6: cannot open shared object file: No such file'), { message: /libstdc\+\+\.so\.6/ });
});

t.test('an addon that was never built says how to build it', async (t) => {
  t.match(explained('No native build was found for platform=linux arch=x64 runtime=node'), { message: /npm run build.*libvirt-dev/ });
});

t.test('anything else is passed on', async (t) => {
  const cause = new Error('wrong ELF class');
  t.match(explained(cause.message, cause), { message: /wrong ELF class/, cause });
});
