/**
 * A contender: a process of its own that makes one cycle each time it is told to.
 *
 * It prints `ready` once it has connected. For each line that it then reads it makes a cycle: it finds out which guests run, reads the memory
 * figures of all of them, and, where the line has a size in KiB, sets all of them to it. It answers with a line of two numbers, ms: the wall
 * time of this cycle, and the CPU time that it and its children took since it started.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { LabError, ROOT } from '../test/lab/shell.js';

/** Longer than any cycle takes: the shell's over 1,000 guests takes some 20 s, and more where the machine is busy. */
const LIMIT_MS = 180_000;

export interface Cycle {
  /** ms. */
  readonly wall: number;
  /** ms, of all cycles so far. */
  readonly cpuSoFar: number;
}

export class Contender {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  private constructor(name: string, command: readonly string[], signal: AbortSignal) {
    this.name = name;
    // Detached: Ctrl-C is for us, who then end it.
    this.#child = spawn(command[0] ?? '', command.slice(1), { cwd: ROOT, stdio: 'pipe', detached: true, signal, killSignal: 'SIGKILL' });
    this.#child.on('error', (error) => {
      this.#errors += error.message;
    });
    this.#child.stdin?.on('error', () => undefined);
    this.#child.stderr?.on('data', (data: Buffer) => {
      this.#errors += data.toString();
    });
    if (this.#child.stdout === null) throw new LabError(`${name} has no output`);
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Starts one and waits until it is ready. */
  static async start(name: string, command: readonly string[], signal: AbortSignal): Promise<Contender> {
    const contender = new Contender(name, command, signal);
    await contender.#next();
    return contender;
  }

  /** @param size what to set all guests to, KiB; null = the cycle only reads. */
  async cycle(size: number | null): Promise<Cycle> {
    this.#child.stdin?.write(`${size ?? ''}\n`);
    const [wall = Number.NaN, cpuSoFar = Number.NaN] = (await this.#next()).split(' ').map(Number);
    return { wall, cpuSoFar };
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }

  /** @throws LabError where it has ended, with what it said, or does not answer. */
  async #next(): Promise<string> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.end();
    }, LIMIT_MS);
    const { value, done } = await this.#lines.next();
    clearTimeout(timer);
    if (late) throw new LabError(`${this.name} has not answered for ${LIMIT_MS / 1000} s`);
    if (done === true) throw new LabError(`${this.name} ended: ${this.#errors.trim() || 'it said nothing'}`);
    return value;
  }
}
