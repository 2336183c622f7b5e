/**
 * One coordinator per host.
 *
 * The lock is an abstract UNIX socket (unix(7)) named by the host's id: the kernel takes it away with the process that holds it, however
 * that dies, so there is never a stale lock to clean up; and whoever finds it taken asks it for its holder's pid.
 *
 * Its limits: an abstract socket is seen within one network namespace, so a coordinator in a container with a network of its own, or one
 * on another machine that manages this host from afar, is not noticed; and any local user may take the name. It keeps two operators from
 * working against each other by mistake. It is no defence.
 *
 * Node passes abstract names whole only since 20.8 (nodejs/node#49667); earlier releases cut them to nothing.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';

/** Another coordinator holds the host. */
export class LockedError extends Error {
  readonly code = 'ERR_MEMCOORD_LOCKED';
  override readonly name = 'LockedError';
  /** Process id of the holder; null where it did not answer. */
  readonly pid: number | null;

  constructor(pid: number | null, advice = '') {
    const holder = pid === null ? 'a process that does not answer' : `process ${pid}`;
    super(`another coordinator holds this host: ${holder}${advice === '' ? '' : `; ${advice}`}`);
    this.pid = pid;
  }
}

/** A host that is held against other coordinators. */
export interface Lock {
  /** Frees the host for others. */
  release(): Promise<void>;
}

/** A holder answers from its event loop; one that hangs, or answers drop by drop, must not hang us. */
const ANSWER_DEADLINE_MS = 1000;
/** Characters; no pid is longer. */
const LONGEST_ANSWER = 20;

/**
 * Takes the lock of a host.
 *
 * @throws LockedError (`ERR_MEMCOORD_LOCKED`) where another process, or another holder in this one, has it.
 */
export async function takeLock(hostId: string): Promise<Lock> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    // A client that never hangs up would hold a file descriptor of ours, and keep release() waiting.
    socket.end(`${process.pid}\n`, () => socket.destroy());
  });
  // The holder may end between our try and our question; after that the name is free.
  for (let attempt = 0; !(await listen(server, nameOf(hostId))); attempt++) {
    const holder = await ask(nameOf(hostId));
    if (holder !== 'nobody' || attempt === 3) throw new LockedError(holder === 'nobody' ? null : holder);
  }
  // The lock lasts as long as the process, but does not keep it running.
  server.unref();
  return { release: () => new Promise((resolve) => server.close(() => resolve())) };
}

/** Pid of the coordinator that holds a host; null where it does not answer, 'nobody' where there is none. */
export function lockHolder(hostId: string): Promise<number | null | 'nobody'> {
  return ask(nameOf(hostId));
}

/**
 * Pid of the process that owns the lock's socket, as the kernel reports it: unlike the holder's answer it cannot be forged, and a holder
 * that hangs is found too. null if there is none, or if we may not see it (another user's, without root).
 */
export async function lockOwner(hostId: string): Promise<number | null> {
  // Num RefCount Protocol Flags Type St Inode Path. The flag marks the listening socket; the zeros that pad a name show as @.
  const column = /^\S+ \S+ \S+ 00010000 \S+ \S+ +(\d+) @(.*?)@*$/gm;
  const sockets = [...(await readFile('/proc/net/unix', 'utf8')).matchAll(column)];
  const ours = sockets.filter(([, , name]) => name === nameOf(hostId).slice(1));
  // The path of a socket file may contain a line break and a line like ours, but it cannot hide the real line.
  const inode = ours.length === 1 ? ours[0]?.[1] : undefined;
  if (inode === undefined) return null;
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    // Processes may end meanwhile, and those of other users do not show their open files.
    for (const file of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      if ((await readlink(`/proc/${pid}/fd/${file}`).catch(() => '')) === `socket:[${inode}]`) return Number(pid);
    }
  }
  return null;
}

function nameOf(hostId: string): string {
  return `\0memcoord-${hostId}`;
}

function listen(server: Server, path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => (error.code === 'EADDRINUSE' ? resolve(false) : reject(error));
    server.once('error', failed);
    server.listen({ path }, () => {
      server.off('error', failed);
      resolve(true);
    });
  });
}

function ask(path: string): Promise<number | null | 'nobody'> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect({ path });
    const deadline = setTimeout(() => socket.destroy(), ANSWER_DEADLINE_MS);
    socket.on('data', (data) => {
      answer += String(data);
      if (answer.length > LONGEST_ANSWER) socket.destroy();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED' ? 'nobody' : null));
    socket.on('close', () => {
      clearTimeout(deadline);
      resolve(/^\d+\n$/.test(answer) ? Number(answer) : null);
    });
  });
}
