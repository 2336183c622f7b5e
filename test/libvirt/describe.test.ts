import t from 'tap';
import { GiB } from '../../lib/common/units.js';
import { domainFacts, hostUuid } from '../../lib/libvirt/describe.js';

/** As libvirt 9 writes a running guest. */
const domain = ({
  devices = '',
  more = '',
  balloon = "<memballoon model='virtio'><stats period='5'/><alias name='balloon0'/></memballoon>",
} = {}) => `
<domain type='kvm' id='7'>
  <name>aos_vm1</name>
  <uuid>3115277a-b690-47a2-96e6-48a98a6f8cb4</uuid>
  <metadata><other:thing xmlns:other='urn:other'><memory unit='KiB'>1</memory><devices><hostdev type='pci'/></devices></other:thing></metadata>
  <memory unit='KiB'>2097152</memory>
  <currentMemory unit='KiB'>524288</currentMemory>
  ${more}
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'><alias name='virtio-disk0'/></disk>
    <interface type='network'><alias name='net0'/></interface>
    <hostdev mode='subsystem' type='usb'><alias name='hostdev9'/></hostdev>
    ${devices}
    ${balloon}
  </devices>
</domain>`;

const obstacles = (parts: { devices?: string; more?: string }) => domainFacts(domain(parts), null).obstacles;

t.test('the facts of an ordinary guest', async (t) => {
  t.same(domainFacts(domain(), '<x/>'), {
    maximum: 2 * GiB,
    deviceMemory: 0,
    composed: false,
    virtioMem: 0,
    backing: 'anonymous',
    hardLimit: null,
    current: GiB / 2,
    balloonModel: 'virtio',
    autodeflate: false,
    statsPeriod: 5,
    obstacles: [],
    metadata: '<x/>',
  });
});

t.test('balloons of other kinds', async (t) => {
  const balloonOf = (balloon: string) => domainFacts(domain({ balloon }), null);
  t.match(balloonOf("<memballoon model='none'/>"), { balloonModel: 'none', statsPeriod: 0 });
  t.match(balloonOf(''), { balloonModel: 'none', statsPeriod: 0 });
  t.match(balloonOf("<memballoon model='virtio-non-transitional' autodeflate='on'/>"), {
    balloonModel: 'virtio-non-transitional',
    autodeflate: true,
    statsPeriod: 0,
  });
  t.match(balloonOf("<memballoon model='virtio' autodeflate='off'><stats period='0'/></memballoon>"), {
    autodeflate: false,
    statsPeriod: 0,
  });
});

t.test('BALLOON: with memory that is pinned or in hugepages, ballooning frees nothing for the host', async (t) => {
  t.same(obstacles({ more: "<memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages></memoryBacking>" }), ['hugepages']);
  t.same(obstacles({ more: '<memoryBacking><locked/></memoryBacking>' }), ['locked memory']);
  t.same(obstacles({ more: "<launchSecurity type='sev-snp'/>" }), ['SEV']);
  t.same(obstacles({ more: "<launchSecurity type='tdx'/>" }), ['launch security tdx']);
  t.same(obstacles({ more: "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>" }), []);
  t.same(
    obstacles({
      devices: `<hostdev mode='subsystem' type='pci'><alias name='hostdev0'/></hostdev>
        <hostdev mode='subsystem' type='mdev'><alias name='hostdev1'/></hostdev>
        <interface type='hostdev'><alias name='hostdev2'/></interface>
        <disk type='nvme'><alias name='virtio-disk1'/></disk>
        <interface type='vdpa'><alias name='net1'/></interface>
        <disk type='vhostvdpa'/>`,
    }),
    [
      'vfio device hostdev0',
      'vfio device hostdev1',
      'vfio device hostdev2',
      'vfio device virtio-disk1',
      'vdpa device net1',
      'vdpa device disk',
    ],
  );
  t.same(
    obstacles({ devices: "<memory model='virtio-mem'><target><size unit='KiB'>1024</size></target></memory><memory model='dimm'/>" }),
    ['virtio-mem'],
  );
});

t.test('BALLOON: mediated devices of s390 pin nothing, those of PCI do', async (t) => {
  const mdev = (model: string) => `<hostdev mode='subsystem' type='mdev' model='${model}'><alias name='hostdev0'/></hostdev>`;
  t.same(obstacles({ devices: mdev('vfio-ap') }), []);
  t.same(obstacles({ devices: mdev('vfio-ccw') }), []);
  t.same(obstacles({ devices: mdev('vfio-pci') }), ['vfio device hostdev0']);
});

t.test("QEMU has no balloon of Xen's", async (t) => {
  const facts = domainFacts(domain({ balloon: "<memballoon model='xen'/>" }), null);
  t.match(facts, { balloonModel: 'xen', obstacles: ['balloon model xen'] });
});

/** A memory device as libvirt 9 writes it. */
const memory = (model: string, gib: number, more = '') =>
  `<memory model='${model}'><target><size unit='KiB'>${gib * GiB}</size>${more}</target></memory>`;
const sized = (name: string, gib: number) => `<${name} unit='KiB'>${gib * GiB}</${name}>`;

