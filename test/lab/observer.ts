/**
 * Watches the guests through libvirt's own client, so that nothing that it says depends on the code under test.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import type { Sample } from './recording.js';
import { LabError } from './shell.js';

/** One virsh that takes command after command: starting one for each reading would cost more than the reading. */
export class Virsh {
  readonly #process: ChildProcessWithoutNullStreams;
  #output = '';
  #errors = '';
  #asked = 0;
  #wake: () => void = () => undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(uri: string) {
    this.#process = spawn('virsh', ['-q', '-c', uri], { env: { ...process.env, LC_ALL: 'C' }, detached: true });
    this.#process.stdout.on('data', (data: Buffer) => {
      this.#output += data.toString();
      this.#wake();
    });
    this.#process.stderr.on('data', (data: Buffer) => {
      this.#errors += data.toString();
    });
    this.#process.on('exit', () => this.#wake());
    this.#process.on('error', () => this.#wake());
    this.#process.stdin.on('error', () => undefined);
  }

  /** @returns what the commands printed, one text for each. Calls wait for one another. */
  async ask(commands: readonly string[]): Promise<string[]> {
    const turn = this.#last.then(() => this.#ask(commands));
    this.#last = turn.catch(() => undefined);
    return await turn;
  }

  async #ask(commands: readonly string[]): Promise<string[]> {
    const marks = commands.map(() => `end-${++this.#asked}-`);
    this.#output = '';
    this.#errors = '';
    this.#process.stdin.write(commands.map((command, index) => `${command}\necho ${marks[index]}\n`).join(''));
    // virsh repeats what it reads; the mark counts where it was printed, not where it was read.
    const done = new RegExp(`(?<!echo )${marks.at(-1)}`);
    while (!done.test(this.#output)) {
      if (this.#process.exitCode !== null || this.#process.signalCode !== null) throw new LabError(`virsh ended: ${this.#errors.trim()}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    let rest = this.#output;
    return marks.map((mark) => {
      const end = rest.search(new RegExp(`(?<!echo )${mark}`));
      const text = rest.slice(0, end);
      rest = rest.slice(end + mark.length);
      return text;
    });
  }

  end(): void {
    this.#process.stdin.end();
  }
}

/** A figure of `dommemstat`; NaN where it is not in it. */
export const figure = (text: string, name: string): number => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN);

/** One reading of all guests, now. */
export async function read(virsh: Virsh, guests: readonly string[], now: () => number): Promise<Sample> {
  const texts = await virsh.ask(guests.map((guest) => `dommemstat ${guest}`));
  const column = (name: string): number[] => texts.map((text) => figure(text, name));
  return {
    t: now(),
    actual: column('actual'),
    unused: column('unused'),
    usable: column('usable'),
    swapIn: column('swap_in'),
    swapOut: column('swap_out'),
  };
}
