/** Loaded before a program: the constant LIMIT of lib/policy/limits.ts is FACTOR times what it is. */
import { register } from 'node:module';

const hook = `
export async function load(url, context, next) {
  const loaded = await next(url, context);
  if (!url.endsWith('/policy/limits.js')) return loaded;
  const { LIMIT, FACTOR } = process.env;
  const source = String(loaded.source);
  const changed = source.replace(new RegExp('(export const ' + LIMIT + ' = )([^;]+);'), '$1($2) * ' + FACTOR + ';');
  if (changed === source) throw new Error('no constant ' + LIMIT);
  return { ...loaded, source: changed };
}`;
if (process.env.LIMIT) register(`data:text/javascript,${encodeURIComponent(hook)}`);
