/** Brings up the hosts that questions are asked on, one at a time, and takes them down again however that ends. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { down, guestSpecs, readLab, up } from '../test/lab/guests.js';
import { Virsh } from '../test/lab/observer.js';
import { startPrivateDaemon } from '../test/lab/private.js';
import { LabError } from '../test/lab/shell.js';
import { daemonOf } from './process.js';
import type { Host, HostName } from './question.js';

const NOBODY: Host = { name: 'none', uri: '', guests: [], daemon: Number.NaN, lab: null };

export async function withHost(
  name: HostName,
  say: (line: string) => void,
  signal: AbortSignal,
  use: (host: Host) => Promise<void>,
): Promise<void> {
  switch (name) {
    case 'none':
      return await use(NOBODY);
    case 'real4':
      return await withLab(name, 4, say, signal, use);
    case 'real20':
      return await withLab(name, 20, say, signal, use);
    case 'test100':
      return await withTestHost(name, 100, say, use);
    case 'test1000':
      return await withTestHost(name, 1000, say, use);
  }
}

async function withLab(
  name: HostName,
  count: number,
  say: (line: string) => void,
  signal: AbortSignal,
  use: (host: Host) => Promise<void>,
): Promise<void> {
  if ((await readLab()) !== null)
    throw new LabError("a lab is up that the benchmark did not start, and its guests may be in any state: 'npm run lab -- down' first");
  try {
    const lab = await up(guestSpecs({ count }), say, signal);
    await use({ name, uri: lab.uri, guests: lab.guests.map((guest) => guest.name), daemon: await daemonOf(lab.uri), lab });
  } finally {
    await down(say);
  }
}

/**
 * Guests of libvirt's test driver, behind a daemon of their own. The driver keeps a host only while a connection to it is open: one is
 * held.
 */
async function withTestHost(name: HostName, count: number, say: (line: string) => void, use: (host: Host) => Promise<void>): Promise<void> {
  say(`starting ${count} guests of libvirt's test driver`);
  const files = await mkdtemp(join(tmpdir(), 'memcoord-guests-'));
  const daemon = await startPrivateDaemon();
  const virsh = new Virsh(daemon.uri);
  try {
    // The driver's host comes with one guest, named test.
    const guests = ['test', ...Array.from({ length: count - 1 }, (_, i) => `guest${i + 1}`)];
    const file = (guest: string): string => join(files, `${guest}.xml`);
    await Promise.all(guests.slice(1).map(async (guest) => await writeFile(file(guest), guestXml(guest))));
    await virsh.ask(guests.slice(1).map((guest) => `create ${file(guest)}`));
    await use({ name, uri: daemon.uri, guests, daemon: daemon.pid, lab: null });
  } finally {
    virsh.end();
    await daemon.end();
    await rm(files, { recursive: true, force: true });
  }
}

/** A guest of libvirt's test driver. */
export function guestXml(name: string): string {
  return `<domain type='test'>
  <name>${name}</name><memory unit='MiB'>2048</memory><currentMemory unit='MiB'>512</currentMemory>
  <os><type>hvm</type></os>
  <devices><memballoon model='virtio'/></devices>
</domain>`;
}
