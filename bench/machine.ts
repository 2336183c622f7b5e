/** What a run was made on. */
import os from 'node:os';
import { ROOT, run } from '../test/lab/shell.js';
import type { Mode } from './question.js';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly libvirt: string;
  readonly qemu: string;
  /** How the real guests ran; null where none was asked of. */
  readonly acceleration: 'kvm' | 'qemu' | null;
  readonly node: string;
  /** With `+` where the code that runs differs from the commit. */
  readonly commit: string;
  /** ISO 8601. */
  readonly date: string;
  readonly mode: Mode;
}

/** First version number in what a command prints. */
async function version(command: string, ...args: string[]): Promise<string> {
  const { stdout } = await run(command, args);
  return /\d+(\.\d+)+/.exec(stdout)?.[0] ?? '?';
}

async function commit(): Promise<string> {
  const git = async (...args: string[]): Promise<string> => (await run('git', args, { cwd: ROOT, mayFail: true })).stdout.trim();
  const changed = await git('status', '--porcelain', '--untracked-files=no', '--', 'lib', 'native', 'bench/*.ts', 'bench/contenders');
  return `${(await git('rev-parse', '--short', 'HEAD')) || '?'}${changed === '' ? '' : '+'}`;
}

export async function describeMachine(mode: Mode, acceleration: Machine['acceleration']): Promise<Machine> {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model.trim() ?? '?',
    cores: cpus.length,
    memoryGiB: os.totalmem() / 2 ** 30,
    kernel: os.release(),
    libvirt: await version('virsh', '--version'),
    qemu: await version('qemu-system-x86_64', '--version'),
    acceleration,
    node: process.versions.node,
    commit: await commit(),
    date: new Date().toISOString(),
    mode,
  };
}
