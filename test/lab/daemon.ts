/**
 * The libvirt daemon that the lab's guests run under: the one that runs already, or one that the lab starts and ends itself.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError, ROOT, RUN, run, until } from './shell.js';

/** With root the system's guests, without it the user's own. LAB_URI overrides. */
export const URI = process.env.LAB_URI ?? (process.getuid?.() === 0 ? 'qemu:///system' : 'qemu:///session');

const PID_FILE = join(RUN, 'libvirtd.pid');
const LOG = join(RUN, 'libvirtd.log');
const CONFIG = join(RUN, 'config');

/**
 * Settings of QEMU's driver for a daemon of ours.
 * - user, group: with another user than ours libvirt takes its cached probe of QEMU for stale at every start (44 s each under emulation).
 * - stdio_handler: the guests' console logs are written by QEMU itself, so that no virtlogd is needed.
 * - the rest switches off what needs a host with systemd, cgroups or a security module.
 */
const QEMU_CONF = `stdio_handler = "file"
security_driver = "none"
namespaces = []
cgroup_controllers = []
`;
const QEMU_CONF_ROOT = `user = "root"
group = "root"
dynamic_ownership = 0
`;

/**
 * Its socket is for its own user alone, so that no policy daemon has to be asked who may connect. Where libvirt finds no UUID of the
 * machine it makes up another one at each start, under which memcoord would find nothing of what it has kept: the checkout's stands for it.
 */
const hostUuid = (of: string): string => `host_uuid = "${createHash('md5').update(of).digest('hex')}"\n`;
const LIBVIRTD_CONF = `auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_ro_perms = "0700"
unix_sock_rw_perms = "0700"
`;

/**
 * QEMU's driver does not start where its default account is unknown, whatever its settings say. The package that would create it
 * also brings services, so where it is not installed the account exists in the daemon's view of /etc alone. Nothing runs as it.
 */
const ACCOUNTS = [
  ['passwd', 'libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin\n'],
  ['group', 'libvirt-qemu:x:64055:\n'],
] as const;

/** libvirt runs it, among others, before it starts a guest, which then holds up every list; the seconds are read out of a file. */
const HOOK = (seconds: string) => `#!/bin/sh
cat > /dev/null
[ "$2" = prepare ] && [ -e '${seconds}' ] && sleep "$(cat '${seconds}')"
exit 0
`;
const SLOW_START = join(RUN, 'slow-start');

/** From now on each start of a guest takes so many seconds longer; 0 = no longer. Of a daemon of the lab's, of the system's guests. */
export async function slowStarts(seconds: number): Promise<void> {
  if (seconds > 0) await writeFile(SLOW_START, String(seconds));
  else await rm(SLOW_START, { force: true });
}

export async function virsh(...args: string[]): Promise<string> {
  return (await run('virsh', ['-q', '-c', URI, ...args])).stdout;
}

const ENV = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

/** For sh in a mount namespace of its own: makes `folder` /etc/libvirt. */
function script(folder: string): string {
  const accounts = ACCOUNTS.map(([file]) => `mount --bind '${CONFIG}/${file}' /etc/${file}`).join(' && ');
  return `mount --bind '${folder}' /etc/libvirt && { id libvirt-qemu >/dev/null 2>&1 || { ${accounts}; }; }`;
}

async function answers(): Promise<boolean> {
  // Without root a client starts the user's daemon by itself, and that one would not have our settings.
  const env = { ...process.env, LIBVIRT_AUTOSTART: '0' };
  return (await run('virsh', ['-q', '-c', URI, 'uri'], { mayFail: true, timeoutMs: 60_000, env })).code === 0;
}

/** @returns pid of the daemon that the lab started, if it still runs: a pid alone could be another process by now. */
export async function daemonPid(): Promise<number | null> {
  const pid = Number((await readFile(PID_FILE, 'utf8').catch(() => '')).trim());
  if (!Number.isInteger(pid) || pid <= 1) return null;
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return command.includes('libvirtd') && command.includes(PID_FILE) ? pid : null;
}

/**
 * Starts a daemon where none answers.
 *
 * Nothing in /etc is touched. The user's daemon takes its settings from XDG_CONFIG_HOME; those of the system's are always in
 * /etc/libvirt, so ours sees a folder of the lab there, by a bind mount in a mount namespace of its own. In it are no networks and
 * no guests of the machine's that it could start.
 */
