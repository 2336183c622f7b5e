/**
 * A libvirtd that shares nothing with the system's and needs no privileges: for tests and measurements that must not be seen, nor disturbed,
 * by anybody else.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chown, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './shell.js';

export interface PrivateDaemon {
  readonly uri: string;
  readonly pid: number;
  /** Ends it at once, and removes its files. */
  end(): Promise<void>;
}

/**
 * Its URI is that of the test driver behind a real connection; there is no QEMU to be found and probed, so it is up in a tenth of a second.
 * With `qemu`, it is that of QEMU.
 */
export async function startPrivateDaemon({ qemu = false } = {}): Promise<PrivateDaemon> {
  // Not in the checkout: a socket's path is 107 characters at most.
  const dir = join(tmpdir(), `memcoord-${randomUUID().slice(0, 8)}`);
  await mkdir(join(dir, 'run'), { recursive: true });
  await mkdir(join(dir, 'libvirt'));
  await writeFile(join(dir, 'conf'), `unix_sock_dir = "${dir}/run"\nauth_unix_rw = "none"\n`);
  // No virtlogd, security module or cgroups needed.
  const settings = 'stdio_handler = "file"\nsecurity_driver = "none"\nnamespaces = []\ncgroup_controllers = []\n';
  await writeFile(join(dir, 'libvirt/qemu.conf'), settings);
  const privileged = process.getuid?.() === 0;
  if (privileged) for (const path of ['', 'run', 'libvirt']) await chown(join(dir, path), 65534, 65534);
  const daemon = ['/usr/sbin/libvirtd', '-f', join(dir, 'conf'), '-p', join(dir, 'pid')];
  const [command, ...args] = privileged ? ['/usr/bin/setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', ...daemon] : daemon;
  const env = {
    PATH: qemu ? '/usr/bin:/bin' : '',
    HOME: dir,
    XDG_RUNTIME_DIR: join(dir, 'run'),
    XDG_CONFIG_HOME: dir,
    XDG_CACHE_HOME: dir,
  };
  // Detached: Ctrl-C is for its user, who then ends it in order.
  const child = spawn(command as string, args, { env, stdio: 'ignore', detached: true });
  const ended = new Promise<true>((resolve) => {
    child.on('exit', () => resolve(true));
    child.on('error', () => resolve(true));
  });
  const end = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
    await rm(dir, { recursive: true, force: true });
  };
  const socket = join(dir, 'run/libvirt-sock');
  const listens = async (): Promise<true | undefined> =>
    await stat(socket)
      .then(() => true as const)
      .catch(() => undefined);
  try {
    // QEMU is probed first.
    await until('libvirtd to listen', qemu ? 60_000 : 8000, 20, listens);
  } catch (error) {
    await end();
    throw error;
  }
  const uri = `${qemu ? 'qemu:///session' : 'test+unix:///default'}?socket=${socket}`;
  return { uri, pid: Number(await readFile(join(dir, 'pid'), 'utf8')), end };
}
