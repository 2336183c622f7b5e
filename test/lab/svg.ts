/** What all our pictures have in common. SVG, by a few lines of our own. */

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** @param style CSS. @param parts elements, in the order in which they are drawn. */
export function picture({ width, height }: Size, style: string, parts: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11" fill="#444">
<style>${style}</style>
<rect width="100%" height="100%" fill="#fff"/>
${parts.join('\n')}
</svg>
`;
}

/** Text that may stand between tags. */
export function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
