/** What the tests of the addon share: hosts of libvirt's test driver, a libvirtd of their own, child processes. */
import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import { loadBinding } from '../../lib/libvirt/load.js';
import type { LibvirtError, NativeConnection } from '../../lib/libvirt/native.js';
import { startPrivateDaemon } from '../lab/private.js';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const METADATA = 'urn:example:test';
/** Long enough for any healthy answer of a test driver, on a busy machine and under sanitizers. */
export const SOON = { deadlineMs: 10_000 };

export interface TestGuest {
  readonly name: string;
  readonly uuid: string;
  /** KiB. */
  readonly maximum: number;
  readonly current: number;
}

export function makeGuests(count: number): TestGuest[] {
  return Array.from({ length: count }, (_, i) => ({
    name: `guest${i}`,
    uuid: randomUUID(),
    maximum: 2_097_152,
    current: 524_288 + 1024 * i,
  }));
}

/** The definition of a guest of the test driver. */
export function domainXml({ name, uuid, maximum, current }: TestGuest): string {
  return `<domain type='test'>
  <name>${name}</name><uuid>${uuid}</uuid>
  <memory>${maximum}</memory><currentMemory>${current}</currentMemory>
  <metadata><m:settings xmlns:m='${METADATA}'>of ${name}</m:settings></metadata>
  <os><type>hvm</type></os>
  <devices><memballoon model='virtio'/></devices>
</domain>`;
}

/** A host of the test driver inside this process. @returns its URI. */
export async function hostOf(t: Test, guests: readonly TestGuest[], extra = ''): Promise<string> {
  const file = join(t.testdir(), 'node.xml');
  await writeFile(file, `<node>${guests.map(domainXml).join('\n')}${extra}</node>`);
  return `test://${file}`;
}

/** Opens a connection that the test closes at its end. The test driver reads its guests meanwhile: hundreds take a busy machine long. */
export async function open(t: Test, uri: string, readOnly = false): Promise<NativeConnection> {
  const connection = await loadBinding().open(uri, { readOnly, deadlineMs: 60_000 });
  t.teardown(() => connection.close({ deadlineMs: 1000 }));
  return connection;
}

/** The error that a promise rejects with; fails where it does not. */
export async function failureOf(promise: Promise<unknown>): Promise<LibvirtError> {
  return promise.then(
    () => {
      throw new Error('expected an error and there was none');
    },
    (error: LibvirtError) => error,
  );
}

export async function until(what: string, holds: () => boolean | Promise<boolean>, ms = 8000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain for ${what}`);
    await sleep(20);
  }
}

const { LD_PRELOAD: _sanitizers, ...others } = process.env;
/** For programs that are not under test: without the sanitizers' runtime, if the tests are run with it. */
export const CLEAN_ENV: NodeJS.ProcessEnv = others;

export interface Daemon {
  readonly uri: string;
  readonly pid: number;
  /** Runs virsh on the daemon's host. */
  virsh(...args: string[]): Promise<string>;
}

/** A libvirtd of the test's own ({@link startPrivateDaemon}), which ends with the test. */
export async function startDaemon(t: Test, options: { qemu?: boolean } = {}): Promise<Daemon> {
  const { uri, pid, end } = await startPrivateDaemon(options);
  t.teardown(end);
  const virsh = async (...words: string[]) =>
    (await promisify(execFile)('virsh', ['-q', '-c', uri, ...words], { env: CLEAN_ENV })).stdout.trim();
  return { uri, pid, virsh };
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

export interface RunOptions {
  readonly uri?: string;
  readonly flags?: readonly string[];
  readonly argv?: readonly unknown[];
  /** A library to load before all others. */
  readonly preload?: string;
  /** It ends in the midst of things, where what has not been freed is no leak. */
  readonly abrupt?: boolean;
}

/**
 * Runs a program in a Node of its own: `binding` is the addon, `uri` and `argv` are as given, `SOON` as here.
 */
export async function runNode(
  program: string,
  { uri = 'test:///default', flags = [], argv = [], preload, abrupt = false }: RunOptions = {},
): Promise<Ended> {
  const source = `
    const binding = require('node-gyp-build')(${JSON.stringify(ROOT)});
    const [uri, argv] = ${JSON.stringify([uri, argv])};
    const SOON = ${JSON.stringify(SOON)};
    const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    (async () => { ${program} })().catch((error) => { console.error(error); process.exitCode = 99; });`;
  const started = Date.now();
  // tap's loaders have no business there.
  const { NODE_OPTIONS: _, ...env } = process.env;
  const libraries = [env.LD_PRELOAD, preload].filter((library) => library !== undefined).join(' ');
  if (libraries !== '') env.LD_PRELOAD = libraries;
  if (abrupt) env.ASAN_OPTIONS = `${env.ASAN_OPTIONS ?? ''}:detect_leaks=0`;
  const child = spawn(process.execPath, [...flags, '-e', source], {
    cwd: ROOT,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data) => {
    stdout += data;
  });
  child.stderr.on('data', (data) => {
    stderr += data;
  });
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, stdout: stdout.trim(), stderr: stderr.trim(), ms: Date.now() - started }));
  });
}