t.test('BALLOON: memory devices that the balloon does not count are no part of its maximum', async (t) => {
  const of = (devices: string) => domainFacts(domain({ devices }), null);
  t.match(of(memory('nvdimm', 1)), { maximum: GiB, deviceMemory: GiB, virtioMem: 0, obstacles: [] });
  t.match(of(memory('virtio-pmem', 1)), { maximum: GiB, deviceMemory: GiB, virtioMem: 0, obstacles: [] });
  const cells = "<cpu><numa><cell id='0' cpus='0' memory='1048576'/></numa></cpu>";
  t.equal(domainFacts(domain({ more: cells }), null).composed, true, 'NUMA cells');
  t.match(of(memory('nvdimm', 1)), { composed: true });
  t.match(of(memory('dimm', 1)), { maximum: 2 * GiB, deviceMemory: 0 }, 'the balloon counts a DIMM');
  t.match(of(memory('sgx-epc', 1)), { maximum: 2 * GiB, deviceMemory: 0 }, '<memory> does not count the EPC');
  t.match(of(memory('nvdimm', 64)), { maximum: 0 }, 'no negative size');
});

t.test('of virtio-mem the larger counts, what is plugged or what is requested, over all devices', async (t) => {
  const devices = [
    memory('virtio-mem', 0.5, sized('requested', 0.25) + sized('current', 0.125)),
    memory('virtio-mem', 0.5, sized('requested', 0) + sized('current', 0.25)),
    memory('nvdimm', 0.5),
  ];
  t.match(domainFacts(domain({ devices: devices.join('') }), null), { maximum: GiB / 2, deviceMemory: 1.5 * GiB, virtioMem: GiB / 2 });
});

t.test('what the memory is made of', async (t) => {
  const backing = (inside: string) => domainFacts(domain({ more: `<memoryBacking>${inside}</memoryBacking>` }), null).backing;
  t.equal(backing("<hugepages><page size='2048' unit='KiB'/></hugepages>"), 'hugepages');
  t.equal(backing("<source type='file'/><allocation mode='immediate'/>"), 'file');
  t.equal(backing("<source type='memfd'/><access mode='shared'/>"), 'anonymous');
  t.equal(backing("<source type='anonymous'/>"), 'anonymous');
  t.equal(backing('<nosharepages/>'), 'anonymous');
});

t.test('a hard limit is told, unlimited is none', async (t) => {
  const limit = (inside: string) => domainFacts(domain({ more: `<memtune>${inside}</memtune>` }), null).hardLimit;
  t.equal(limit(sized('hard_limit', 1.5)), 1.5 * GiB);
  t.equal(limit(sized('soft_limit', 1)), null);
  t.equal(limit("<hard_limit unit='KiB'>9007199254740991</hard_limit>"), null);
});

t.test('what is not the XML of a domain is refused', async (t) => {
  const refused = (xml: string, message: RegExp) => t.throws(() => domainFacts(xml, null), { code: 'ERR_MEMCOORD_XML', message });
  refused('', /cannot be read/);
  refused('junk', /cannot be read/);
  refused('<domain><memory>', /cannot be read/);
  refused('<domain></network>', /cannot be read/);
  refused('\u0000<domain/>', /cannot be read/);
  refused('<network/>', /<network>/);
  refused('<domain/>', /<memory unit='KiB'> of ''/);
  refused("<domain><memory unit='MiB'>1</memory></domain>", /unit='MiB'/);
  refused("<domain><memory unit='KiB'>-1</memory></domain>", /'-1'/);
  refused(`<domain><memory unit='KiB'>${'9'.repeat(20)}</memory></domain>`, /999/);
});

t.test('an entity bomb does not go off', async (t) => {
  const entities = Array.from({ length: 20 }, (_, i) => `<!ENTITY e${i + 1} "${`&e${i};`.repeat(10)}">`).join('');
  const bomb = `<?xml version='1.0'?><!DOCTYPE domain [<!ENTITY e0 "boom">${entities}]><domain><memory unit='KiB'>&e20;</memory></domain>`;
  const started = performance.now();
  t.throws(() => domainFacts(bomb, null), { code: 'ERR_MEMCOORD_XML', message: /document type/ });
  t.throws(() => domainFacts(bomb.replace('<!DOCTYPE', '<!doctype'), null), { code: 'ERR_MEMCOORD_XML' });
  t.throws(() => domainFacts(`<domain>${'x'.repeat(5_000_000)}</domain>`, null), { code: 'ERR_MEMCOORD_XML', message: /characters long/ });
  t.ok(performance.now() - started < 1000);
});

t.test('deep nesting is read or refused, not a stack overflow', async (t) => {
  const deep = `${'<a>'.repeat(100_000)}${'</a>'.repeat(100_000)}`;
  t.equal(domainFacts(domain({ more: deep }), null).maximum, 2 * GiB);
});

t.test('the host tells its UUID', async (t) => {
  const capabilities = (host: string) => `<capabilities><host>${host}</host><guest/></capabilities>`;
  t.equal(hostUuid(capabilities('<uuid>1B4E28BA-2FA1-11D2-883F-0016D3CCA427</uuid><cpu/>')), '1b4e28ba-2fa1-11d2-883f-0016d3cca427');
  t.equal(hostUuid(capabilities('<cpu/>')), null);
  t.equal(hostUuid(capabilities('<uuid>not one</uuid>')), null);
  t.throws(() => hostUuid('<domain/>'), { code: 'ERR_MEMCOORD_XML' });
});
