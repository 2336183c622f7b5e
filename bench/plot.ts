/** Draws a plot as SVG. */
import { escaped, picture } from '../test/lab/svg.js';
import type { Axis, Bars, Lines, Plot } from './question.js';

/** Colours that most people can tell apart (Okabe and Ito, 2008), the strong ones first. */
const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#56b4e9', '#8c6d1f', '#555555'];
const STYLE = '.g{stroke:#ddd}.m{stroke:#888;stroke-dasharray:4 3}.t{font-size:14px;fill:#222}.v{font-size:9px}';
const [WIDTH, HEIGHT] = [720, 240];
const [LEFT, RIGHT, BOTTOM] = [64, 16, 46];
/** Of a letter of the legend, on average. */
const LETTER = 6.2;

const colour = (i: number): string => COLOURS[i % COLOURS.length] ?? '#000';

/** Where a value lies on an axis, from 0 to 1 (not finite: nowhere), and the values that are written at it. */
interface Scale {
  at(value: number): number;
  readonly ticks: readonly number[];
}

/** An axis over all values: from 0, or, where it is logarithmic, from the power of ten below the least positive one. */
export function scaleOf({ scale = 'linear' }: Axis, values: readonly number[]): Scale {
  const finite = values.filter(Number.isFinite);
  if (scale === 'log') {
    const powers = finite.filter((value) => value > 0).map(Math.log10);
    const low = powers.length === 0 ? 0 : Math.floor(Math.min(...powers));
    const high = Math.max(low + 1, Math.ceil(Math.max(...powers)));
    const ticks = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
    return { at: (value) => (Math.log10(value) - low) / (high - low), ticks };
  }
  const [low, high] = [Math.min(0, ...finite), Math.max(0, ...finite)];
  const step = niceStep((high - low || 1) / 5);
  const first = Math.floor(low / step);
  const last = Math.max(first + 1, Math.ceil(high / step));
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  return { at: (value) => (value / step - first) / (last - first), ticks };
}

/** The least of 1, 2, 5 times a power of ten that is not less. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5].find((factor) => factor * power >= least) ?? 10);
}

/** A tick's or a bar's value, short. */
const short = (value: number): string =>
  value >= 10_000 ? `${Number((value / 1000).toPrecision(3))}k` : String(Number(value.toPrecision(2)));

const y = (scale: Scale, value: number): string => (HEIGHT * (1 - scale.at(value))).toFixed(1);

function grid(scale: Scale): string[] {
  return scale.ticks.map(
    (tick) =>
      `<path class="g" d="M0 ${y(scale, tick)}h${WIDTH}"/><text x="-6" y="${Number(y(scale, tick)) + 4}" text-anchor="end">${short(tick)}</text>`,
  );
}

function lines(plot: Lines): string[] {
  const points = plot.series.flatMap((series) => series.points);
  const horizontal = scaleOf(
    plot.x,
    points.map(([x]) => x),
  );
  const vertical = scaleOf(
    plot.y,
    points.map(([, value]) => value),
  );
  const x = (value: number): string => (WIDTH * horizontal.at(value)).toFixed(1);
  const ticks = horizontal.ticks.map((tick) => `<text x="${x(tick)}" y="${HEIGHT + 16}" text-anchor="middle">${short(tick)}</text>`);
  const marks = (plot.marks ?? []).map(
    (mark) => `<path class="m" d="M${x(mark.x)} 0v${HEIGHT}"/><text x="${Number(x(mark.x)) + 4}" y="12">${escaped(mark.name)}</text>`,
  );
  const curves = plot.series.map(({ points }, i) => {
    const path = points
      .filter(([left, value]) => Number.isFinite(horizontal.at(left)) && Number.isFinite(vertical.at(value)))
      .map(([left, value]) => `${x(left)},${y(vertical, value)}`);
    return `<polyline fill="none" stroke="${colour(i)}" stroke-width="2" points="${path.join(' ')}"/>`;
  });
  const title = `<text x="${WIDTH / 2}" y="${HEIGHT + 34}" text-anchor="middle">${escaped(plot.x.title)}</text>`;
  return [...grid(vertical), ...ticks, title, ...marks, ...curves];
}

function bars(plot: Bars): string[] {
  const vertical = scaleOf(
    plot.y,
    plot.series.flatMap(({ values }) => values),
  );
  const group = WIDTH / plot.groups.length;
  const width = Math.min(40, (group * 0.86) / plot.series.length);
  const parts = grid(vertical);
  plot.groups.forEach((name, i) => {
    const middle = group * (i + 0.5);
    parts.push(`<text x="${middle.toFixed(1)}" y="${HEIGHT + 16}" text-anchor="middle">${escaped(name)}</text>`);
    plot.series.forEach(({ values }, k) => {
      const value = values[i] ?? Number.NaN;
      if (!Number.isFinite(vertical.at(value))) return;
      const left = middle + (k - plot.series.length / 2) * width;
      const top = Number(y(vertical, value));
      parts.push(
        `<rect x="${left.toFixed(1)}" y="${top}" width="${(width - 1).toFixed(1)}" height="${Math.max(0, HEIGHT - top).toFixed(1)}" fill="${colour(k)}"/>` +
          `<text class="v" x="${(left + width / 2).toFixed(1)}" y="${top - 3}" text-anchor="middle">${short(value)}</text>`,
      );
    });
  });
  return parts;
}

export function draw(plot: Plot): string {
  const longest = Math.max(...plot.series.map(({ name }) => name.length));
  const columns = Math.max(1, Math.floor(WIDTH / (longest * LETTER + 34)));
  const rows = Math.ceil(plot.series.length / columns);
  const top = 52 + 18 * rows;
  const legend = plot.series.map(({ name }, i) => {
    const [x, line] = [(i % columns) * (WIDTH / columns), 40 + 18 * Math.floor(i / columns)];
    return `<rect x="${LEFT + x}" y="${line - 9}" width="12" height="10" fill="${colour(i)}"/><text x="${LEFT + x + 18}" y="${line}">${escaped(name)}</text>`;
  });
  const area = plot.kind === 'lines' ? lines(plot) : bars(plot);
  return picture({ width: LEFT + WIDTH + RIGHT, height: top + HEIGHT + BOTTOM }, STYLE, [
    `<text class="t" x="${LEFT}" y="22">${escaped(plot.title)} (${escaped(plot.y.title)})</text>`,
    ...legend,
    `<g transform="translate(${LEFT} ${top})">${area.join('')}</g>`,
  ]);
}
