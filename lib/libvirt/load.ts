/** Finds and loads the addon, at the first call: `--help` and `--version` need none. */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../common/text.js';
import type { NativeBinding } from './native.js';

/** The addon cannot be loaded. The message says what to install or run. */
export class LoadError extends Error {
  readonly code = 'ERR_MEMCOORD_LOAD';
}

/** Root of the package, as seen from lib/libvirt and from dist/libvirt. */
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

let binding: NativeBinding | undefined;

/**
 * @returns the addon: a prebuilt one of the package, or the one that node-gyp built.
 * @throws LoadError where there is none for this machine, or where libvirt is missing.
 */
export function loadBinding(): NativeBinding {
  if (binding !== undefined) return binding;
  const load = createRequire(import.meta.url)('node-gyp-build') as (root: string) => NativeBinding;
  try {
    binding = load(ROOT);
    return binding;
  } catch (error) {
    throw explained(messageOf(error), error);
  }
}

/** @internal For tests. `cause` is the loader's error, `text` its message. */
export function explained(text: string, cause?: unknown): LoadError {
  const missing = /(lib[\w.+-]+\.so[\w.]*): cannot open shared object file/.exec(text)?.[1];
  if (missing?.startsWith('libvirt.so')) {
    return new LoadError(
      `libvirt is not installed: ${missing} is missing. Install the package libvirt0 (Debian: apt-get install libvirt0; Fedora: libvirt-libs)`,
      { cause },
    );
  }
  if (missing !== undefined) return new LoadError(`a system library is missing: ${missing}`, { cause });
  if (text.includes('No native build was found')) {
    const machine = `${process.platform} ${process.arch}`;
    return new LoadError(
      `no addon for ${machine}: build it with 'npm run build' in memcoord's folder, which needs a C++ compiler, pkg-config and the package libvirt-dev`,
      { cause },
    );
  }
  return new LoadError(`the addon cannot be loaded: ${text}`, { cause });
}
