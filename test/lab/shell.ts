/**
 * Where the lab keeps its files, and how it runs other programs.
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** The checkout: the same for the sources (test/lab) and for what is compiled from them (.lab/js/test/lab). */
export const ROOT = dirname(createRequire(import.meta.url).resolve('memcoord/package.json'));
export const SOURCES = join(ROOT, 'test/lab');
/** Everything that the lab makes lies in here. */
export const LAB = join(ROOT, '.lab');
/** Kernel and initramfs; kept. */
export const CACHE = join(LAB, 'cache');
/** Sockets, logs, pid files and state of a lab that is up; removed by `down`. */
export const RUN = join(LAB, 'run');

/** A failure whose message is all that a person needs; told without a stack. */
export class LabError extends Error {}

export interface RunOptions {
  readonly cwd?: string;
  readonly timeoutMs?: number;
  readonly env?: NodeJS.ProcessEnv;
  /** Return what it printed although it failed. */
  readonly mayFail?: boolean;
}

/**
 * Runs a program to its end, out of reach of the terminal's Ctrl-C: taking the lab down must not be cut short by the key that began it.
 *
 * @returns its exit code, stdout and stderr.
 * @throws LabError where it fails.
 */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  return await new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let stdout = '';
    let stderr = '';
    let late = false;
    child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString();
    });
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
    });
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, options.timeoutMs ?? 120_000);
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(new LabError(`cannot run ${command}: ${error.message} (scripts/setup lab installs what the lab needs)`));
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      if (code === 0 || options.mayFail === true) return resolve({ code: code ?? 1, stdout, stderr });
      const outcome = late ? 'took too long' : `failed (${code})`;
      reject(new LabError(`${command} ${args.join(' ')} ${outcome}: ${stderr.trim() || stdout.trim()}`));
    });
  });
}

export const sleep = async (ms: number): Promise<void> => await new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Asks again every `everyMs` until the answer is not undefined.
 *
 * @throws LabError after `timeoutMs`, with `what`, or when the signal says that nobody waits any more.
 */
export async function until<T>(
  what: string,
  timeoutMs: number,
  everyMs: number,
  ask: () => Promise<T | undefined>,
  signal?: AbortSignal,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    if (signal?.aborted === true) throw new LabError('interrupted');
    const value = await ask();
    if (value !== undefined) return value;
    if (performance.now() > end) throw new LabError(`waited ${timeoutMs / 1000} s for ${what}`);
    await sleep(everyMs);
  }
}
