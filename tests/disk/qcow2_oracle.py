#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qcow2 images of every kind, made and judged by qemu: extents must equal `qemu-img map`, bytes
`qemu-img convert -O raw`, snapshots `qemu-img convert -l snapshot.name=`.
usage: qcow2_oracle.py DISK-DUMP [IMAGES [SEED]]"""
import concurrent.futures, json, os, random, shutil, subprocess, sys, tempfile, time

SKIP = 77
KIB, MIB = 1 << 10, 1 << 20


class Bad(Exception):
    pass


def run(*args, cwd=None, check=True):
    done = subprocess.run(args, cwd=cwd, capture_output=True, timeout=120)
    if check and done.returncode != 0:
        raise Bad(f'{" ".join(args)[:600]}\n  exit {done.returncode}: {done.stderr.decode()[:600]}')
    return done


def make_operations(r, size, cluster, compressed, version3, count):
    """Commands for qemu-io: writes, zeros, discards, compressed clusters."""
    commands = []
    for _ in range(count):
        kind = r.choice(['write', 'write', 'zero', 'zero-unmap', 'discard', 'compressed'])
        unit = r.choice([512, 4096, cluster, cluster])
        at = r.randrange(0, size) // unit * unit
        length = min(r.choice([unit, unit * r.randrange(1, 5), cluster * r.randrange(1, 20)]),
                     size - at, 2 * MIB)
        pattern = r.randrange(1, 256)
        if kind == 'compressed' and compressed:
            at = at // cluster * cluster
            if at + cluster <= size:
                n = min(r.randrange(1, 4), (size - at) // cluster)
                commands += [f'write -c -P {pattern} {at + i * cluster} {cluster}' for i in range(n)]
        elif kind == 'zero':
            commands.append(f'write -z {at} {length}')
        elif kind == 'zero-unmap':
            commands.append(f'write -z -u {at} {length}')
        elif kind == 'discard':
            commands.append(f'discard {at} {length}')
        else:
            commands.append(f'write -P {pattern} {at} {length}')
    return commands


def qemu_io(folder, name, commands, form='qcow2'):
    if commands:
        options = [x for c in commands for x in ('-c', c)]
        # a compressed write over an allocated cluster is refused, which is fine
        run('qemu-io', '-f', form, '-d', 'unmap', *options, name, cwd=folder, check=False)


def choose_size(r, cluster):
    if cluster <= 2048:
        return r.randrange(1, 3 * MIB // 512) * 512
    return r.randrange(1, 24 * MIB // 512) * 512


def make_base(r, folder, name, size, depth):
    """A backing file: raw, or qcow2 (perhaps with one of its own). Returns its format."""
    if r.random() < 0.4:
        run('qemu-img', 'create', '-q', '-f', 'raw', name, str(size), cwd=folder)
        qemu_io(folder, name, make_operations(r, size, 64 * KIB, False, True, 4), 'raw')
        return 'raw'
    make_image(r, folder, name, size, depth + 1)
    return 'qcow2'


def make_image(r, folder, name, size=None, depth=0):
    """A random image. Returns what tests need to know of it."""
    version3 = r.random() < 0.75
    extended = version3 and r.random() < 0.3
    cluster = 1 << r.randrange(14 if extended else 9, 22)
    size = size or choose_size(r, cluster)
    if size // cluster > 20000:
        cluster = 64 * KIB
    options = [f'cluster_size={cluster}', f'compat={"1.1" if version3 else "0.10"}']
    info = {'name': name, 'snapshots': []}
    data_file = None
    if extended:
        options.append('extended_l2=on')
    if version3:
        if r.random() < 0.5:
            options.append('compression_type=zstd')
        if r.random() < 0.3:
            options.append('lazy_refcounts=on')
        data_file = r.choice([None, None, None, 'plain', 'raw'])
    backing = []
    if data_file != 'raw' and depth < 3 and r.random() < 0.55:
        base_size = r.choice([size, max(512, size // 2 // 512 * 512), size + 512 * r.randrange(9999)])
        form = make_base(r, folder, f'{name}.base', base_size, depth)
        backing = ['-b', f'{name}.base', '-F', form]
    if data_file:
        options += [f'data_file={name}.data', f'data_file_raw={"on" if data_file == "raw" else "off"}']
    if not backing and r.random() < 0.15:
        options.append('preallocation=' + r.choice(['metadata', 'falloc']))
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', ','.join(options), *backing, name, str(size),
        cwd=folder)
    info['options'] = options + backing + [str(size)]
    compressed = data_file is None
    qemu_io(folder, name, make_operations(r, size, cluster, compressed, version3, r.randrange(1, 14)))
    for i in range(r.choice([0, 0, 1, 2]) if data_file is None and depth == 0 else 0):
        run('qemu-img', 'snapshot', '-c', f'snap {i}', name, cwd=folder)
        info['snapshots'].append(f'snap {i}')
        qemu_io(folder, name, make_operations(r, size, cluster, compressed, version3, 4))
    if depth == 0 and not info['snapshots'] and data_file is None and r.random() < 0.2:
        run('qemu-img', 'convert', '-c', '-O', 'qcow2', '-o', ','.join(
            o for o in options if not o.startswith('prealloc')), name, name + '.c', cwd=folder)
        os.rename(f'{folder}/{name}.c', f'{folder}/{name}')
        info['options'].append('converted -c')
    return info


def holes(path, start, end):
    """The file's holes within [start, end), as [start, end) pairs."""
    out = []
    with open(path, 'rb') as f:
        size = os.fstat(f.fileno()).st_size
        while start < min(end, size):
            try:
                data = os.lseek(f.fileno(), start, os.SEEK_DATA)
            except OSError:  # ENXIO: no more
                data = size
            if data > start:
                out.append((start, min(data, end)))
            start = os.lseek(f.fileno(), data, os.SEEK_HOLE) if data < min(end, size) else end
    return out


