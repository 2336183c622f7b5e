/** Message and exit code of a failed command. */

import { messageOf, printable, shellQuoted } from '../common/text.js';
import { partsOf } from '../common/uri.js';

/** Exit codes of every command. */
export const FAILED = 1;
export const WRONG_USE = 2;
export const UNREACHABLE = 3;
export const HELD = 4;

/** An option or argument that is not allowed. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'ERR_MEMCOORD_USAGE';
}

/** libvirt cannot be reached, or not with the rights that are needed. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
  readonly code = 'ERR_MEMCOORD_UNREACHABLE';
  /** What to do about it, for a person; empty where nothing is known. */
  readonly advice: string;

  constructor(uri: string, cause: unknown) {
    // The addon names the URI too.
    const reason = messageOf(cause).replace(`cannot connect to ${uri}: `, '');
    super(printable(`cannot reach libvirt at ${uri}: ${reason}`), { cause });
    this.advice = adviceFor(printable(uri), cause instanceof Error && 'code' in cause ? String(cause.code) : '', reason);
  }
}

/** Recognises libvirt's messages by the words of the C library in them. LC_ALL may translate these: then there is no advice. */
function adviceFor(uri: string, code: string, reason: string): string {
  const { transport = null, server = '' } = partsOf(uri) ?? {};
  if (server !== '') return remoteAdvice(transport ?? 'tls', server, reason);
  if (
    code === 'ERR_MEMCOORD_AUTH_UNSUPPORTED' ||
    code === 'ERR_LIBVIRT_AUTH_FAILED' ||
    /permission denied|polkit|access denied/i.test(reason)
  ) {
    return `Who may use ${uri}: root, and members of the group libvirt. 'sudo usermod -aG libvirt "$USER"' and a new login make you one.`;
  }
  if (/no such file|connection refused/i.test(reason)) {
    const session = uri.includes('/session') ? 'It is started by the first libvirt client of a user: is libvirt-daemon installed?' : '';
    return (
      session ||
      'Is its daemon running? systemctl start libvirtd (Debian: package libvirt-daemon-system; newer distributions: virtqemud.socket).'
    );
  }
  if (code === 'ERR_LIBVIRT_NO_CONNECT' || code === 'ERR_LIBVIRT_INVALID_ARG')
    return 'Examples of URIs: qemu:///system, qemu:///session, qemu+ssh://root@host/system.';
  return '';
}

/** Advice on a connection to another machine, `user@host:port`. */
function remoteAdvice(transport: string, authority: string, reason: string): string {
  const [, host = authority, port] = /^(.*?)(?::(\d+))?$/.exec(authority) ?? [];
  if (/ssh/.test(transport)) {
    const ssh = `ssh ${port === undefined ? '' : `-p ${port} `}${shellQuoted(host)}`;
    if (/host key/i.test(reason)) return `ssh does not know the host's key, or another one. Connect once by hand: ${ssh}`;
    if (/permission denied|authentication/i.test(reason)) return `ssh is refused. This must work without a question: ${ssh} true`;
    if (/resolve|connect to host|timed out|no route/i.test(reason)) return `ssh does not reach the host. See what it says: ${ssh} true`;
    return `Does libvirt answer that user there? ${ssh} virsh -c qemu:///system list`;
  }
  if (/certificate|x509|tls/i.test(reason)) {
    return "The certificates: /etc/pki/CA/cacert.pem, /etc/pki/libvirt/clientcert.pem and private/clientkey.pem. 'virt-pki-validate' checks them.";
  }
  if (/refused/i.test(reason)) {
    const socket = transport === 'tcp' ? 'libvirtd-tcp.socket' : 'libvirtd-tls.socket';
    return `Its libvirtd does not listen: systemctl start ${socket}, there. Or go through ssh: qemu+ssh://${host}/system`;
  }
  if (/resolve|not known|timed out|no route/i.test(reason))
    return `Is ${host} the host's name, and does a firewall let this machine reach it?`;
  return '';
}

/** Message and exit code for whatever a command threw. */
export function explain(error: unknown): { readonly code: number; readonly message: string } {
  const { code, message } = meant(error);
  return { code, message: message.split('\n').map(printable).join('\n') };
}

function meant(error: unknown): ReturnType<typeof explain> {
  if (error instanceof UnreachableError) {
    return { code: UNREACHABLE, message: error.advice === '' ? error.message : `${error.message}\n${error.advice}` };
  }
  if (!(error instanceof Error)) return { code: FAILED, message: String(error) };
  const code = 'code' in error ? String(error.code) : '';
  if (code === 'ERR_MEMCOORD_CONFIG' || code === 'ERR_MEMCOORD_USAGE') return { code: WRONG_USE, message: error.message };
  if (code === 'ERR_MEMCOORD_LOCKED') return { code: HELD, message: error.message };
  // An error that we know explains itself; an unknown one is a bug, and its stack is what a report needs.
  return {
    code: FAILED,
    message: code.startsWith('ERR_LIBVIRT_') || code.startsWith('ERR_MEMCOORD_') ? error.message : (error.stack ?? error.message),
  };
}
