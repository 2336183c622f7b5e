import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { defaultUri, resolveAlias } from '../../lib/config/uri.js';

const CONF = `
# uri_default = "qemu:///commented"
uri_aliases = [
  "hail=qemu+ssh://root@hail.cloud.example.com/system",
#  "here=qemu:///commented",
  'here=qemu:///system',
]
uri_default = "qemu:///session"
`;

t.test('the default is what virsh would connect to', async (t) => {
  const path = join(t.testdir({ 'libvirt.conf': CONF }), 'libvirt.conf');
  t.equal(defaultUri({}, path), 'qemu:///session');
  t.equal(defaultUri({ LIBVIRT_DEFAULT_URI: 'test:///default' }, path), 'test:///default');
  t.equal(defaultUri({}, `${path}.not-there`), 'qemu:///system');
  writeFileSync(path, '#uri_default = "qemu:///session"\n');
  t.equal(defaultUri({}, path), 'qemu:///system');
});

t.test('an alias stands for its URI, so that one of a local URI is local', async (t) => {
  const path = join(t.testdir({ 'libvirt.conf': CONF }), 'libvirt.conf');
  t.equal(resolveAlias('here', path), 'qemu:///system');
  t.equal(resolveAlias('hail', path), 'qemu+ssh://root@hail.cloud.example.com/system');
  t.equal(resolveAlias('her', path), 'her');
  t.equal(resolveAlias('qemu:///session', path), 'qemu:///session');
  t.equal(resolveAlias('here', `${path}.not-there`), 'here');
});
