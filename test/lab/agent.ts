/**
 * Talks with the agent in a guest (guest/agent.c has its commands) over the guest's serial port, which is a UNIX socket here.
 */
import { randomBytes } from 'node:crypto';
import { createConnection } from 'node:net';
import { LabError } from './shell.js';

/**
 * Sends one command and waits for its answer. QEMU serves one client of a socket at a time; others wait their turn.
 *
 * @returns what the guest answered after `ok`.
 * @throws LabError with the guest's words where it answered `error`, or where no answer came in time.
 */
export async function say(name: string, socketPath: string, command: string, timeoutMs = 10_000): Promise<string> {
  const id = randomBytes(4).toString('hex');
  return await new Promise((resolve, reject) => {
    const socket = createConnection(socketPath);
    let text = '';
    const finish = (error: LabError | null, answer = ''): void => {
      clearTimeout(timer);
      socket.destroy();
      if (error === null) resolve(answer);
      else reject(error);
    };
    const timer = setTimeout(() => finish(new LabError(`${name} did not answer '${command}' within ${timeoutMs / 1000} s`)), timeoutMs);
    socket.on('error', (error) => finish(new LabError(`cannot talk with ${name}: ${error.message}`)));
    socket.on('close', () => finish(new LabError(`${name} hung up`)));
    // The empty line ends what a caller before us may have left unfinished.
    socket.on('connect', () => socket.write(`\n${id} ${command}\n`));
    socket.on('data', (data: Buffer) => {
      text += data.toString('latin1');
      const answer = new RegExp(`^${id} (ok|error) ?(.*)\n`, 'm').exec(text);
      if (answer === null) return;
      if (answer[1] === 'ok') finish(null, answer[2] ?? '');
      else finish(new LabError(`${name}: ${answer[2]}`));
    });
  });
}

/** Figures of `report`, by name; memory in KiB. */
export async function report(name: string, socketPath: string, timeoutMs?: number): Promise<Readonly<Record<string, number>>> {
  const answer = await say(name, socketPath, 'report', timeoutMs);
  return Object.fromEntries(answer.split(' ').map((pair) => [pair.slice(0, pair.indexOf('=')), Number(pair.slice(pair.indexOf('=') + 1))]));
}
