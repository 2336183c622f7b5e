/** Reads files whose place others may have taken. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';

/**
 * The text of a regular file of `most` bytes at most. Anything else is refused before it is read: a pipe or a device may never come to an
 * end, and whoever waits for it holds one of the four threads that read for all of the process, /proc/meminfo too.
 */
export async function readFileOf(path: string, most: number): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const found = await file.stat();
    if (!found.isFile()) {
      const kind = found.isFIFO() ? 'a pipe' : found.isDirectory() ? 'a folder' : 'a device';
      throw new Error(`it is ${kind}, and only a regular file is read`);
    }
    // No more than that is read, whatever its size is said to be: those of /proc have none.
    const read = await buffer(file.createReadStream({ end: most }));
    if (read.length > most) throw new Error(`it has more than ${most} bytes`);
    return read.toString();
  } finally {
    await file.close();
  }
}