export async function startDaemon(say: (line: string) => void): Promise<void> {
  if ((await daemonPid()) === null && (await answers())) return;
  let over = false;
  if ((await daemonPid()) === null) {
    say('starting libvirtd');
    const folder = join(CONFIG, 'libvirt');
    await mkdir(folder, { recursive: true });
    const system = URI === 'qemu:///system';
    await writeFile(join(folder, 'qemu.conf'), system ? QEMU_CONF_ROOT + QEMU_CONF : QEMU_CONF);
    await writeFile(join(folder, 'libvirtd.conf'), hostUuid(ROOT) + LIBVIRTD_CONF);
    // Looked for when the daemon starts, and always in /etc/libvirt.
    await mkdir(join(folder, 'hooks'), { recursive: true });
    await writeFile(join(folder, 'hooks/qemu'), HOOK(SLOW_START), { mode: 0o755 });
    for (const [file, line] of ACCOUNTS) await writeFile(join(CONFIG, file), (await readFile(join('/etc', file), 'utf8')) + line);
    const log = openSync(LOG, 'a');
    const daemon = ['libvirtd', '--pid-file', PID_FILE];
    const [command, ...args] = system ? ['unshare', '--mount', 'sh', '-c', `${script(folder)} && exec "$@"`, 'sh', ...daemon] : daemon;
    const env = { ...ENV, ...(system ? {} : { XDG_CONFIG_HOME: CONFIG }) };
    const child = spawn(command as string, args, { detached: true, stdio: ['ignore', log, log], env, cwd: '/' });
    child.on('error', () => {
      over = true;
    });
    child.on('exit', () => {
      over = true;
    });
    child.unref();
  }
  // The very first start on a machine probes QEMU, which takes most of a minute under emulation.
  const answered = async (): Promise<boolean | undefined> => ((await answers()) ? true : over ? false : undefined);
  if (!(await until('libvirtd to answer', 180_000, 200, answered))) {
    const log = (await readFile(LOG, 'utf8').catch(() => '')).trim().split('\n').slice(-5).join('\n');
    throw new LabError(`libvirtd ended at once (the program is there? root may mount?); its log ends:\n${log}`);
  }
}

/**
 * A second system daemon, as if on a host of its own: guests of the lab's can migrate there. It has its own view of /run/libvirt and
 * /var/lib/libvirt, and its QEMUs end with it. What it says goes into `dir`.
 *
 * @returns its URI, and ends it.
 */
export async function startDestination(dir: string): Promise<{ uri: string; end(): Promise<void> }> {
  const folder = join(dir, 'libvirt');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'qemu.conf'), QEMU_CONF_ROOT + QEMU_CONF);
  await writeFile(join(folder, 'libvirtd.conf'), `${hostUuid(dir)}${LIBVIRTD_CONF}unix_sock_dir = "${dir}"\n`);
  const log = openSync(join(dir, 'libvirtd.log'), 'a');
  const own = ['/run/libvirt', '/var/lib/libvirt'].map((path) => `mount -t tmpfs tmpfs ${path}`).join(' && ');
  const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const daemon = ['libvirtd', '--pid-file', join(dir, 'libvirtd.pid')];
  // The first process of the namespace reaps what ends in it: libvirtd would wait for its QEMUs in vain.
  const args = [...namespaces, 'sh', '-c', `${own} && ${script(folder)} && "$@"; exit $?`, 'sh', ...daemon];
  const child = spawn('unshare', args, { detached: true, stdio: ['ignore', log, log], env: ENV, cwd: '/' });
  closeSync(log);
  const ended = new Promise<true>((resolve) => {
    child.on('exit', () => resolve(true));
    child.on('error', () => resolve(true));
  });
  let over = false;
  void ended.then(() => {
    over = true;
  });
  const end = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
    await rm(dir, { recursive: true, force: true });
  };
  const uri = `qemu+unix:///system?socket=${dir}/libvirt-sock`;
  try {
    await until('a second libvirtd to answer', 60_000, 100, async () => {
      if (over) throw new LabError(`the second libvirtd ended: ${(await readFile(join(dir, 'libvirtd.log'), 'utf8')).slice(-500)}`);
      return (await run('virsh', ['-q', '-c', uri, 'uri'], { mayFail: true, timeoutMs: 60_000 })).code === 0 ? true : undefined;
    });
  } catch (error) {
    await end();
    throw error;
  }
  return { uri, end };
}

/** Ends the daemon if the lab started it. */
export async function stopDaemon(): Promise<boolean> {
  const pid = await daemonPid();
  if (pid === null) return false;
  process.kill(pid, 'SIGTERM');
  await until('libvirtd to end', 30_000, 100, async () => ((await daemonPid()) === null ? true : undefined));
  await rm(PID_FILE, { force: true });
  return true;
}
