#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random chains of backing files: layers of any size on each other, cluster sizes, raw, vmdk and qcow2
bases, writes, zeroes and discards at any sector, internal snapshots. data_bytes, different_bytes and
shared_bytes of all layers equal a count over qemu-img's copies; then the whole cache answers the same.

ROUNDS=N (3) chains of one seed; SEED=N repeats one."""
import os
from oracle import *

need("qemu-img", "qemu-io", "qemu-nbd")

SIZES = [512, 4096, 65536, 65536 + 512, 3 * 65536 - 512, 5 * 65536 + 4096, 700 * 512, 1024 * 1024 + 1536,
         2 * 1024 * 1024]


def some_size(r):
    return r.choice(SIZES) if r.random() < 0.6 else r.randrange(1, 4096) * 512


def change(r, path, fmt, size, n):
    """Random writes, zeroes and discards, all at once."""
    commands = []
    for _ in range(n):
        at = r.choice([r.randrange(size // 512) * 512, r.randrange(size // 65536 + 1) * 65536, max(size - 512, 0)])
        at = min(at, size - 512)
        length = min(r.choice([512, 1024, 4096, 65536, 65536 * 2, 150016, size]), size - at)
        commands += ["-c", r.choice([f"write -q -P {r.randrange(1, 4)} {at} {length}", f"write -q -z {at} {length}",
                                     f"write -q -z -u {at} {length}", f"discard -q {at} {length}"])]
    if commands:
        sh("qemu-io", "-f", fmt, "-d", "unmap", *commands, path)


def make_base(r, name):
    size = some_size(r)
    fmt = r.choice(["raw", "qcow2", "vmdk"])
    if fmt == "raw":
        with open(name, "wb") as f:
            f.truncate(size)
    else:
        options = ["-o", f"cluster_size={r.choice([512, 4096, 65536, 1 << 20])}"] if fmt == "qcow2" else []
        sh("qemu-img", "create", "-q", "-f", fmt, *options, name, str(size))
    change(r, name, fmt, size, r.randrange(8))
    if fmt == "raw" and r.random() < 0.3:  # a size that no sector knows, within the last one
        size += r.randrange(1, 512)
        with open(name, "r+b") as f:
            f.seek(size - 1)
            f.write(bytes([r.randrange(2)]))
    return fmt


def make_layer(r, name, backing, fmt):
    options = r.choice(["cluster_size=512", "cluster_size=4096", "cluster_size=65536", "cluster_size=1M",
                        "extended_l2=on,cluster_size=64k", "cluster_size=65536,lazy_refcounts=on",
                        "cluster_size=64k,compat=0.10"])
    size = some_size(r)
    sh("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "-b", backing, "-F", fmt, name, str(size))
    change(r, name, "qcow2", size, r.randrange(7))


def chain(r, where):
    """The sources of one chain, lowest first, each with its content."""
    os.mkdir(where)
    below = f"{where}/0"
    fmt = make_base(r, below)
    found = [(below, ["-f", fmt])]
    if fmt != "raw":
        os.rename(below, f"{below}.{fmt}")
        below = f"{below}.{fmt}"
        found[0] = (below, ["-f", fmt])
    for k in range(1, r.randrange(2, 6)):
        name = f"{where}/{k}.qcow2"
        make_layer(r, name, os.path.basename(below), fmt)
        below, fmt = name, "qcow2"
        found.append((name, ["-f", "qcow2"]))
        if r.random() < 0.3:
            sh("qemu-img", "snapshot", "-c", "before", name)
            size = json.loads(sh("qemu-img", "info", "--output=json", name))["virtual-size"]
            change(r, name, "qcow2", size, r.randrange(1, 4))
            found.append((f"{name}@before", ["-l", "snapshot.name=before", "-f", "qcow2"]))
    out = []
    for source, options in found:
        content = raw_copy(source.split("@")[0], "copy.tmp", *options)
        if options == ["-f", "raw"]:
            with open(source, "rb") as f:
                content = f.read()
        out.append((source, content))
    return out


def forget(sources):
    """Takes the files out of the page cache, so that they are read from their device."""
    for path in {s.split("@")[0] for s, _ in sources}:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def verify(document, sources):
    equal([i["path"] for i in document["images"]], [s for s, _ in sources], "images in argument order")
    equal(document["errors"], [], "errors")
    for i, (x, a) in enumerate(sources):
        image = document["images"][i]
        equal(image["virtual_size"], len(a), f"size of {x}")
        equal(image["data_bytes"], count(a, a)[1], f"data_bytes of {x}")
        for k, (y, b) in enumerate(sources):
            different, shared = count(a, b)
            equal(document["different_bytes"][i][k], different, f"different_bytes of {x} and {y}")
            equal(document["shared_bytes"][i][k], shared, f"shared_bytes of {x} and {y}")


def main():
    with Bench() as b:
        r = b.random
        sources = []
        for k in range(int(os.environ.get("ROUNDS", "3"))):
            sources += chain(r, f"c{k}")
        for path in {s.split("@")[0] for s, _ in sources}:
            os.utime(path, (1, 1))
        if r.random() < 0.5:
            r.shuffle(sources)
        if r.random() < 0.5:
            forget(sources)
        verify(b.json("tree", "--cache=none", *[s for s, _ in sources]), sources)
        verify(b.json("tree", *[s for s, _ in sources]), sources)
        verify(b.json("tree", *[s for s, _ in sources[::-1]]), sources[::-1])
        x, y = r.choice(sources), r.choice(sources)
        wanted = sum(p != q for p, q in zip(x[1].ljust(len(y[1]), b"\0"), y[1].ljust(len(x[1]), b"\0")))
        found = b.json("compare", "--exact", x[0], y[0], status=None)
        equal(found["different_bytes"], wanted, f"bytes that differ between {x[0]} and {y[0]}")
        equal(found["first_difference"], next((n for n, (p, q) in enumerate(zip(
            x[1].ljust(len(y[1]), b"\0"), y[1].ljust(len(x[1]), b"\0"))) if p != q), None), "first difference")


main()
