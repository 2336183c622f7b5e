/** `memcoord status`: one reading of host and guests. */

import { printable } from '../common/text.js';
import { type GuestView, readOnce, type Snapshot } from '../coordinator/snapshot.js';
import { byName, type Connect, configFrom, connectLibvirt, type Options, printOut, READING_DEADLINE_MS } from './session.js';
import { mib, table } from './table.js';

export async function status(options: Options & { json?: boolean }, connect: Connect = connectLibvirt, print = printOut): Promise<number> {
  const config = await configFrom(options);
  const hypervisor = await connect(config.uri, { readOnly: true });
  try {
    const snapshot = await readOnce(hypervisor, config);
    print(options.json === true ? JSON.stringify({ uri: hypervisor.uri, unit: 'KiB', ...snapshot }, null, 2) : statusText(snapshot));
  } finally {
    await hypervisor.close({ deadlineMs: READING_DEADLINE_MS });
  }
  return 0;
}

/** An age in its largest unit that fits. */
function ageText(seconds: number): string {
  if (!Number.isFinite(seconds)) return '-';
  for (const [unit, length] of [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
  ] as const) {
    if (seconds >= 2 * length) return `${Math.round(seconds / length)} ${unit}`;
  }
  return `${Math.round(seconds)} s`;
}

const COLUMNS: readonly { readonly title: string; readonly cell: (guest: GuestView) => string }[] = [
  { title: 'guest', cell: ({ name }) => name },
  { title: 'phase', cell: ({ phase }) => phase },
  { title: 'actual', cell: ({ actual }) => mib(actual) },
  { title: 'used', cell: ({ used }) => mib(used) },
  { title: 'spare', cell: ({ spare }) => mib(spare) },
  { title: 'need', cell: ({ need }) => mib(need) },
  { title: 'alloc', cell: ({ allocation }) => mib(allocation) },
  { title: 'floor', cell: ({ floor }) => mib(floor) },
  { title: 'ceiling', cell: ({ ceiling }) => mib(ceiling) },
  { title: 'share', cell: ({ share }) => String(share) },
  { title: 'survives', cell: ({ survivableBurst }) => (Number.isFinite(survivableBurst) ? `${mib(survivableBurst)}/s` : '-') },
  { title: 'age', cell: ({ statsAge }) => ageText(statsAge / 1000) },
];

/** The reading for people. Sizes in MiB. */
export function statusText({ host, guests }: Snapshot): string {
  const pool = host.pool === null ? '' : `pool ${mib(host.pool)}, `;
  const lines = [
    `Host (MiB): total ${mib(host.total)}, available ${mib(host.available)}, reserve ${mib(host.reserve)}`,
    `For guests: ${pool}capacity ${mib(host.capacity)}, charged ${mib(host.charged)}, free ${mib(host.free)}: ${host.state}${host.pressure ? ', under memory pressure' : ''}`,
    '',
  ];
  if (guests.length === 0) return [...lines, 'No guest is running.'].join('\n');
  const sorted = byName(guests);
  lines.push(
    ...table([COLUMNS.map(({ title }) => title.toUpperCase()), ...sorted.map((guest) => COLUMNS.map(({ cell }) => cell(guest)))], 2),
  );
  const notes = sorted.filter(({ why }) => why !== null).map(({ name, why }) => printable(`${name} is not coordinated: ${why}`));
  if (notes.length > 0) lines.push('', ...notes);
  return lines.join('\n');
}
