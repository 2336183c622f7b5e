/**
 * A libvirtd with access control by polkit, for real and yet apart from the machine's: D-Bus, polkitd, libvirtd and its guests run in mount
 * and process namespaces of their own, where /etc has the rule and the user memcoord, and all end with the first process in it. Needs root.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { access, chmod, chown, copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { CLEAN_ENV, ROOT, until } from './support.js';

/** The addon as it ships, whichever is under test, and nothing of tap's. */
const { MEMCOORD_PREBUILD: _prebuild, NODE_OPTIONS: _options, ...ENV } = CLEAN_ENV;

const POLKITD = '/usr/lib/polkit-1/polkitd';
const PROGRAMS = [POLKITD, '/usr/bin/dbus-daemon', '/usr/sbin/libvirtd', '/usr/bin/qemu-system-x86_64', '/usr/bin/nsenter'];
/** Where polkitd reads what actions there are, and where scripts/setup has put libvirt's on a machine that does not have them. */
const ACTIONS = '/usr/share/polkit-1/actions';
const LIBVIRTS = [ACTIONS, join(ROOT, '.lab/cache/polkit-actions')];
const LIBVIRT_ACTION = 'org.libvirt.api.policy';
/** Nobody on the machine has this id. */
const MEMCOORD = 64_123;

/** Why the tests cannot be run here; false where they can. */
export async function hindrance(): Promise<string | false> {
  if (process.getuid?.() !== 0) return 'this needs root';
  for (const program of PROGRAMS) {
    const there = await access(program).then(
      () => true,
      () => false,
    );
    if (!there) return `${program} is not there`;
  }
  if ((await actionFiles()).every((file) => basename(file) !== LIBVIRT_ACTION))
    return `${LIBVIRT_ACTION} is not there: run scripts/setup polkit`;
  const namespaces = await promisify(execFile)('unshare', [
    '--mount',
    '--pid',
    '--fork',
    '--mount-proc',
    'mount',
    '--bind',
    '/tmp',
    '/tmp',
  ]).then(
    () => true,
    () => false,
  );
  return namespaces ? false : 'the machine allows no namespaces';
}

/** All descriptions of actions that there are. */
async function actionFiles(): Promise<string[]> {
  const folders = LIBVIRTS.map(async (folder) => (await readdir(folder).catch(() => [])).map((name) => join(folder, name)));
  return (await Promise.all(folders)).flat();
}

export interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Guarded {
  readonly uri: string;
  /** Folder that is memcoord's. */
  readonly state: string;
  /** Runs a program among the daemons, as root or as the user memcoord. It ends after 30 s at the latest. */
  run(user: 'root' | 'memcoord' | 'nobody', command: string, ...args: readonly string[]): Promise<Answer>;
  /** Starts one as memcoord: the child of the process returned. */
  start(command: string, ...args: readonly string[]): ChildProcess;
  /** Puts other rules in force. */
  setRule(text: string): Promise<void>;
  end(): Promise<void>;
}

