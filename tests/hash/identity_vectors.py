#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Computes the test vectors of docs/formats/identity.md, independently of the C code.

BLAKE3 is written down here from the paper ("BLAKE3: one function, fast everywhere", section 2).
Without arguments: prints the vectors. --check DOC: exit 1 unless DOC holds them; where b3sum is
installed, this BLAKE3 is held against it first. --blake3 [CONTEXT]: hashes standard input.
"""
import shutil
import struct
import subprocess
import sys

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT, _KEYED, DERIVE_CONTEXT, DERIVE_MATERIAL = (1 << i for i in range(7))
COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
DIAGONALS = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
M32 = 0xFFFFFFFF


def compress(h, block, counter, flags):
    m = struct.unpack("<16I", block.ljust(64, b"\0"))
    v = list(h) + [*IV[:4], counter & M32, counter >> 32, len(block), flags]
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(COLUMNS + DIAGONALS):
            for x, r, s in ((m[2 * i], 16, 12), (m[2 * i + 1], 8, 7)):
                v[a] = v[a] + v[b] + x & M32
                t = v[d] ^ v[a]
                v[d] = (t >> r | t << 32 - r) & M32
                v[c] = v[c] + v[d] & M32
                t = v[b] ^ v[c]
                v[b] = (t >> s | t << 32 - s) & M32
        m = [m[i] for i in PERMUTATION]
    return [v[i] ^ v[i + 8] for i in range(8)]


def subtree(key, data, chunk, flags, root):
    """The chaining value of data, whose first chunk has this number."""
    if len(data) <= 1024:
        h, blocks = key, [data[i:i + 64] for i in range(0, len(data), 64)] or [b""]
        for i, block in enumerate(blocks):
            f = flags | (CHUNK_START if i == 0 else 0) | (CHUNK_END | root if i == len(blocks) - 1 else 0)
            h = compress(h, block, chunk, f)
        return h
    left = 1024
    while left * 2 < len(data):
        left *= 2
    both = (subtree(key, data[:left], chunk, flags, 0)
            + subtree(key, data[left:], chunk + left // 1024, flags, 0))
    return compress(key, struct.pack("<16I", *both), 0, flags | PARENT | root)


def blake3(data, context=None):
    key, flags = IV, 0
    if context is not None:
        key, flags = subtree(IV, context.encode(), 0, DERIVE_CONTEXT, ROOT), DERIVE_MATERIAL
    return struct.pack("<8I", *subtree(key, data, 0, flags, ROOT))


NULL = bytes(32)


class Disk:
    """Ids by definition; extents is {offset: bytes}, all else is zero."""

    def __init__(self, size, extents):
        self.size = size
        blocks = {}
        for offset, data in extents.items():
            for i, byte in enumerate(data):
                if byte:
                    blocks.setdefault((offset + i) // 4096, bytearray(4096))[(offset + i) % 4096] = byte
        self.ids = [{i: blake3(bytes(b)) for i, b in blocks.items()}]
        for level in range(1, 7):
            fanout, below = 16 if level == 1 else 512, self.ids[-1]
            self.ids.append({p: blake3(b"".join(below.get(p * fanout + c, NULL) for c in range(fanout)),
                                       f"stemma identity 1 level {level}")
                             for p in sorted({i // fanout for i in below})})

    def id(self, level, index):
        return self.ids[level].get(index, NULL)

    def disk_id(self):
        return blake3(struct.pack("<Q", self.size) + self.id(6, 0), "stemma identity 1 disk")


def pattern(size):
    return bytes((131 * i + (i >> 8) + 1) & 0xFF for i in range(size))


def describe(name, disk, *lines):
    print(f"vector {name} {disk.size}")
    for level, index in lines:
        print(f"  id{level}({index}) {disk.id(level, index).hex()}")
    print(f"  content {disk.id(6, 0).hex()}")
    print(f"  disk {disk.disk_id().hex()}")


def vectors():
    for size in (0, 1, 4095, 4096, 4097, 65537):
        last = max(size - 1, 0)
        lines = [(0, 0), (1, 0), (2, 0)]
        lines += [(0, last // 4096)] if last // 4096 else []
        lines += [(1, last // 65536)] if last // 65536 else []
        describe("pattern", Disk(size, {0: pattern(size)}), *sorted(lines))
    for size in (1, 4096, 65537, 1 << 40):
        describe("zero", Disk(size, {}), (0, 0), (1, 0), (2, 0))
    ends = Disk(1 << 61, {0: pattern(4096), (1 << 61) - 4096: pattern(4096)})
    describe("ends", ends, *((level, 0) for level in range(6)),
             *((level, (1 << 61) // (4096 << (0, 4, 13, 22, 31, 40)[level]) - 1) for level in range(6)))
    dots = Disk(128 << 16, {c << 16: bytes([c + 1]) for c in range(128)})
    describe("dots", dots, (0, 0), (1, 0), (1, 127), (2, 0))
    describe("forged-clusters", Disk(4096, {0: b"".join(dots.id(1, c) for c in range(128))}), (0, 0), (1, 0))
    full = Disk(65536, {0: pattern(65536)})
    describe("pattern", full, (0, 0), (0, 15), (1, 0))
    describe("forged-blocks", Disk(512, {0: b"".join(full.id(0, b) for b in range(16))}), (0, 0), (1, 0))


def agrees_with_b3sum():
    context = "stemma identity 1 level 1"
    for size in (0, 1, 64, 65, 1024, 1025, 3072, 4096, 16384, 20001):
        for option, mine in ([], blake3(pattern(size))), (["--derive-key", context], blake3(pattern(size), context)):
            out = subprocess.run(["b3sum", *option], input=pattern(size), stdout=subprocess.PIPE, check=True)
            if out.stdout.split()[0].decode() != mine.hex():
                return False
    return True


def check(doc):
    if shutil.which("b3sum") and not agrees_with_b3sum():
        sys.exit("this BLAKE3 is not b3sum's")
    printed = subprocess.run([sys.executable, __file__], stdout=subprocess.PIPE, check=True, text=True).stdout
    with open(doc, encoding="utf-8") as f:
        if printed not in f.read():
            sys.exit(f"{doc} does not hold these vectors:\n{printed}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        check(sys.argv[2])
    elif sys.argv[1:2] == ["--blake3"]:
        print(blake3(sys.stdin.buffer.read(), *sys.argv[2:]).hex())
    else:
        vectors()