def split(x, path):
    """Data that the host's file never got reads as zeros: both sides may look through to that, and qemu
    then says "zero" beside "data". Each decides by itself when it is worth asking."""
    if not x['data'] or 'offset' not in x:
        return [x]
    out, at, shift = [], x['start'], x['start'] - x['offset']
    for a, b in holes(path, x['offset'], x['offset'] + x['length']):
        out.append({**x, 'start': at, 'length': a + shift - at, 'offset': at - shift, 'zero': False})
        out.append({**x, 'start': a + shift, 'length': b - a, 'zero': True, 'data': False})
        at = b + shift
    out.append({**x, 'start': at, 'length': x['start'] + x['length'] - at, 'offset': at - shift, 'zero': False})
    return [y for y in out if y['length'] > 0]


def normal(entries, folder, name):
    """One form of both maps: neighbours merged, [start, length, depth, kind, offset]."""
    out = []
    for x in entries:
        path = f'{folder}/{name}' + '.base' * x['depth']
        if os.path.exists(path + '.data'):
            path += '.data'
        for y in split(x, path):
            zero = not y['data']
            new = [y['start'], y['length'], y['depth'], 'zero' if zero else 'data',
                   None if zero else y.get('offset')]
            last = out[-1] if out else None
            if last and last[2:4] == new[2:4] and last[0] + last[1] == new[0] and (
                    last[4] is None and new[4] is None or
                    None not in (last[4], new[4]) and last[4] + last[1] == new[4]):
                last[1] += new[1]
            else:
                out.append(new)
    return out


def check_map(dump, folder, name):
    theirs = json.loads(run('qemu-img', 'map', '--output=json', name, cwd=folder).stdout)
    ours = [json.loads(x) for x in run(dump, 'map', name, cwd=folder).stdout.splitlines()]
    ours, theirs = normal(ours, folder, name), normal(theirs, folder, name)
    if ours != theirs:
        for a, b in zip(ours + [None], theirs + [None]):
            if a != b:
                raise Bad(f'{name}: extents differ: ours {a}, qemu {b}')


def check_preallocated(dump, top):
    """An image whose tables describe far more than its file holds: only what it holds is data."""
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'preallocation=metadata', 'p.qcow2', '1G', cwd=top)
    qemu_io(top, 'p.qcow2', ['write -P 7 512M 1M'])
    run('sync', 'p.qcow2', cwd=top)
    ours = [json.loads(x) for x in run(dump, 'map', 'p.qcow2', cwd=top).stdout.splitlines()]
    data = sum(x['length'] for x in ours if x['data'])
    if data != MIB:
        raise Bad(f'a preallocated image with 1 MiB written has {data} bytes of data')
    check_map(dump, top, 'p.qcow2')


def check_bytes(dump, folder, name, snapshot=None, threads=1):
    raw, pick = f'{folder}/{name}.raw', []
    if snapshot:
        pick = ['-l', f'snapshot.name={snapshot}']
    run('qemu-img', 'convert', *pick, '-O', 'raw', name, raw, cwd=folder)
    with open(raw, 'rb') as f:
        theirs = f.read()
    os.unlink(raw)
    ours = run(dump, *([f'--snapshot={snapshot}'] if snapshot else []), f'--threads={threads}', 'bytes',
               name, cwd=folder).stdout
    if ours != theirs:
        at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), None)
        raise Bad(f'{name} @{snapshot}: {len(ours)} bytes, qemu {len(theirs)}; first difference {at}')


def one_image(dump, top, seed):
    r = random.Random(seed)
    folder = f'{top}/{seed}'
    os.mkdir(folder)
    info = {}
    try:
        info = make_image(r, folder, 'a.qcow2')
        check_map(dump, folder, 'a.qcow2')
        check_bytes(dump, folder, 'a.qcow2', threads=3)
        for i, name in enumerate(info['snapshots']):
            check_bytes(dump, folder, 'a.qcow2', name)
            by_id = run(dump, f'--snapshot={i + 1}', 'info', 'a.qcow2', cwd=folder)
            if json.loads(by_id.stdout)['snapshots'] != len(info['snapshots']):
                raise Bad('wrong number of snapshots')
    except (Bad, subprocess.TimeoutExpired) as e:
        return f'image seed {seed} {info.get("options")}: {e}'
    shutil.rmtree(folder)
    return None


def main():
    dump = os.path.abspath(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    seed = sys.argv[3] if len(sys.argv) > 3 else str(int.from_bytes(os.urandom(4), 'big'))
    if not shutil.which('qemu-img') or not shutil.which('qemu-io'):
        print('SKIP: qemu-img and qemu-io (qemu-utils) are not installed')
        return SKIP
    print(f'seed {seed}, {count} images')
    start = time.time()
    with tempfile.TemporaryDirectory(prefix='stemma-qcow2-') as top:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            faults = [x for x in pool.map(lambda i: one_image(dump, top, f'{seed}.{i}'), range(count)) if x]
        try:
            check_preallocated(dump, top)
        except Bad as e:
            faults.append(str(e))
    print('\n'.join(faults) if faults else f'extents and bytes agree, {time.time() - start:.1f} s')
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
