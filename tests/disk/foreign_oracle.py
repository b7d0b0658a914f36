#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Foreign formats made and judged by qemu-img: bytes must equal `qemu-img convert -O raw`, extents
`qemu-img map`; what must not be followed is refused.
usage: foreign_oracle.py DISK-DUMP [SEED]"""
import json, os, random, shutil, struct, subprocess, sys, tempfile, time

SKIP = 77
MIB = 1 << 20
dump = os.path.abspath(sys.argv[1])
failures = 0


def run(*args):
    return subprocess.run(args, check=True, capture_output=True).stdout


def complain(text):
    global failures
    failures += 1
    print('FAIL', text)


def merged(extents):
    runs = []
    for x in extents:
        if runs and runs[-1][2] == x['zero'] and runs[-1][0] + runs[-1][1] == x['start']:
            runs[-1][1] += x['length']
        else:
            runs.append([x['start'], x['length'], x['zero']])
    return runs


def our_dump(*args):
    done = subprocess.run([dump, *args], capture_output=True, timeout=60)
    return done.returncode, done.stdout, done.stderr.decode().strip()


def check_same(name, form, backed=False):
    """The image reads as qemu reads it."""
    code, info, error = our_dump('info', name)
    if code != 0:
        return complain(f'{name}: {error}')
    if json.loads(info)['format'] != form:
        complain(f'{name}: taken for {json.loads(info)["format"]}')
    run('qemu-img', 'convert', '-f', form, '-O', 'raw', name, 'wanted.raw')
    code, data, error = our_dump('--threads=2', 'bytes', name)
    with open('wanted.raw', 'rb') as f:
        if data != f.read():
            complain(f'{name}: other bytes {error}')
    theirs = merged(json.loads(run('qemu-img', 'map', '-f', form, '--output=json', name)))
    code, ours, error = our_dump('map', name)
    ours = merged([json.loads(line) for line in ours.splitlines()])
    # qemu-img map of a chain tells depths apart where NBD's base:allocation does not
    if ours != theirs and not backed:
        complain(f'{name}: extents {ours[:8]}, not {theirs[:8]} {error}')


def check_refused(name, code, part, *options):
    status, _, error = our_dump(*options, 'info', name)
    error = error.splitlines()[-1] if error else ''  # qemu-nbd may say something itself
    if status != 3 or not error.startswith(code + ':') or part not in error:
        complain(f'{name}: {status} {error!r}, expected {code} with {part!r}')


def write(name, data):
    with open(name, 'wb') as f:
        f.write(data)


def patch(source, name, *changes):
    with open(source, 'rb') as f:
        data = bytearray(f.read())
    for offset, new in changes:
        data[offset:offset + len(new)] = new
    write(name, data)
    return data


def good_images(r):
    size = 512 * r.randrange(1, 24 * 2048)
    commands = [f'write -P {r.randrange(1, 256)} {at} {min(r.randrange(1, 999) * 512, size - at)}'
                for at in (r.randrange(size // 512) * 512 for _ in range(12))]
    run('qemu-img', 'create', '-f', 'raw', 'a.raw', str(size))
    run('qemu-io', '-f', 'raw', *[x for c in commands for x in ('-c', c)], 'a.raw')
    for form in ('vmdk', 'vhdx', 'vpc', 'vdi', 'qed', 'parallels', 'qcow'):
        run('qemu-img', 'convert', '-f', 'raw', '-O', form, 'a.raw', f'a.{form}')
        check_same(f'a.{form}', form)
    for form, option in (('vmdk', 'monolithicFlat'), ('vmdk', 'twoGbMaxExtentSparse'),
                         ('vmdk', 'twoGbMaxExtentFlat'), ('vmdk', 'streamOptimized'),
                         ('vpc', 'fixed'), ('vdi', 'static=on'), ('vhdx', 'fixed')):
        name = f'a-{option}.{form}'
        option = option if '=' in option else f'subformat={option}'
        run('qemu-img', 'convert', '-f', 'raw', '-O', form, '-o', option, 'a.raw', name)
        check_same(name, form)
    for form in ('vmdk', 'qed', 'qcow'):
        base, base_form = ('a.vmdk', 'vmdk') if form == 'vmdk' else ('a.raw', 'raw')
        name = f'over.{form}'
        run('qemu-img', 'create', '-f', form, '-b', base, '-F', base_form, name)
        run('qemu-io', '-f', form, '-c', 'write -P 77 0 512', name)
        check_same(name, form, backed=True)


def refused_images():
    descriptor = ('# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n'
                  'createType="monolithicFlat"\n{}\n')
    write('plain', b'x' * 4096)
    write('proto.vmdk', descriptor.format('RW 8 FLAT "nbd://localhost/x" 0').encode())
    check_refused('proto.vmdk', 'unsupported', 'plain file names')
    write('gone.vmdk', descriptor.format('RW 8 FLAT "gone-flat.vmdk" 0').encode())
    check_refused('gone.vmdk', 'not-found', 'gone-flat.vmdk')
    write('twice.vmdk', descriptor.format('RW 8 FLAT "plain" 0\nRW 8 FLAT "plain" 0').encode())
    check_same('twice.vmdk', 'vmdk')
    write('self.vmdk', descriptor.format('RW 8 SPARSE "self.vmdk"').encode())
    check_refused('self.vmdk', 'format', 'itself')
    write('guest.img', descriptor.format('RW 8 FLAT "plain" 0').encode())
    check_refused('guest.img', 'denied', '--image-format=vmdk')
    # an extent that is a descriptor in a sparse header again
    header = struct.pack('<4sIIQQQQIQQQ', b'KDMV', 1, 3, 0, 128, 1, 1, 512, 0, 0, 128)
    inner = descriptor.format('RW 8 FLAT "plain" 0').encode()
    write('inner.vmdk', header.ljust(512, b'\0') + inner.ljust(512, b'\0'))
    write('outer.vmdk', descriptor.format('RW 8 SPARSE "inner.vmdk"').encode())
    check_refused('outer.vmdk', 'unsupported', 'made of parts again')
    write('parent.vmdk', descriptor.format('RW 8 FLAT "plain" 0\nparentFileNameHint="a.raw"')
          .encode())
    check_refused('parent.vmdk', 'unsupported', 'raw image')
    run('qemu-img', 'create', '-f', 'qcow2', 'b.qcow2', '1M')
    run('qemu-img', 'create', '-f', 'qed', '-b', 'b.qcow2', '-F', 'qcow2', 'on-qcow2.qed')
    check_refused('on-qcow2.qed', 'unsupported', 'qcow2 image')
    run('qemu-img', 'create', '-f', 'vpc', 'd.vpc', '4M')
    patch('d.vpc', 'differencing.vhd', (60, struct.pack('>I', 4)))
    check_refused('differencing.vhd', 'unsupported', 'parent')
    run('qemu-img', 'create', '-f', 'vhdx', 'd.vhdx', '4M')
    with open('d.vhdx', 'rb') as f:
        data = f.read()
    metadata = struct.unpack_from('<Q', data, data.index(bytes.fromhex('06a27c8b'), 192 << 10) + 16)[0]
    entry = data.index(bytes.fromhex('3767a1ca'), metadata)
    value = metadata + struct.unpack_from('<I', data, entry + 16)[0]
    patch('d.vhdx', 'differencing.vhdx', (value + 4, b'\x02'))
    check_refused('differencing.vhdx', 'unsupported', 'parent')
    write('crypt.img', b'LUKS\xba\xbe\0\1' + bytes(4096))
    check_refused('crypt.img', 'unsupported', '--image-format=raw', '--format=luks')
    write('broken.vdi', bytes(64) + b'\x7f\x10\xda\xbe' + bytes(4096))
    check_refused('broken.vdi', 'peer', 'qemu-nbd')


def main():
    for program in ('qemu-img', 'qemu-io', 'qemu-nbd'):
        if shutil.which(program) is None:
            print(f'no {program}')
            return SKIP
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    print('seed', seed)
    with tempfile.TemporaryDirectory(prefix='stemma-', dir='/var/tmp') as folder:
        os.chdir(folder)
        good_images(random.Random(seed))
        refused_images()
        os.chdir('/')
    return 1 if failures else 0


sys.exit(main())
