import t from 'tap';
import { explain, UnreachableError, UsageError } from '../../lib/cli/failure.js';
import { ConfigError } from '../../lib/config/config.js';
import { LockedError } from '../../lib/coordinator/lock.js';

t.test('each kind of failure has its exit code', async (t) => {
  t.equal(explain(new UsageError('x')).code, 2);
  t.equal(explain(new ConfigError('x')).code, 2);
  t.equal(explain(new UnreachableError('u', 'x')).code, 3);
  t.strictSame(explain(new LockedError(7)), { code: 4, message: 'another coordinator holds this host: process 7' });
  t.equal(explain(new Error('x')).code, 1);
  t.equal(explain('x').code, 1);
});

t.test('an error that is known speaks for itself, a defect shows its stack', async (t) => {
  const known = Object.assign(new Error('the domain is gone'), { code: 'ERR_LIBVIRT_NO_DOMAIN' });
  t.strictSame(explain(known), { code: 1, message: 'the domain is gone' });
  t.match(explain(new TypeError('undefined is not')).message, /failure\.test\.ts/);
});

t.test('what is reported holds nothing that a terminal acts on, and no line that was not ours', async (t) => {
  t.equal(explain(new UsageError('option --pool: \x1b[2J')).message, 'option --pool: ?[2J');
  t.equal(explain(new ConfigError('f:1: a\nf:2: \x9b')).message, 'f:1: a\nf:2: ?');
  const { message } = explain(new UnreachableError('qemu:///a\x1b[31m\nb', new Error('Permission denied')));
  t.match(message, /^cannot reach libvirt at qemu:\/\/\/a\?\[31m\?b: Permission denied\nWho may use qemu:\/\/\/a\?\[31m\?b: /);
});

t.test('libvirt that cannot be reached comes with what to do', async (t) => {
  const advised = (uri: string, message: string, code = 'ERR_LIBVIRT_SYSTEM_ERROR'): string =>
    explain(new UnreachableError(uri, Object.assign(new Error(message), { code }))).message;
  t.equal(advised('qemu:///system', 'odd'), 'cannot reach libvirt at qemu:///system: odd');
  t.equal(advised('qemu:///system', 'cannot connect to qemu:///system: odd'), 'cannot reach libvirt at qemu:///system: odd');
  t.match(
    advised('qemu:///system', "Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory"),
    /\nIs its daemon running\? systemctl start libvirtd/,
  );
  t.match(
    advised('qemu:///session', "Failed to connect socket to '/run/user/1/libvirt/virtqemud-sock': Connection refused"),
    /\nIt is started by the first/,
  );
  t.match(
    advised('qemu:///system', "Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied"),
    /\nWho may use .*usermod -aG libvirt/,
  );
  t.match(advised('qemu:///system', 'authentication is needed', 'ERR_MEMCOORD_AUTH_UNSUPPORTED'), /usermod -aG libvirt/);
  t.match(advised('qemo:///system', 'no connection driver available', 'ERR_LIBVIRT_NO_CONNECT'), /\nExamples of URIs: qemu:\/\/\/system/);
});

t.test('what stands in the way of a remote host is not taken for a daemon that is not started here', async (t) => {
  const advised = (uri: string, message: string): string =>
    explain(new UnreachableError(uri, Object.assign(new Error(message), { code: 'ERR_LIBVIRT_SYSTEM_ERROR' }))).message.split('\n')[1] ??
    '';
  const ssh = 'qemu+ssh://root@far:2222/system';
  t.match(
    advised(ssh, 'Cannot recv data: Host key verification failed.: Connection reset by peer'),
    /Connect once by hand: ssh -p 2222 root@far$/,
  );
  t.match(
    advised(ssh, 'Cannot recv data: root@far: Permission denied (publickey): Connection reset by peer'),
    /ssh -p 2222 root@far true$/,
  );
  t.match(
    advised(ssh, 'Cannot recv data: ssh: connect to host far port 2222: Connection refused: Connection reset by peer'),
    /^ssh does not reach the host/,
  );
  t.match(advised(ssh, 'End of file while reading data: : Input/output error'), /ssh -p 2222 root@far virsh -c qemu:\/\/\/system list$/);
  t.match(
    advised('qemu://far/system', "Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such file or directory"),
    /virt-pki-validate/,
  );
  t.match(
    advised('qemu+tls://far/system', "unable to connect to server at 'far:16514': Connection refused"),
    /libvirtd-tls\.socket, there/,
  );
  t.match(
    advised('qemu+tcp://far:1/system', "unable to connect to server at 'far:1': Connection refused"),
    /libvirtd-tcp\.socket, there.*qemu\+ssh:\/\/far\/system$/,
  );
  t.match(advised('qemu://far/system', "unable to resolve 'far': Name or service not known"), /^Is far the host's name/);
  t.equal(advised('qemu://far/system', 'odd'), '');
});
