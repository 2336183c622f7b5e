/** The default URI and URI aliases of libvirt.conf, as virsh reads them (libvirt's docs/uri, "Configuring URI aliases"). */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const FALLBACK = 'qemu:///system';

/** Its path: one for root, and one for each user. */
function libvirtConf({ XDG_CONFIG_HOME }: NodeJS.ProcessEnv): string {
  if (process.geteuid?.() === 0) return '/etc/libvirt/libvirt.conf';
  return join(XDG_CONFIG_HOME || join(homedir(), '.config'), 'libvirt/libvirt.conf');
}

/** Its text without comments; empty if it cannot be read: libvirt complains about that. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/^\s*#.*$/gm, '');
  } catch {
    return '';
  }
}

/** The URI to use if none is given: `$LIBVIRT_DEFAULT_URI`, else `uri_default`, else `qemu:///system`. */
export function defaultUri(environment = process.env, path = libvirtConf(environment)): string {
  if (environment.LIBVIRT_DEFAULT_URI) return environment.LIBVIRT_DEFAULT_URI;
  const [, , configured] = /^\s*uri_default\s*=\s*(["'])(.*?)\1/m.exec(textOf(path)) ?? [];
  return configured || FALLBACK;
}

/** Resolves a name in `uri_aliases`; returns anything else as it is. */
export function resolveAlias(uri: string, path = libvirtConf(process.env)): string {
  // A URI is never the name of an alias: do not read the file for it.
  if (!/^[\w.-]+$/.test(uri)) return uri;
  const [, list = ''] = /^\s*uri_aliases\s*=\s*\[([^\]]*)\]/m.exec(textOf(path)) ?? [];
  for (const [, , alias = ''] of list.matchAll(/(["'])(.*?)\1/g)) if (alias.startsWith(`${uri}=`)) return alias.slice(uri.length + 1);
  return uri;
}
