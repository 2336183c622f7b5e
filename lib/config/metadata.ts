/**
 * Settings that a domain carries in its own libvirt metadata:
 *
 *     virsh metadata NAME urn:memcoord:domain:1 --key memcoord --live --config --set '<memcoord min="512MiB" share="2000"/>'
 *
 * Whoever may edit the domain wrote them, not the operator of the host: they are bounded in size and checked one by one, and a bad one is
 * ignored alone.
 */

import { DOMParser } from '@xmldom/xmldom';
import { isMore } from '../common/units.js';
import type { GuestOverrides } from '../policy/types.js';
import { clipped, didYouMean, GUEST_SETTINGS, overridesOf, readSetting } from './settings.js';

/** Namespace of our element in a domain's metadata. */
export const METADATA_URI = 'urn:memcoord:domain:1';

/** Six settings fit in 200 bytes; a longer text is not meant for us. */
const MOST_CHARACTERS = 4096;
/** Problems go to the log: what a guest's owner wrote must not fill it. */
const MOST_PROBLEMS = 8;

/** Reads the metadata element. Never throws: what cannot be used is named in `problems`. */
export function parseMetadata(text: string | null): { readonly overrides: GuestOverrides; readonly problems: readonly string[] } {
  if (text === null || text.trim() === '') return { overrides: {}, problems: [] };
  const attributes = readAttributes(text);
  if (typeof attributes === 'string') return { overrides: {}, problems: [attributes] };
  const settings: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, value] of attributes) {
    if (!Object.hasOwn(GUEST_SETTINGS, name)) {
      const known = Object.keys(GUEST_SETTINGS);
      problems.push(`metadata: ${clipped(name)}: no such setting${didYouMean(clipped(name), known) || `; known: ${known.join(', ')}`}`);
      continue;
    }
    const read = readSetting<unknown>(GUEST_SETTINGS[name as keyof typeof GUEST_SETTINGS], value);
    if ('problem' in read) problems.push(`metadata: ${name}: ${read.problem}`);
    else settings[name] = read.value;
  }
  const overrides = overridesOf(settings);
  if (overrides.min !== undefined && overrides.max !== undefined && isMore(overrides.min, overrides.max)) {
    const { min: _, ...rest } = overrides;
    return { overrides: rest, problems: [...problems, 'metadata: min: must not be more than max'].slice(0, MOST_PROBLEMS) };
  }
  return { overrides, problems: problems.slice(0, MOST_PROBLEMS) };
}

/** Attributes of the root element without namespace declarations, or what is wrong with the text. */
function readAttributes(text: string): readonly (readonly [string, string])[] | string {
  if (text.length > MOST_CHARACTERS) return `metadata: ignored, since it is longer than ${MOST_CHARACTERS} characters`;
  // Six attributes need no document type, and its entities can exhaust a parser.
  if (text.includes('<!')) return 'metadata: ignored, since it has a document type or a comment';
  try {
    const parser = new DOMParser({
      onError: (_level, message) => {
        throw new Error(message);
      },
    });
    const root = parser.parseFromString(text, 'text/xml').documentElement;
    if (root === null) return 'metadata: ignored, since it has no element';
    return [...root.attributes]
      .filter(({ name }) => name !== 'xmlns' && !name.startsWith('xmlns:'))
      .map(({ name, value }) => [name, value]);
  } catch {
    return 'metadata: ignored, since it is not well-formed XML';
  }
}
