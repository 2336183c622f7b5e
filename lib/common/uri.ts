/** The parts of a connection URI of libvirt that say where its host is. */

export interface UriParts {
  /** In lower case; null where none is named: `unix` on this host, `tls` to another. */
  readonly transport: string | null;
  /** `user@host:port`; empty on this host. */
  readonly server: string;
}

/** @returns null if it is not a URI but, say, an alias of libvirt.conf. */
export function partsOf(uri: string): UriParts | null {
  const match = /^[a-z0-9]+(?:\+([a-z0-9]+))?:\/\/([^/?#]*)/i.exec(uri);
  return match === null ? null : { transport: match[1]?.toLowerCase() ?? null, server: match[2] ?? '' };
}
