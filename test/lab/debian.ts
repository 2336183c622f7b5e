/**
 * A Debian on a disk, for what takes more than the lab's own small root: systemd, a file system, and a file to be read again and again. It
 * is built once and kept in .lab/cache. Guests mount it read-only, several at a time, so that a test leaves nothing behind.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CACHE, LabError, run } from './shell.js';

/** Size of the guest's /data/file. */
export const FILE_MIB = 1000;

const SUITE = 'bookworm';
const PACKAGES = ['systemd-sysv', 'udev'];
const DISK_MIB = 2048;
const BUILD_LIMIT_MS = 900_000;

/** What is not out of a package. /var is a tmpfs (systemd.volatile=state, guests.ts); the agent is put into /run by guest/init. */
const FILES: Readonly<Record<string, string>> = {
  'etc/hostname': 'lab\n',
  'etc/machine-id': '',
  'etc/systemd/system/agent.service': `[Unit]
Description=The lab's agent

[Service]
ExecStart=/run/agent /dev/ttyS1
`,
};
const LINKS: Readonly<Record<string, string>> = {
  'etc/systemd/system/multi-user.target.wants/agent.service': '../agent.service',
};

/** Where apt gets Debian from on this machine. */
async function mirror(): Promise<string> {
  const filters = ['Created-By: Packages', 'Origin: Debian', 'Label: Debian', `Codename: ${SUITE}`, 'Component: main'];
  const found = (await run('apt-get', ['indextargets', '--format', '$(REPO_URI)', ...filters])).stdout.trim().split('\n')[0] ?? '';
  if (found === '') throw new LabError(`apt knows no Debian ${SUITE}: run 'apt-get update' (scripts/setup lab does)`);
  // Debian's cloud images keep a list of mirrors in a file.
  const list = /^mirror\+file:\/*(\/.*?)\/*$/.exec(found)?.[1];
  return list === undefined ? found : ((await readFile(list, 'utf8')).split(/\s/)[0] ?? '');
}

/** Path of the disk, whether it is built yet or not. */
function diskPath(): string {
  const sources = JSON.stringify([SUITE, PACKAGES, DISK_MIB, FILE_MIB, FILES, LINKS]);
  return join(CACHE, `debian-${createHash('sha256').update(sources).digest('hex').slice(0, 16)}.ext4`);
}

/** @returns why the disk can neither be used nor built here; null where it can. */
export function unableToBuild(): string | null {
  return existsSync(diskPath()) || process.getuid?.() === 0 ? null : 'the Debian guest can only be built by root (debootstrap)';
}

/** @returns path of the disk, made where it is missing or made from something else. */
export async function buildDebian(say: (line: string) => void): Promise<string> {
  const disk = diskPath();
  if (existsSync(disk)) return disk;
  say(`building the disk of the Debian guests (${SUITE}, with a file of ${FILE_MIB} MiB; 41 MB to download; some minutes, once)`);
  await mkdir(CACHE, { recursive: true });
  // Older ones, and what a build that was killed has left.
  for (const old of await readdir(CACHE)) if (old.startsWith('debian-')) await rm(join(CACHE, old), { recursive: true });
  const work = await mkdtemp(join(CACHE, 'debian-'));
  const tree = join(work, 'tree');
  try {
    // In namespaces of its own: what it mounts or starts ends with it.
    const alone = ['--mount', '--pid', '--fork', '--kill-child'];
    const bootstrap = ['debootstrap', '--variant=minbase', `--include=${PACKAGES.join()}`, SUITE, tree, await mirror()];
    await run('unshare', [...alone, ...bootstrap], { timeoutMs: BUILD_LIMIT_MS, env: withSbin });
    await rm(join(tree, 'var/cache/apt/archives'), { recursive: true });
    for (const [path, text] of Object.entries(FILES)) await writeFile(join(tree, path), text);
    for (const [path, target] of Object.entries(LINKS)) {
      await mkdir(dirname(join(tree, path)), { recursive: true });
      await symlink(target, join(tree, path));
    }
    await mkdir(join(tree, 'data'));
    // Zeros would become holes, which are read without the disk.
    await run('sh', ['-c', `head -c ${FILE_MIB}M /dev/urandom >data/file`], { cwd: tree });
    const image = join(work, 'disk');
    await writeFile(image, '');
    await truncate(image, DISK_MIB * 1024 * 1024);
    await run('mkfs.ext4', ['-q', '-F', '-d', tree, image], { timeoutMs: BUILD_LIMIT_MS, env: withSbin });
    await rename(image, disk);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return disk;
}

const withSbin = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
