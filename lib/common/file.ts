/** Reads files in places where others may have put something else. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';

/**
 * The text of a regular file of `most` bytes at most. Anything else is refused before it is read: reading a pipe or a device may never end,
 * and would hold one of libuv's four threads, which read files for the whole process.
 */
export async function readFileOf(path: string, most: number): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const found = await file.stat();
    if (!found.isFile()) {
      const kind = found.isFIFO() ? 'a pipe' : found.isDirectory() ? 'a folder' : 'a device';
      throw new Error(`it is ${kind}, and only a regular file is read`);
    }
    // Bounded whatever the file's size claims to be: files of /proc report none.
    const read = await buffer(file.createReadStream({ end: most }));
    if (read.length > most) throw new Error(`it has more than ${most} bytes`);
    return read.toString();
  } finally {
    await file.close();
  }
}
