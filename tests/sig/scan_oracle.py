#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Signatures of small disks, computed here from the pages docs/formats/identity.md and signature.md,
against those that the C code makes of the disk as raw and as qcow2 of all kinds, written by qemu.
usage: scan_oracle.py SIG-TOOL IDENTITY-VECTORS-FOLDER [SEED]"""
import json, os, random, shutil, struct, subprocess, sys, tempfile

BLOCK, CLUSTER = 4096, 65536
NULL = bytes(32)


class Bad(Exception):
    pass


def run(*args):
    done = subprocess.run(args, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise Bad(f'{" ".join(args)}: exit {done.returncode}: {done.stderr}')
    return done.stdout


class Hash:
    """Ids by definition; blocks are remembered, because BLAKE3 in python takes 10 ms each."""

    def __init__(self, folder):
        sys.path.insert(0, folder)
        import identity_vectors
        self.blake3, self.known = identity_vectors.blake3, {}

    def once(self, data, context=None):
        key = (data, context)
        if key not in self.known:
            self.known[key] = self.blake3(data, context)
        return self.known[key]

    def parent(self, level, children):
        if not any(c != NULL for c in children):
            return NULL
        return self.once(b''.join(children), f'stemma identity 1 level {level}')

    def cluster(self, data):
        data = data.ljust(CLUSTER, b'\0')
        blocks = [data[i:i + BLOCK] for i in range(0, CLUSTER, BLOCK)]
        return self.parent(1, [self.once(b) if any(b) else NULL for b in blocks])

    def clusters(self, content):
        out = {}
        for i in range(0, len(content), CLUSTER):
            if any(content[i:i + CLUSTER]):
                out[i // CLUSTER] = self.cluster(content[i:i + CLUSTER])
        return out

    def content(self, ids):
        for level in range(2, 7):
            parents = {i // 512 for i in ids}
            ids = {p: self.parent(level, [ids.get(p * 512 + i, NULL) for i in range(512)]) for p in parents}
        return ids.get(0, NULL)


def parse(path, h):
    """A signature file: size, data bytes, ids by cluster, format, content id, disk id."""
    with open(path, 'rb') as f:
        b = f.read()
    if b[:8] != b'STEMSIG\x1a' or struct.unpack('<4I', b[8:24]) != (1, 192, 1, CLUSTER):
        raise Bad(f'{path}: header')
    size, data, n_runs, n_ids = struct.unpack('<4Q', b[24:56])
    if len(b) != 224 + 16 * n_runs + 32 * n_ids or any(b[136:160]):
        raise Bad(f'{path}: length')
    if b[160:192] != h.once(b[:160], 'stemma signature 1 header') or \
            b[-32:] != h.once(b[:-32], 'stemma signature 1 file'):
        raise Bad(f'{path}: checksums')
    ids, at = {}, 192 + 16 * n_runs
    for i in range(n_runs):
        first, count = struct.unpack('<2Q', b[192 + 16 * i:208 + 16 * i])
        if first in ids or first - 1 in ids:
            raise Bad(f'{path}: runs')
        for k in range(count):
            ids[first + k] = b[at:at + 32]
            at += 32
    return size, data, ids, b[56:72].rstrip(b'\0').decode(), b[72:104], b[104:136]


def expect(h, content):
    ids = h.clusters(content)
    data = sum(min(CLUSTER, len(content) - c * CLUSTER) for c in ids)
    root = h.content(ids)
    disk = h.once(struct.pack('<Q', len(content)) + root, 'stemma identity 1 disk')
    return len(content), data, ids, root, disk


def write_sparse(path, content):
    """Zero blocks of 4 KiB become holes."""
    with open(path, 'wb') as f:
        for i in range(0, len(content), BLOCK):
            if any(content[i:i + BLOCK]):
                f.seek(i)
                f.write(content[i:i + BLOCK])
        f.truncate(len(content))


def random_content(r, size, palette):
    """Few different blocks in random places; some of them are zeros that are written as data."""
    content = bytearray(size)
    for _ in range(r.randrange(1, 8)):
        at = r.randrange(0, size) if r.random() < 0.3 else r.randrange(0, size) // BLOCK * BLOCK
        piece = b''.join(r.choice(palette) for _ in range(r.choice([1, 1, 2, 7, 16, 20])))
        piece = piece[:r.choice([len(piece), len(piece), 100])][:size - at]
        content[at:at + len(piece)] = piece
    return bytes(content)


def check(tool, h, folder, name, image, content, threads, options=()):
    out = f'{folder}/{name}.sig'
    run(tool, f'--threads={threads}', *options, 'sign', image, out)
    size, data, ids, form, root, disk = parse(out, h)
    if (size, data, ids, root, disk) != expect(h, content):
        raise Bad(f'{name}: the signature is wrong')


def make_variants(r, folder, raw, size):
    """The same content as qcow2 of many kinds."""
    q = f'{folder}/q.qcow2'
    kinds = ['cluster_size=65536', 'cluster_size=4096', 'cluster_size=512', 'cluster_size=2M',
             'cluster_size=128k,extended_l2=on', 'cluster_size=16k,extended_l2=on',
             'compat=0.10', f'data_file={folder}/q.data,data_file_raw=off']
    kind = r.choice(kinds)
    compressed = ['-c'] if r.random() < 0.3 and 'data_file' not in kind else []
    run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', *compressed, '-o', kind, raw, q)
    yield kind + ' '.join(compressed), q
    if size % 512 or r.random() < 0.3:
        return
    # a chain: a base with other content and another size, an overlay that makes it this one
    base, overlay = f'{folder}/base', f'{folder}/overlay.qcow2'
    base_size = r.choice([size, max(512, size // 2 // 512 * 512), size + 512 * r.randrange(1, 999)])
    with open(raw, 'rb') as f:
        old = bytearray(f.read()[:base_size].ljust(base_size, b'\0'))
    for _ in range(r.randrange(0, 4)):
        at = r.randrange(0, base_size)
        piece = bytes([r.randrange(256)]) * min(r.choice([1, 4096, 70000]), base_size - at)
        old[at:at + len(piece)] = piece
    write_sparse(base, bytes(old))
    form = 'raw'
    if r.random() < 0.5:
        run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', base, f'{folder}/base.qcow2')
        base, form = f'{folder}/base.qcow2', 'qcow2'
    kind = r.choice(kinds[:-1])
    # convert writes only what differs; it asks for sizes that agree unless the base is shorter
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', kind, '-b', base, '-F', form, overlay, str(size))
    with open(raw, 'rb') as f:
        want = f.read()
    have = bytes(old)[:size].ljust(size, b'\0')
    commands, at = [], 0
    while at < size:
        if want[at:at + 512] == have[at:at + 512]:
            at += 512
            continue
        end = at + 512
        while end < size and want[end:end + 512] != have[end:end + 512]:
            end += 512
        piece = f'{folder}/piece-{at}'
        with open(piece, 'wb') as f:
            f.write(want[at:end])
        if any(want[at:end]):
            commands += ['-c', f'write -s {piece} {at} {end - at}']
        else:
            commands += ['-c', f'write -z {at} {end - at}']
        at = end
    if commands:
        run('qemu-io', '-f', 'qcow2', *commands, overlay)
    yield f'{kind} over {form} of {base_size} bytes', overlay


def compare_by_bytes(a, b, unit):
    size = max(len(a), len(b))
    a, b = a.ljust(size, b'\0'), b.ljust(size, b'\0')
    equal = zero = different = 0
    ranges = []
    for i in range(0, size, CLUSTER):
        p, q = a[i:i + CLUSTER], b[i:i + CLUSTER]
        if p == q:
            equal, zero = (equal + len(p), zero) if any(p) else (equal, zero + len(p))
            continue
        for k in range(0, len(p), unit):
            n = len(p[k:k + unit])
            if p[k:k + unit] == q[k:k + unit]:
                equal += n
                continue
            different += n
            if ranges and sum(ranges[-1]) == i + k:
                ranges[-1][1] += n
            else:
                ranges.append([i + k, n])
    return {'equal': equal, 'zero': zero, 'different': different,
            'first': ranges[0][0] if ranges else None, 'ranges': ranges}


def check_compare(tool, folder, contents, threads):
    for name, content in zip('ab', contents):
        write_sparse(f'{folder}/{name}.img', content)
    for how, unit in ('compare', CLUSTER), ('exact', 1):
        got = json.loads(run(tool, f'--threads={threads}', how, f'{folder}/a.img', f'{folder}/b.img'))
        if got != compare_by_bytes(*contents, unit):
            raise Bad(f'{how}: {got}')


def one_round(r, tool, h, palette, size, threads):
    folder = tempfile.mkdtemp()
    try:
        content = random_content(r, size, palette) if size else b''
        raw = f'{folder}/disk.img'
        write_sparse(raw, content)
        check(tool, h, folder, 'raw', raw, content, threads, ['--format=raw'])
        if size == 0:
            return
        # what is no whole number of sectors qemu rounds up
        padded = content.ljust((size + 511) // 512 * 512, b'\0')
        write_sparse(f'{folder}/padded.img', padded)
        for kind, image in make_variants(r, folder, f'{folder}/padded.img', len(padded)):
            check(tool, h, folder, kind.replace('/', '_'), image, padded, threads)
        check_compare(tool, folder, [content, random_content(r, size, palette)[:r.randrange(1, size + 1)]],
                      threads)
    finally:
        shutil.rmtree(folder)


def main():
    if not shutil.which('qemu-img') or not shutil.which('qemu-io'):
        print('SKIP: qemu-img or qemu-io is missing')
        sys.exit(77)
    tool, h = sys.argv[1], Hash(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    r = random.Random(seed)
    palette = [bytes(BLOCK)] + [r.randbytes(BLOCK) for _ in range(3)]
    sizes = [0, 1, 4095, 4096, 65535, 65536, 65537, 131072 + 5000, 400 * 1024 + 512, 3 << 20, 36 << 20]
    for i, size in enumerate(sizes):
        try:
            one_round(r, tool, h, palette, size, 1 + i % 3)
        except Bad as bad:
            sys.exit(f'seed {seed}, size {size}: {bad}')


main()
