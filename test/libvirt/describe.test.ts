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
  t.same(obstacles({ devices: "<memory model='virtio-mem'><target/></memory><memory model='dimm'/>" }), ['virtio-mem']);
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
