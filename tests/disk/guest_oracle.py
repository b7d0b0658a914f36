#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random libvirt definitions, read by guest-dump and by xml.etree, which must agree.
usage: guest_oracle.py GUEST-DUMP [DOMAINS [SEED]]"""
import os, random, subprocess, sys, tempfile, time
import xml.etree.ElementTree as ET

KINDS = ['file', 'file', 'file', 'block', 'block', 'network', 'volume', 'dir', 'nvme', 'vhostuser']
DEVICES = [None, 'disk', 'disk', 'lun', 'cdrom', 'floppy']
CHARACTERS = 'abz019 -_./&<>"\'\t\n\u00fc\u6f22\U0001f600'


def text(r, least=1):
    return ''.join(r.choice(CHARACTERS) for _ in range(r.randrange(least, 20)))


def source(r, parent, kind):
    s = ET.SubElement(parent, 'source')
    if r.random() < 0.1:
        return
    s.set({'file': 'file', 'block': 'dev', 'network': 'name', 'volume': 'volume', 'dir': 'dir',
           'nvme': 'managed', 'vhostuser': 'path'}[kind], '/' + text(r))
    if kind == 'volume':
        s.set('pool', text(r))
    if kind == 'network':
        s.set('protocol', r.choice(['rbd', 'nbd', 'iscsi']))
        ET.SubElement(s, 'host').set('name', text(r))
    if r.random() < 0.3:
        ET.SubElement(ET.SubElement(s, 'privateData'), 'source').set('file', '/not/this')


def chain(r, parent):
    for _ in range(r.choice([0, 0, 1, 2, 30])):
        kind = r.choice(['file', 'block', 'network'])
        parent = ET.SubElement(parent, 'backingStore', type=kind)
        ET.SubElement(parent, 'format').set('type', 'qcow2')
        source(r, parent, kind)
    ET.SubElement(parent, 'backingStore')


def disk(r, devices):
    kind, device = r.choice(KINDS), r.choice(DEVICES)
    d = ET.SubElement(devices, 'disk')
    if kind != 'file' or r.random() < 0.5:
        d.set('type', kind)
    if device:
        d.set('device', device)
    parts = [lambda: source(r, d, kind), lambda: chain(r, d),
             lambda: ET.SubElement(d, 'target').set('dev', 'vd' + text(r)),
             lambda: source(r, ET.SubElement(d, 'mirror'), 'file')]
    if r.random() < 0.8:
        parts.append(lambda: ET.SubElement(d, 'driver', name='qemu').set('type', text(r)))
    if r.random() < 0.3:
        parts.append(lambda: ET.SubElement(d, 'readonly'))
    r.shuffle(parts)
    for part in parts:
        part()


def domain(r):
    root = ET.Element('domain', type='kvm')
    if r.random() < 0.5:
        root.set('id', str(r.choice([-1, 0, 1, 77])))
    ET.SubElement(ET.SubElement(root, 'metadata'), 'name').text = 'not this'
    ET.SubElement(root, 'name').text = text(r)
    if r.random() < 0.7:
        ET.SubElement(root, 'uuid').text = text(r)
    for _ in range(r.choice([1, 1, 2])):
        devices = ET.SubElement(root, 'devices')
        for _ in range(r.randrange(6)):
            disk(r, devices)
            ET.SubElement(ET.SubElement(devices, 'interface'), 'source').set('dev', 'eth0')
    return root


def shown(value):
    return '-' if value is None else '=' + value.encode().hex()


def expected(root, pid):
    running = int(root.get('id', '-1')) >= 0 if pid is None else pid > 0
    lines = [f'guest {running:d} {shown(root.findtext("name"))} {shown(root.findtext("uuid"))}']
    for d in root.findall('devices/disk'):
        kind = d.get('type', 'file')
        if d.get('device', 'disk') in ('cdrom', 'floppy'):
            continue
        s = d.find('source').attrib
        name = {'file': s.get('file'), 'block': s.get('dev'), 'network': s.get('name'),
                'volume': s.get('pool', '') + '/' + s.get('volume', ''), 'dir': s.get('dir'),
                'nvme': None, 'vhostuser': s.get('path')}[kind] if s else None
        usable = kind in ('file', 'block') and bool(name)
        driver = d.find('driver')
        words = [shown(d.find('target').get('dev')), shown(name or ''),
                 shown(driver.get('type') if driver is not None else None)]
        step = d.find('backingStore')
        while step is not None:
            s = step.find('source')
            if s is not None and (s.get('file') or s.get('dev')):
                words.append(shown(s.get('file') or s.get('dev')))
            step = step.find('backingStore')
        lines.append(f'disk {kind == "block":d} {d.find("readonly") is not None:d} {usable:d} '
                     + ' '.join(words))
    return lines


def main():
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 150
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else time.time_ns() % 1_000_000
    r = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'guest.xml')
        for number in range(count):
            root, pid = domain(r), r.choice([None, None, 0, 4711])
            outer = root
            if pid is not None:
                outer = ET.Element('domstatus', state='running', pid=str(pid))
                outer.append(root)
            ET.ElementTree(outer).write(path, encoding=r.choice(['utf-8', 'utf-16', 'us-ascii']),
                                        xml_declaration=True)
            # parsed again: a parser may make other blanks of some
            again = ET.parse(path).getroot()
            want = expected(again if pid is None else again.find('domain'), pid)
            done = subprocess.run([sys.argv[1], path], capture_output=True, text=True, timeout=20)
            if done.returncode != 0 or done.stdout.splitlines() != want:
                print(f'seed {seed}, domain {number}: exit {done.returncode}')
                print(open(path, 'rb').read(), *want, 'but got', done.stdout, sep='\n')
                return 1
    print(f'{count} domains agree (seed {seed})')
    return 0


sys.exit(main())
