/** Facts from libvirt's XML. The XML comes from the daemon, but guests' owners write parts of it: it is not trusted. */
import { DOMParser, type Element } from '@xmldom/xmldom';
import { messageOf } from '../common/text.js';
import type { DomainFacts } from '../hypervisor.js';

/** XML that is not what libvirt writes. */
export class XmlError extends Error {
  readonly code = 'ERR_MEMCOORD_XML';
}

/** Characters; the XML of a domain with hundreds of devices has some 200,000. */
const LONGEST_XML = 1_000_000;

/**
 * Metadata is foreign XML within libvirt's, of any size and depth, and we need none of it: our own comes by another call. Everywhere else
 * libvirt writes `<` as `&lt;`, so these are the element's own tags.
 */
function withoutMetadata(xml: string): string {
  const start = xml.search(/<metadata[\s>]/);
  const end = xml.lastIndexOf('</metadata>');
  return start < 0 || end < start ? xml : xml.slice(0, start) + xml.slice(end + '</metadata>'.length);
}

function parse(text: string, root: string): Element {
  const xml = withoutMetadata(text);
  if (xml.length > LONGEST_XML) throw new XmlError(`the XML of a ${root} is ${xml.length} characters long: more than ${LONGEST_XML}`);
  // libvirt writes none. Without it there are no entities, so nothing expands beyond its size.
  if (xml.includes('<!DOCTYPE')) throw new XmlError(`the XML of a ${root} has a document type`);
  const onError = (_level: string, message: string) => {
    throw new XmlError(`the XML of a ${root} cannot be read: ${message}`);
  };
  let element: Element | null;
  try {
    element = new DOMParser({ onError }).parseFromString(xml, 'text/xml').documentElement;
  } catch (error) {
    if (error instanceof XmlError) throw error;
    throw new XmlError(`the XML of a ${root} cannot be read: ${messageOf(error)}`, { cause: error });
  }
  if (element?.nodeName !== root) throw new XmlError(`the XML of a ${root} has the element <${element?.nodeName}>`);
  return element;
}

/** Direct children of that name; elements further down are never searched, since they may be anything. */
function children(parent: Element | undefined, name: string): Element[] {
  const found: Element[] = [];
  for (let node = parent?.firstChild ?? null; node !== null; node = node.nextSibling) {
    if (node.nodeType === 1 && node.nodeName === name) found.push(node as Element);
  }
  return found;
}

function child(parent: Element | undefined, name: string): Element | undefined {
  return children(parent, name)[0];
}

/** KiB of `<memory unit='KiB'>`; libvirt writes no other unit. */
function kibOf(parent: Element | undefined, name: string): number {
  const element = child(parent, name);
  const text = element?.textContent?.trim() ?? '';
  const unit = element?.getAttribute('unit') ?? 'KiB';
  if (unit !== 'KiB' || !/^\d{1,16}$/.test(text))
    throw new XmlError(`the XML of a domain has <${name} unit='${unit}'> of '${text.slice(0, 40)}'`);
  return Number(text);
}

/** The same, 0 where there is no such element. */
function kibOrNone(parent: Element | undefined, name: string): number {
  return child(parent, name) === undefined ? 0 : kibOf(parent, name);
}

/** What libvirt calls a device (`hostdev0`). */
function aliasOf(device: Element): string {
  return child(device, 'alias')?.getAttribute('name') ?? device.nodeName;
}

/** Devices that pin the guest's memory for DMA: element, type, driver. VFIO has exceptions: {@link PINS_NOTHING}. */
const PINNING = [
  ['hostdev', 'pci', 'vfio'],
  ['hostdev', 'mdev', 'vfio'],
  ['interface', 'hostdev', 'vfio'],
  ['disk', 'nvme', 'vfio'],
  ['interface', 'vdpa', 'vdpa'],
  ['disk', 'vhostvdpa', 'vdpa'],
] as const;

/** Mediated devices of s390 whose drivers pin only single pages, for the time of a request (docs/ballooning.md). */
const PINS_NOTHING: readonly (string | null)[] = ['vfio-ap', 'vfio-ccw'];

/**
 * Memory devices that libvirt counts in `<memory>` and QEMU's balloon does not. The balloon counts `dimm`; `sgx-epc` is not in `<memory>`
 * at all (read in libvirt 9).
 */
const OUTSIDE_THE_BALLOON: readonly (string | null)[] = ['nvdimm', 'virtio-pmem', 'virtio-mem'];

