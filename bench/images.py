# SPDX-License-Identifier: GPL-2.0-or-later
"""Images for the benchmark: the same bytes for the same sizes, whenever and wherever they are made."""
import os
import random
import shutil
import subprocess

MIB = 1 << 20
BLOCK = 4096


def random_bytes(seed, length):
    """`length` bytes of which no two blocks are equal, fast to make."""
    rng = random.Random(seed)
    piece = rng.randbytes(min(length, 16 * MIB))
    out = bytearray()
    while len(out) < length:
        out += piece
    del out[length:]
    for i, at in enumerate(range(0, length - 15, BLOCK)):  # tell the repeated pieces apart
        out[at:at + 16] = ((seed << 64) | i).to_bytes(16, 'little')
    return bytes(out)


def run(*command, **options):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)


def have(program):
    return shutil.which(program) is not None


def sync(path):
    """On the disk, so that it can be dropped from the page cache."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def drop(*paths):
    """Out of the page cache."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.fdatasync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def warm(path):
    """Into the page cache, as a reader brings it there: what is left of the writing is dropped first,
    because the sizes of its pieces differ from writer to writer and cost more or less to map."""
    drop(path)
    with open(path, 'rb', buffering=0) as f:
        while f.read(4 * MIB):
            pass


def full_raw(path, length, seed=1):
    """Data from end to end."""
    if os.path.exists(path) and os.path.getsize(path) == length:
        return path
    with open(path + '.part', 'wb') as f:
        for i in range(0, length, 64 * MIB):
            f.write(random_bytes(seed * 100000 + i // (64 * MIB), min(64 * MIB, length - i)))
    sync(path + '.part')
    os.rename(path + '.part', path)
    return path


def sparse_raw(path, virtual, data, runs, seed):
    """`data` bytes in `runs` places, evenly over the disk."""
    run_length = data // runs
    with open(path, 'wb') as f:
        f.truncate(virtual)
        for i in range(runs):
            f.seek(virtual // runs * i // 65536 * 65536)
            f.write(random_bytes(seed * 100000 + i, run_length))
    sync(path)
    return path


def convert(source, path, *options):
    """To qcow2. The image of a former run is taken as it is."""
    if not os.path.exists(path):
        run('qemu-img', 'convert', '-O', 'qcow2', *options, source, path + '.part')
        sync(path + '.part')
        os.rename(path + '.part', path)
    return path


def overlay(path, base, options, writes, seed, pool):
    """A qcow2 overlay of `base` with `writes`, a list of (offset, length), taken from `pool`, a file
    of random bytes."""
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', os.path.basename(base), '-F', 'raw', '-o',
        options, path)
    size = os.path.getsize(pool)
    rng = random.Random(seed)
    script = []
    for n, (offset, length) in enumerate(writes):
        # qemu-io repeats what it is given: a slice of its own for each write
        slice_path = f'{path}.slice{n % 4}'
        script.append((slice_path, offset, length, rng.randrange(0, size - length) // BLOCK * BLOCK))
    with open(pool, 'rb') as f:
        for start in range(0, len(script), 4):
            command = ['qemu-io', '-f', 'qcow2', '-t', 'unsafe']
            for slice_path, offset, length, at in script[start:start + 4]:
                f.seek(at)
                with open(slice_path, 'wb') as out:
                    out.write(f.read(length))
                command += ['-c', f'write -q -s {slice_path} {offset} {length}']
            run(*command, path)
    for n in range(4):
        if os.path.exists(f'{path}.slice{n}'):
            os.remove(f'{path}.slice{n}')
    sync(path)
    return path


def random_writes(seed, virtual, total, smallest, largest):
    """Writes of mixed lengths at random blocks, `total` bytes in all."""
    rng = random.Random(seed)
    writes = []
    while total > 0:
        length = min(smallest << rng.randrange((largest // smallest).bit_length()), largest)
        writes.append((rng.randrange(virtual - length) // BLOCK * BLOCK, length))
        total -= length
    return writes
