import { readFileSync } from 'node:fs';

/** The version in package.json, two folders up from lib/cli as from dist/cli. */
export function version(): string {
  const read: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return String((read as { version: unknown }).version);
}
