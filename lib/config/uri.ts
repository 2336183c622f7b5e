/** What libvirt's clients are configured to connect to: libvirt.conf, as virsh reads it (libvirt's docs/uri, "Configuring URI aliases"). */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const FALLBACK = 'qemu:///system';

/** Where it is: one for root, and one for each user. */
function libvirtConf({ XDG_CONFIG_HOME }: NodeJS.ProcessEnv): string {
  if (process.geteuid?.() === 0) return '/etc/libvirt/libvirt.conf';
  return join(XDG_CONFIG_HOME || join(homedir(), '.config'), 'libvirt/libvirt.conf');
}

/** Its text without comments; nothing where it cannot be read, which is libvirt's to complain about. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/^\s*#.*$/gm, '');
  } catch {
    return '';
  }
}

/** The URI that is meant where none is named: `$LIBVIRT_DEFAULT_URI`, else `uri_default`, else `qemu:///system`. */
export function defaultUri(environment = process.env, path = libvirtConf(environment)): string {
  if (environment.LIBVIRT_DEFAULT_URI) return environment.LIBVIRT_DEFAULT_URI;
  const [, , configured] = /^\s*uri_default\s*=\s*(["'])(.*?)\1/m.exec(textOf(path)) ?? [];
  return configured || FALLBACK;
}

/** What a name in `uri_aliases` stands for; anything else as it is. */
export function resolveAlias(uri: string, path = libvirtConf(process.env)): string {
  // No URI is the name of an alias: the file is not read for it.
  if (!/^[\w.-]+$/.test(uri)) return uri;
  const [, list = ''] = /^\s*uri_aliases\s*=\s*\[([^\]]*)\]/m.exec(textOf(path)) ?? [];
  for (const [, , alias = ''] of list.matchAll(/(["'])(.*?)\1/g)) if (alias.startsWith(`${uri}=`)) return alias.slice(uri.length + 1);
  return uri;
}
