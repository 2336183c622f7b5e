/** Compiles the C program that shows what libvirt itself takes. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LAB, ROOT, run } from '../test/lab/shell.js';

/** @returns the program's path. */
export async function compileFloor(): Promise<string> {
  const program = join(LAB, 'bench/floor');
  await mkdir(join(LAB, 'bench'), { recursive: true });
  const flags = (await run('pkg-config', ['--cflags', '--libs', 'libvirt'])).stdout.trim().split(/\s+/);
  await run('gcc', ['-O2', '-Wall', '-Wextra', '-Werror', '-pthread', '-o', program, 'bench/contenders/floor.c', ...flags], { cwd: ROOT });
  return program;
}