const BUS = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=DIR/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>
`;

/** Guests run as nobody: memcoord shares no user with them. */
const QEMU_CONF = `user = "nobody"
group = "nogroup"
stdio_handler = "file"
security_driver = "none"
namespaces = []
cgroup_controllers = []
`;

const LIBVIRTD_CONF = `unix_sock_dir = "DIR/run"
unix_sock_rw_perms = "0777"
auth_unix_ro = "polkit"
auth_unix_rw = "polkit"
access_drivers = ["polkit"]
`;

const SCRIPT = `set -e
for each in passwd group libvirt polkit-1/rules.d; do mount --bind "DIR/etc/$each" "/etc/$each"; done
mount --bind DIR/actions ${ACTIONS}
for each in /run/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do mount -t tmpfs none "$each"; done
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=DIR/bus
dbus-daemon --config-file=DIR/bus.conf --nofork --nopidfile &
while [ ! -S DIR/bus ]; do sleep 0.05; done
${POLKITD} --no-debug &
/usr/sbin/libvirtd -f /etc/libvirt/libvirtd.conf -p DIR/pid &
wait
`;

/** Process id of the one process that a running program has started; 0 where there is none. */
export async function childOf({ pid }: ChildProcess): Promise<number> {
  return Number((await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')).trim().split(' ')[0]);
}

/** @param rule the polkit rule in force. */
export async function startGuarded(rule: string): Promise<Guarded> {
  const dir = await mkdtemp(join(tmpdir(), 'memcoord-'));
  const here = (text: string) => text.replaceAll('DIR', dir);
  await chmod(dir, 0o755);
  await mkdir(join(dir, 'run'));
  await mkdir(join(dir, 'state'));
  await chown(join(dir, 'state'), MEMCOORD, MEMCOORD);
  await mkdir(join(dir, 'etc/libvirt'), { recursive: true });
  await mkdir(join(dir, 'etc/polkit-1/rules.d'), { recursive: true });
  const accounts = {
    passwd: [
      `memcoord:x:${MEMCOORD}:${MEMCOORD}::/nonexistent:/usr/sbin/nologin`,
      'libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin',
    ],
    group: [`memcoord:x:${MEMCOORD}:`, 'libvirt-qemu:x:64055:'],
  };
  for (const [file, lines] of Object.entries(accounts)) {
    const known = await readFile(join('/etc', file), 'utf8');
    const missing = lines.filter((line) => !known.includes(`\n${line.slice(0, line.indexOf(':') + 1)}`));
    await writeFile(join(dir, 'etc', file), `${known.trimEnd()}\n${missing.join('\n')}\n`);
  }
  await mkdir(join(dir, 'actions'));
  for (const file of await actionFiles()) await copyFile(file, join(dir, 'actions', basename(file)));
  await writeFile(join(dir, 'bus.conf'), here(BUS));
  await writeFile(join(dir, 'etc/libvirt/qemu.conf'), QEMU_CONF);
  await writeFile(join(dir, 'etc/libvirt/libvirtd.conf'), here(LIBVIRTD_CONF));
  for (const folder of ['/run/libvirt', '/var/lib/libvirt', '/var/cache/libvirt', '/var/log/libvirt'])
    await mkdir(folder, { recursive: true });
  const rules = join(dir, 'etc/polkit-1/rules.d/50-memcoord.rules');
  await writeFile(rules, rule);

  const child = spawn('unshare', ['--mount', '--pid', '--fork', '--mount-proc', '--kill-child=SIGKILL', 'sh', '-c', here(SCRIPT)], {
    env: ENV,
    stdio: 'ignore',
    detached: true,
  });
  const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()));
  const end = async () => {
    child.kill('SIGKILL');
    await ended;
    await rm(dir, { recursive: true, force: true });
  };
  const uri = `qemu:///system?socket=${dir}/run/libvirt-sock`;
  const words = (user: string, command: string, args: readonly string[]): string[] => {
    const id = user === 'memcoord' ? MEMCOORD : 65_534;
    const drop = user === 'root' ? [] : ['setpriv', `--reuid=${id}`, `--regid=${id}`, '--clear-groups'];
    return [
      '--mount',
      '--pid',
      `--target=${first}`,
      ...drop,
      'env',
      '-C',
      ROOT,
      'HOME=/nonexistent',
      `RUNTIME_DIRECTORY=${dir}/state`,
      `STATE_DIRECTORY=${dir}/state`,
      command,
      ...args,
    ];
  };
  let first = 0;
  const run: Guarded['run'] = (user, command, ...args) =>
    new Promise((resolve) => {
      execFile('nsenter', words(user, command, args), { env: ENV, timeout: 30_000, cwd: ROOT }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, stdout, stderr }),
      );
    });
  try {
    await until('the namespaces', async () => {
      first = await childOf(child);
      return first > 0;
    });
    // QEMU is probed first.
    await until('libvirtd', async () => (await run('root', 'virsh', '-c', uri, 'version')).code === 0, 100_000);
  } catch (error) {
    await end();
    throw error;
  }
  return {
    uri,
    state: join(dir, 'state'),
    run,
    start: (command, ...args) =>
      spawn('nsenter', words('memcoord', command, args), { env: ENV, cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] }),
    async setRule(text) {
      await writeFile(rules, text);
      // polkitd hears of it through inotify, and tells nobody.
      await sleep(1500);
    },
    end,
  };
}
