/**
 * What the guests boot: Debian's cloud kernel, taken out of its package, and an initramfs of busybox, six drivers and our agent.
 * Both are kept in .lab/cache and made again when their sources have changed.
 */
import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CACHE, LabError, run, SOURCES } from './shell.js';

export interface Image {
  readonly kernel: string;
  readonly initramfs: string;
}

const MODULES = ['virtio_ring', 'virtio', 'virtio_pci_modern_dev', 'virtio_pci_legacy_dev', 'virtio_pci', 'virtio_blk', 'virtio_balloon'];
const KERNEL = join(CACHE, 'kernel');
const BUSYBOX = '/bin/busybox';

async function readOrNull(path: string): Promise<Buffer | null> {
  return await readFile(path).catch(() => null);
}

/** Puts vmlinuz and the modules into .lab/cache/kernel, out of Debian's package; nothing is installed. */
async function fetchKernel(say: (line: string) => void): Promise<void> {
  if ((await readOrNull(join(KERNEL, 'vmlinuz'))) !== null) return;
  const depends = (await run('apt-cache', ['depends', 'linux-image-cloud-amd64'])).stdout;
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined) throw new LabError("apt knows no linux-image-cloud-amd64: run 'apt-get update' (scripts/setup lab does)");
  say(`taking the guests' kernel out of ${name} (27 MB to download, once)`);
  await mkdir(CACHE, { recursive: true });
  const work = await mkdtemp(join(CACHE, 'kernel-'));
  try {
    await run('apt-get', ['download', name], { cwd: work });
    const deb = (await readdir(work)).find((file) => file.endsWith('.deb'));
    if (deb === undefined) throw new LabError(`apt-get downloaded no ${name}`);
    await run('dpkg-deb', ['-x', deb, 'x'], { cwd: work });
    const boot = await readdir(join(work, 'x/boot'));
    const vmlinuz = boot.find((file) => file.startsWith('vmlinuz-'));
    if (vmlinuz === undefined) throw new LabError(`${name} holds no kernel`);
    const drivers = join(work, 'x/lib/modules', vmlinuz.slice('vmlinuz-'.length), 'kernel/drivers');
    const out = join(work, 'out');
    await mkdir(out);
    for (const module of MODULES) {
      const folder = module === 'virtio_blk' ? 'block' : 'virtio';
      await copyFile(join(drivers, folder, `${module}.ko`), join(out, `${module}.ko`));
    }
    await copyFile(join(work, 'x/boot', vmlinuz), join(out, 'vmlinuz'));
    await rename(out, KERNEL);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** @returns paths of kernel and initramfs, made where they are missing or older than their sources. */
export async function buildImage(say: (line: string) => void): Promise<Image> {
  await fetchKernel(say);
  const init = join(SOURCES, 'guest/init');
  const agent = join(SOURCES, 'guest/agent.c');
  const hash = createHash('sha256');
  for (const path of [init, agent, BUSYBOX, join(KERNEL, 'vmlinuz')]) {
    const content = await readOrNull(path);
    if (content === null) throw new LabError(`${path} is missing (scripts/setup lab installs what the lab needs)`);
    hash.update(content);
  }
  hash.update(MODULES.join());
  const initramfs = join(CACHE, `initramfs-${hash.digest('hex').slice(0, 16)}.gz`);
  const image = { kernel: join(KERNEL, 'vmlinuz'), initramfs };
  if ((await readOrNull(initramfs)) !== null) return image;

  say('building the guests’ initramfs');
  const tree = await mkdtemp(join(tmpdir(), 'memcoord-lab-'));
  try {
    for (const folder of ['bin', 'dev', 'proc', 'sys', 'modules', 'root']) await mkdir(join(tree, folder));
    await copyFile(BUSYBOX, join(tree, 'bin/busybox'));
    await copyFile(init, join(tree, 'init'));
    await chmod(join(tree, 'init'), 0o755);
    for (const module of MODULES) await copyFile(join(KERNEL, `${module}.ko`), join(tree, `modules/${module}.ko`));
    await run('gcc', ['-static', '-O2', '-Wall', '-Wextra', '-Werror', '-o', join(tree, 'agent'), agent]);
    await run('sh', ['-c', `find . | cpio --quiet -o -H newc -R 0:0 | gzip -1 >'${initramfs}.new'`], { cwd: tree });
    for (const old of await readdir(CACHE)) if (old.startsWith('initramfs-') && !old.endsWith('.new')) await rm(join(CACHE, old));
    await rename(`${initramfs}.new`, initramfs);
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
  return image;
}

export type Acceleration = 'kvm' | 'qemu';

/**
 * The domain type to use. /dev/kvm may be there and yet not run a guest (nested virtualisation switched off below), so a guest is
 * booted under it; the answer is kept until the host reboots. LAB_ACCEL=kvm or tcg overrides.
 */
export async function chooseAcceleration(image: Image): Promise<Acceleration> {
  const wish = process.env.LAB_ACCEL;
  if (wish === 'kvm') return 'kvm';
  if (wish === 'tcg') return 'qemu';
  if (wish !== undefined && wish !== '') throw new LabError(`LAB_ACCEL is '${wish}'; it may be kvm or tcg`);
  const boot = (await readOrNull('/proc/sys/kernel/random/boot_id'))?.toString().trim() ?? '';
  const kept = join(CACHE, 'acceleration');
  const [keptBoot, keptAnswer] = ((await readOrNull(kept))?.toString() ?? '').trim().split(' ');
  if (keptBoot === boot && (keptAnswer === 'kvm' || keptAnswer === 'qemu')) return keptAnswer;
  let answer: Acceleration = 'qemu';
  if ((await run('test', ['-w', '/dev/kvm'], { mayFail: true })).code === 0) {
    const args = ['-accel', 'kvm', '-m', '256', '-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot'];
    const probe = [...args, '-kernel', image.kernel, '-initrd', image.initramfs, '-append', 'console=ttyS0 quiet lab.probe=1'];
    const outcome = await run('qemu-system-x86_64', probe, { timeoutMs: 15_000, mayFail: true });
    if (outcome.stdout.includes('lab: probe ok')) answer = 'kvm';
  }
  await writeFile(kept, `${boot} ${answer}\n`);
  return answer;
}
