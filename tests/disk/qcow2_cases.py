#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qcow2 images written byte by byte after docs/interop/qcow2.txt: good-* ones read as the bytes they were
made of (and as qemu reads them, where it does), bad-* and unsupported-* ones give one clear message with
the right code: no crash, no hang, no memory.
usage: qcow2_cases.py DISK-DUMP          the test
       qcow2_cases.py --corpus FOLDER    writes the small ones as seeds for the fuzzer"""
import json, os, resource, shutil, struct, subprocess, sys, tempfile, zlib

COPIED, COMPRESSED = 1 << 63, 1 << 62
MEMORY_MAX_KIB = 300 << 10  # sanitizers included
SECONDS_MAX = 20


def be64(*numbers):
    return struct.pack(f'>{len(numbers)}Q', *numbers)


def extension(kind, data, length=None):
    n = len(data) if length is None else length
    return struct.pack('>II', kind, n) + data + b'\0' * (-len(data) % 8)


def snapshot_entry(l1_offset, l1_entries, name, size=None, ident='1', extra=None):
    data = be64(0, size) if size is not None else b''
    e = struct.pack('>QIHHIIQII', l1_offset, l1_entries, len(ident), len(name), 0, 0, 0, 0,
                    len(data) if extra is None else extra)
    e += data + ident.encode() + name.encode()
    return e + b'\0' * (-len(e) % 8)


class Image:
    """Cluster 0: header; 1: refcount table; 2: refcount block; 3: L1; 4: L2; then what put() adds."""

    def __init__(self, bits=9, size=None, version=3, **fields):
        self.bits, self.cluster = bits, 1 << bits
        self.size = 8 * self.cluster if size is None else size
        self.fields = dict(version=version, backing_offset=0, backing_length=0, cluster_bits=bits,
                           size=self.size, crypt=0, l1_entries=1, l1_offset=3 * self.cluster,
                           refcount_offset=self.cluster, refcount_clusters=1, n_snapshots=0,
                           snapshots_offset=0, features=0, compatible=0, autoclear=0, refcount_order=4,
                           header_length=112, compression=0)
        self.fields.update(fields)
        self.extensions = b''
        self.bytes = bytearray(5 * self.cluster)
        self.set(self.cluster, be64(2 * self.cluster))
        self.set(3 * self.cluster, be64(4 * self.cluster | COPIED))
        self.disk = bytearray(self.size)

    def set(self, at, data):
        if at + len(data) > len(self.bytes):
            self.bytes.extend(b'\0' * (at + len(data) - len(self.bytes)))
        self.bytes[at:at + len(data)] = data

    def append(self, data, align=True):
        """Returns where it went."""
        if align:
            self.bytes.extend(b'\0' * (-len(self.bytes) % self.cluster))
        at = len(self.bytes)
        self.bytes.extend(data)
        return at

    def entry(self, index, value, *bitmap):
        width = 16 if self.fields['features'] & 16 else 8
        self.set(4 * self.cluster + width * index, be64(value, *bitmap))

    def fill(self, index, pattern):
        data = (pattern * self.cluster)[:self.cluster]
        at = index * self.cluster
        self.disk[at:at + self.cluster] = data
        del self.disk[self.size:]
        return data

    def data(self, index, pattern):
        at = self.append(self.fill(index, pattern))
        self.entry(index, at | COPIED)
        return at

    def compressed(self, index, pattern, at=None, pad=True):
        deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
        packed = deflate.compress(bytes(self.fill(index, pattern))) + deflate.flush()
        if at is None:
            at = self.append(packed, align=False)
        else:
            self.set(at, packed)
        sectors = (at + len(packed) - 1) // 512 - at // 512
        if pad:
            self.append(b'\0' * (-len(self.bytes) % 512), align=False)
        self.entry(index, COMPRESSED | sectors << (62 - (self.bits - 8)) | at)
        return at

    def done(self):
        f = self.fields
        h = b'QFI\xfb' + struct.pack('>IQIIQIIQQIIQ', f['version'], f['backing_offset'], f['backing_length'],
                                     f['cluster_bits'], f['size'], f['crypt'], f['l1_entries'],
                                     f['l1_offset'], f['refcount_offset'], f['refcount_clusters'],
                                     f['n_snapshots'], f['snapshots_offset'])
        if f['version'] >= 3:
            h += struct.pack('>QQQIIB7x', f['features'], f['compatible'], f['autoclear'],
                             f['refcount_order'], f['header_length'], f['compression'])
        self.set(0, h + self.extensions)
        return bytes(self.bytes)


def with_backing(name, bits=9, **fields):
    i = Image(bits, backing_offset=256, backing_length=len(name), **fields)
    i.data(1, b'own')
    i.set(256, name)
    return i


GOOD, BAD = {}, {}  # name: (bytes, disk, also), name: (bytes, code, message)


def good(name, image, disk=None, qemu=True, problem=None, snapshot=None):
    data = image.done()
    GOOD['good-' + name] = (data, bytes(image.disk[:image.size // 512 * 512]) if disk is None else disk, qemu,
                            problem, snapshot)


def bad(name, image, code, message, *options):
    data = image if isinstance(image, bytes) else image.done()
    prefix = 'unsupported-' if code == 'unsupported' else 'bad-'
    BAD[prefix + name] = (data, code, message, options)


def plain(**fields):
    i = Image(**fields)
    i.data(0, b'zero')
    i.data(3, b'three')
    i.compressed(5, b'five compressed')
    return i


def make_good():
    good('plain', plain())
    good('version-2', plain(version=2))
    i = plain(size=8 * 512 - 300)
    i.disk = i.disk[:7 * 512]
    good('size-not-of-sectors', i)
    good('size-zero', Image(size=0, l1_entries=0))
    good('cluster-bits-21', Image(bits=21, size=4 << 20))
    good('refcount-nonsense', plain(refcount_offset=0x123456789abc, refcount_clusters=0xffffffff,
                                    refcount_order=77), qemu=False)
    good('corrupt-bit', plain(features=2), problem='marked corrupt')
    good('dirty-bit', plain(features=1))
    good('unknown-compatible-and-autoclear', plain(compatible=1 << 60, autoclear=1 << 59))

    i = plain()
    i.entry(1, 1)  # zero cluster
    good('zero-cluster', i)
    i = plain()
    at = i.append(b'never seen' * 51 + b'xx')
    i.entry(2, at | COPIED | 1)
    good('zero-cluster-preallocated', i)

    i = plain()
    at = i.data(6, b'shared')
    i.entry(1, at)
    i.entry(2, at)
    i.fill(1, b'shared')
    i.fill(2, b'shared')
    good('clusters-shared', i)
    i = plain()
    i.entry(1, 3 * 512 | COPIED)  # the L1 table itself, as data
    i.disk[512:1024] = i.bytes[3 * 512:4 * 512]
    good('cluster-over-the-l1-table', i)

    i = plain()
    i.entry(1, 0x40000000 | COPIED)
    bad('cluster-beyond-the-end', i, 'format', 'data cluster at offset 0x40000000 lies beyond')
    i = plain()
    at = i.append(b'y' * 100)
    i.entry(1, at | COPIED)
    i.disk[512:612] = b'y' * 100
    good('cluster-half-beyond-the-end', i)

    i = plain(l1_entries=60)
    i.set(3 * 512 + 8, be64(*[0x00ffffffdeadbeef] * 59))
    good('l1-longer-than-needed', i)
    i = Image(size=100 * 512, l1_entries=2)
    i.data(2, b'first table')
    good('l1-entry-unallocated', i)

    # more L2 tables than are kept in memory; each describes another cluster of its own
    i = Image(size=150 * 64 * 512, l1_entries=150, l1_offset=5 * 512)
    i.append(bytes(3 * 512))
    for n in range(150):
        pattern = b'table %03d' % n
        i.disk[n * 64 * 512:n * 64 * 512 + 512] = (pattern * 64)[:512]
        l2 = i.append(be64(len(i.bytes) + 512 | COPIED) + bytes(504))
        i.append((pattern * 64)[:512])
        i.set(5 * 512 + 8 * n, be64(l2 | COPIED))
    good('l2-tables-many', i)
    i = Image(bits=12)
    i.compressed(0, b'at the very end', pad=False)
    good('compressed-up-to-the-end', i)
    i = Image(bits=12, size=65536)
    noise = bytes((n * n * 31 + n // 7) % 251 for n in range(4096))
    at = 5 * 4096 + 4000
    i.compressed(1, noise, at=at)
    good('compressed-over-two-clusters', i)

    i = with_backing(b'')
    good('backing-name-empty', i)
    i = Image(autoclear=1)
    i.extensions = extension(0x23852875, struct.pack('>IIQQ', 1, 0, 0, 0)) + extension(0, b'')
    i.data(1, b'bitmaps')
    good('bitmaps', i, qemu=False)
    i = plain()
    i.extensions = extension(0x12345678, b'whatever') + extension(0, b'')
    good('extension-unknown', i)
    i = plain()
    i.extensions = extension(0x12345678, b'x' * (512 - 112 - 8))  # up to the cluster's end, no end marker
    good('extensions-fill-the-cluster', i)

    # 32 subclusters: allocated, zero, neither; and a cluster that is only zeros and holes
    i = Image(bits=14, features=16, size=1 << 17)
    at = i.append(b'')
    i.append(b'S' * 16384, align=False)
    bitmap = 0xf0 << 32 | 0x80000f0f
    i.entry(1, at | COPIED, bitmap)
    for n in range(32):
        if bitmap >> n & 1:
            i.disk[16384 + 512 * n:16384 + 512 * n + 512] = b'S' * 512
    i.entry(2, 0, 0xffff << 32)
    good('extended-l2', i)

    # an internal snapshot of another size, with its own tables
    i = plain(n_snapshots=2)
    old = bytes(b'old state' * 100)[:512]
    data = i.append(old)
    l2 = i.append(be64(0, data) + b'\0' * 496)
    l1 = i.append(be64(l2) + b'\0' * 504)
    i.fields['snapshots_offset'] = i.append(snapshot_entry(l1, 1, '2', 4 * 512) +
                                            snapshot_entry(l1, 1, 's', 6 * 512, ident='2'))
    good('snapshot-current-state', i)
    good('snapshot-by-name', i, disk=bytes(512) + old + bytes(4 * 512), qemu=False, snapshot='s')
    good('snapshot-by-id', i, disk=bytes(512) + old + bytes(2 * 512), qemu=False, snapshot='1')
    good('snapshot-id-before-name', i, disk=bytes(512) + old + bytes(4 * 512), qemu=False, snapshot='2')


def make_bad():
    for bits in (0, 8, 22, 63, 0xffffffff):
        bad(f'cluster-bits-{bits}', plain(cluster_bits=bits), 'format', f'cluster size of 2^{bits} bytes')
    bad('version-4', plain(version=4), 'unsupported', 'version 4')
    bad('aes', plain(crypt=1), 'unsupported', 'AES-encrypted')
    bad('luks', plain(crypt=2), 'unsupported', 'LUKS-encrypted qcow2 images need a key')
    i = plain(features=1 << 7 | 1 << 40)
    i.extensions = extension(0x6803f857, b'\0\x07' + b'time\ntravel'.ljust(46, b'\0')) + extension(0, b'')
    bad('feature', i, 'unsupported', 'time\\x0atravel (bit 7), bit 40')
    bad('compression-type', plain(features=8, compression=9), 'unsupported', 'compression type 9')

    size = 'virtual size'
    bad('size-huge', sized(1 << 63), 'limit', size)
    bad('size-all-ones', sized((1 << 64) - 1), 'limit', size)
    bad('l1-too-small', sized(1 << 40), 'format', 'L1 table of 1 entries; the virtual size needs 33554432')
    bad('l1-huge', sized(1 << 46, l1_entries=0x80000000), 'format', 'L1 table at offset 0x600')
    bad('l1-not-there', sized(1 << 50, bits=21, l1_entries=0xffffffff, l1_offset=1 << 50), 'format',
        'L1 table at offset 0x4000000000000')
    bad('l1-out-of-file', plain(l1_offset=0x40000000), 'format', 'L1 table at offset 0x40000000')
    bad('l1-offset-all-ones', plain(l1_offset=(1 << 64) - 512), 'format', 'L1 table at offset 0xfffffffffffffe00')
    bad('l1-not-aligned', plain(l1_offset=3 * 512 + 8), 'format', 'offset 0x608 is not aligned')
    i = plain()
    i.set(3 * 512, be64(0x40000000 | COPIED))
    bad('l2-out-of-file', i, 'format', 'L2 table at offset 0x40000000 lies beyond')
    i = plain(bits=12)
    i.set(3 * 4096, be64(0x200 | COPIED))
    bad('l2-not-aligned', i, 'format', 'L2 table at offset 0x200 is not aligned')
    i = plain(bits=12)
    i.entry(1, 0x200 | COPIED)
    bad('cluster-not-aligned', i, 'format', 'offset 0x1000 stands at 0x200, not aligned')
    i = plain(version=2)
    i.entry(1, 1)
    bad('zero-cluster-in-version-2', i, 'format', 'contradicts itself')
    i = Image(bits=14, features=16)
    i.entry(0, 0, 1)
    bad('subcluster-without-cluster', i, 'format', 'contradicts itself')
    i = Image(bits=14, features=16)
    i.entry(0, 5 << 14, 1 << 32 | 1)
    bad('subcluster-zero-and-allocated', i, 'format', 'contradicts itself')
    bad('extended-l2-small-clusters', plain(features=16), 'format', 'extended L2 entries need')

    i = plain()
    i.entry(2, COMPRESSED | 1 << 50)
    bad('compressed-out-of-file', i, 'format', 'compressed cluster at offset 0x4000000000000 lies beyond')
    i = plain()
    i.entry(2, COMPRESSED | (1 << 62) - 1)
    bad('compressed-all-ones', i, 'format', 'compressed cluster at offset 0x1fffffffffffffff lies beyond')
    i = plain()
    i.entry(2, COMPRESSED | i.append(b'\xff' * 512))
    bad('compressed-garbage', i, 'format', 'compressed cluster at offset')
    i = plain(features=8, compression=1)
    bad('compressed-by-another-method', i, 'format', 'compressed cluster at offset')

    i = plain()
    i.extensions = extension(0x12345678, b'x' * 16, length=0xfffffff0)
    bad('extension-huge', i, 'format', 'header extension 0x12345678 of 4294967280 bytes')
    i = with_backing(b'base')
    i.extensions = extension(0x12345678, b'x' * 200)
    bad('extension-over-backing-name', i, 'format', 'header extension 0x12345678 of 200 bytes')
    i = with_backing(b'base')
    i.extensions = extension(0xe2792aca, b'0123456789abcdef')
    bad('backing-format-long', i, 'format', 'backing format name of 16 bytes')
    bad('backing-name-out-of-cluster', moved_name(510), 'format',
        'backing file name at offset 0x1fe (4 bytes) leaves')
    bad('backing-name-far-away', moved_name(1 << 63), 'format', 'leaves the first cluster')
    i = with_backing(b'base')
    i.fields['backing_length'] = 0xffffffff
    bad('backing-name-huge', i, 'format', 'leaves the first cluster')
    bad('backing-name-nul', with_backing(b'/etc/passwd\0.qcow2'), 'format', 'NUL byte')
    for name in (b'json:{"driver":"file","filename":"/etc/shadow"}', b'nbd:localhost:10809', b'ssh://h/f'):
        bad('backing-' + name[:4].decode().strip(':').replace('/', '-'), with_backing(name), 'unsupported', '')
    bad('backing-denied', with_backing(b'/etc/shadow'), 'denied', '/etc/shadow', '--deny')
    bad('backing-file-denied', with_backing(b'file:/etc/shadow'), 'denied', '/etc/shadow', '--deny')
    bad('backing-missing', with_backing(b'no-such-file'), 'not-found', 'no-such-file')
    bad('backing-itself', with_backing(b'image.qcow2'), 'format', '')
    i = Image(features=4)
    bad('data-file-unnamed', i, 'format', 'does not name its external data file')
    i = Image(features=4)
    i.extensions = extension(0x44415441, b'/etc/shadow') + extension(0, b'')
    bad('data-file-denied', i, 'denied', '/etc/shadow', '--deny')
    i = Image(features=4)
    i.extensions = extension(0x44415441, b'/dev/null') + extension(0, b'')
    bad('data-file-device', i, 'unsupported', '')
    for name, entry, message in (('moved', 0x200 | COPIED, 'of the external data file'),
                                 ('compressed', COMPRESSED | 0x200, 'with an external data file')):
        i = Image(features=4)
        i.extensions = extension(0x44415441, b'image.qcow2') + extension(0, b'')
        i.entry(2, entry)
        bad('data-file-' + name, i, 'format', message)

    bad('snapshots-out-of-file', plain(n_snapshots=1, snapshots_offset=0x40000000), 'format',
        'snapshot table at offset 0x40000000')
    bad('snapshots-too-many', plain(n_snapshots=0xffffffff, snapshots_offset=512), 'format',
        'snapshot table at offset 0x200 (4294967295 entries)')
    bad('snapshots-not-aligned', plain(n_snapshots=1, snapshots_offset=520), 'format', 'not aligned')
    s = '--snapshot=s'
    bad('snapshot-unknown', plain(), 'not-found', "no internal snapshot 's'", s)
    for name, entry, code, message in (
            ('cut-off', snapshot_entry(3 * 512, 1, 's', 512)[:-8], 'format', 'snapshot table is cut off'),
            ('extra-huge', snapshot_entry(3 * 512, 1, 's', 512, extra=0xffffffff), 'format', 'snapshot table is cut off'),
            ('l1-out-of-file', snapshot_entry(1 << 40, 1, 's', 512), 'format', 'L1 table at offset 0x10000000000'),
            ('l1-not-aligned', snapshot_entry(513, 1, 's', 512), 'format', 'not aligned'),
            ('l1-too-small', snapshot_entry(3 * 512, 1, 's', 1 << 30), 'format', 'L1 table of 1 entries'),
            ('size-huge', snapshot_entry(3 * 512, 1, 's', 1 << 63), 'limit', 'virtual size')):
        i = plain(n_snapshots=1)
        i.fields['snapshots_offset'] = i.append(entry)
        bad('snapshot-' + name, i, code, message, s)

    bad('empty', b'', 'format', 'cut off', '--format=qcow2')
    bad('not-qcow2', b'QFI\xfc' + bytes(508), 'format', 'not a qcow2 image', '--format=qcow2')
    bad('all-ones', b'QFI\xfb\0\0\0\3' + b'\xff' * 600, 'format', 'cluster size')


def sized(size, **fields):
    i = Image(size=512, **{k: v for k, v in fields.items() if k != 'bits'}, bits=fields.get('bits', 9))
    i.fields['size'] = size
    return i


def moved_name(offset):
    i = with_backing(b'base')
    i.fields['backing_offset'] = offset
    return i


def run(*args, cwd):
    try:
        return subprocess.run(args, cwd=cwd, capture_output=True, timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(args, -99, b'', b'hangs')


def qemu_bytes(folder):
    done = run('qemu-img', 'convert', '-O', 'raw', 'image.qcow2', 'image.raw', cwd=folder)
    if done.returncode != 0:
        return None
    with open(f'{folder}/image.raw', 'rb') as f:
        return f.read()


def check_good(dump, folder, case, with_qemu):
    data, disk, qemu, problem, snapshot = case
    with open(f'{folder}/image.qcow2', 'wb') as f:
        f.write(data)
    pick = [f'--snapshot={snapshot}'] if snapshot else []
    done = run(dump, *pick, 'bytes', 'image.qcow2', cwd=folder)
    if done.returncode != 0:
        return f'exit {done.returncode}: {done.stderr.decode()}'
    if done.stdout != disk:
        return f'{len(done.stdout)} bytes that are not the {len(disk)} expected'
    if (problem or '') not in done.stderr.decode() or (not problem and done.stderr):
        return f'problems: {done.stderr.decode()!r}'
    if with_qemu and qemu and qemu_bytes(folder) != disk:
        return 'qemu reads something else'
    return None


def check_bad(dump, folder, case):
    data, code, message, options = case
    with open(f'{folder}/image.qcow2', 'wb') as f:
        f.write(data)
    done = run(dump, *options, 'bytes', 'image.qcow2', cwd=folder)
    text = done.stderr.decode()
    if done.returncode != 3:
        return f'exit {done.returncode}: {text[:3000]}'
    if text.count('\n') != 1 or not text.startswith(f'{code}: ') or message not in text or done.stdout:
        return f'{text!r}, not {code}: ..{message}..'
    return None


def check_truncated(dump, folder, with_qemu):
    """Each length gives the same bytes as qemu, or one message."""
    i = plain(n_snapshots=1)
    i.fields['snapshots_offset'] = i.append(snapshot_entry(3 * 512, 1, 's', 512))
    data, full = i.done(), bytes(i.disk)
    for length in sorted({*range(0, 130, 9), *range(130, len(data), 251), len(data) - 1}):
        with open(f'{folder}/image.qcow2', 'wb') as f:
            f.write(data[:length])
        done = run(dump, '--format=qcow2', 'bytes', 'image.qcow2', cwd=folder)
        text = done.stderr.decode()
        if done.returncode == 3 and text.startswith('format: ') and text.count('\n') == 1:
            continue
        if done.returncode != 0:
            return f'cut at {length}: exit {done.returncode} {text[:3000]}'
        if done.stdout != full and with_qemu and done.stdout != qemu_bytes(folder):
            return f'cut at {length}: not the bytes that qemu reads'
    return None


def check_circle(dump, folder):
    for name, backing in (('image.qcow2', b'b.qcow2'), ('b.qcow2', b'c.qcow2'), ('c.qcow2', b'image.qcow2')):
        with open(f'{folder}/{name}', 'wb') as f:
            f.write(with_backing(backing).done())
    done = run(dump, 'bytes', 'image.qcow2', cwd=folder)
    text = done.stderr.decode()
    if done.returncode != 3 or not text.startswith('format: ') or text.count('\n') != 1:
        return f'exit {done.returncode} {text[:3000]}'
    return None


def check_sparse(dump, folder):
    """A disk of 1 TiB with one cluster at its end: two extents."""
    i = sized(1 << 40, bits=16, l1_entries=2048)
    i.set(3 * 65536 + 8 * 2047, be64(4 * 65536 | COPIED))
    i.set(3 * 65536, be64(0))
    i.entry(8191, 4 * 65536 | COPIED)  # the L2 table itself, as data
    with open(f'{folder}/image.qcow2', 'wb') as f:
        f.write(i.done())
    done = run(dump, 'map', 'image.qcow2', cwd=folder)
    got = [(x['start'], x['length'], x['zero']) for x in map(json.loads, done.stdout.splitlines())]
    last = (1 << 40) - 65536
    if got != [(0, last, True), (last, 65536, False)]:
        return f'extents {got[:5]}, {done.stderr.decode()}'
    return None


def main():
    make_good()
    make_bad()
    if sys.argv[1] == '--corpus':
        seen = set()
        for name, case in {**GOOD, **BAD}.items():
            if len(case[0]) <= 100 << 10 and case[0] not in seen:
                seen.add(case[0])
                with open(f'{sys.argv[2]}/{name}', 'wb') as f:
                    f.write(case[0])
        return 0
    dump, with_qemu, faults = os.path.abspath(sys.argv[1]), shutil.which('qemu-img') is not None, []
    if not with_qemu:
        print('qemu-img is not installed: the cases are judged by their own bytes only')
    checks = [(n, lambda f, c=c: check_good(dump, f, c, with_qemu)) for n, c in GOOD.items()]
    checks += [(n, lambda f, c=c: check_bad(dump, f, c)) for n, c in BAD.items()]
    checks += [('truncated', lambda f: check_truncated(dump, f, with_qemu)),
               ('bad-backing-circle', lambda f: check_circle(dump, f)),
               ('good-sparse', lambda f: check_sparse(dump, f))]
    for name, check in checks:
        with tempfile.TemporaryDirectory(prefix='stemma-qcow2-') as folder:
            fault = check(folder)
        if fault:
            faults.append(f'{name}: {fault}')
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    if peak > MEMORY_MAX_KIB:
        faults.append(f'some image took {peak} KiB of memory')
    print('\n'.join(faults) if faults else f'{len(checks)} cases, at most {peak} KiB of memory')
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
