/** Which processes there are. From /proc. */
import { readdir, readFile } from 'node:fs/promises';

export async function processes(): Promise<number[]> {
  return (await readdir('/proc')).map(Number).filter(Number.isInteger);
}

/** The QEMU processes of guests, by their UUIDs. */
export async function qemusOf(uuids: readonly string[]): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await processes()) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (command.includes('qemu') && uuids.some((uuid) => command.includes(`\0${uuid}\0`))) found.push(pid);
  }
  return found;
}