/** libvirt's VIR_DOMAIN_MEMORY_PARAM_UNLIMITED, KiB. */
const UNLIMITED = 2 ** 53 - 1;

/**
 * What keeps ballooned pages from reaching the host, or makes the balloon meaningless (docs/ballooning.md): VFIO and vdpa devices pin all
 * of the guest, locked memory and SEV as well; pages of hugepages are not given back.
 */
function obstaclesOf(domain: Element, devices: Element | undefined): string[] {
  const obstacles: string[] = [];
  const backing = child(domain, 'memoryBacking');
  if (child(backing, 'hugepages') !== undefined) obstacles.push('hugepages');
  if (child(backing, 'locked') !== undefined) obstacles.push('locked memory');
  const security = child(domain, 'launchSecurity')?.getAttribute('type');
  if (security) obstacles.push(security.startsWith('sev') ? 'SEV' : `launch security ${security}`);
  for (const [name, type, driver] of PINNING) {
    const pinning = children(devices, name).filter(
      (device) => device.getAttribute('type') === type && !PINS_NOTHING.includes(device.getAttribute('model')),
    );
    obstacles.push(...pinning.map((device) => `${driver} device ${aliasOf(device)}`));
  }
  if (children(devices, 'memory').some((device) => device.getAttribute('model') === 'virtio-mem')) obstacles.push('virtio-mem');
  // QEMU has no such device: libvirt accepts the definition, and the guest has no balloon.
  if (child(devices, 'memballoon')?.getAttribute('model') === 'xen') obstacles.push('balloon model xen');
  return obstacles;
}

/** Where the guest's pages are. `<source type='memfd'>` and shared memory are anonymous to the host: only swap can reclaim them. */
function backingOf(domain: Element): DomainFacts['backing'] {
  const backing = child(domain, 'memoryBacking');
  if (child(backing, 'hugepages') !== undefined) return 'hugepages';
  return child(backing, 'source')?.getAttribute('type') === 'file' ? 'file' : 'anonymous';
}

/** What a virtio-mem device has plugged or the guest is asked to plug, whichever is more, KiB. */
function pluggable(device: Element): number {
  const target = child(device, 'target');
  return Math.max(kibOrNone(target, 'requested'), kibOrNone(target, 'current'));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/**
 * Facts of a domain.
 *
 * @param xml what virDomainGetXMLDesc gave.
 * @param metadata what virDomainGetMetadata gave; passed through.
 * @throws XmlError where it is not the XML of a domain.
 */
export function domainFacts(xml: string, metadata: string | null): DomainFacts {
  const domain = parse(xml, 'domain');
  const devices = child(domain, 'devices');
  const balloon = child(devices, 'memballoon');
  const period = Number(child(balloon, 'stats')?.getAttribute('period') ?? 0);
  const outside = children(devices, 'memory').filter((device) => OUTSIDE_THE_BALLOON.includes(device.getAttribute('model')));
  const deviceMemory = sum(outside.map((device) => kibOf(child(device, 'target'), 'size')));
  const hardLimit = kibOrNone(child(domain, 'memtune'), 'hard_limit');
  return {
    // Labels and alignment of NVDIMMs never make the devices more than the whole, but a broken definition must not give a negative size.
    maximum: Math.max(0, kibOf(domain, 'memory') - deviceMemory),
    deviceMemory,
    composed: deviceMemory > 0 || children(child(child(domain, 'cpu'), 'numa'), 'cell').length > 0,
    virtioMem: sum(outside.filter((device) => device.getAttribute('model') === 'virtio-mem').map(pluggable)),
    backing: backingOf(domain),
    hardLimit: hardLimit === 0 || hardLimit >= UNLIMITED ? null : hardLimit,
    current: kibOf(domain, 'currentMemory'),
    balloonModel: balloon?.getAttribute('model') ?? 'none',
    autodeflate: balloon?.getAttribute('autodeflate') === 'on',
    statsPeriod: Number.isInteger(period) && period > 0 ? period : 0,
    obstacles: obstaclesOf(domain, devices),
    metadata,
  };
}

/**
 * The host's UUID, in lower case; null where it has none.
 *
 * @param capabilities what virConnectGetCapabilities gave.
 * @throws XmlError if it is not that.
 */
export function hostUuid(capabilities: string): string | null {
  const host = child(parse(capabilities, 'capabilities'), 'host');
  const uuid = (child(host, 'uuid')?.textContent ?? '').trim().toLowerCase();
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid) ? uuid : null;
}
