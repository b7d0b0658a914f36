#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged, absurd and hostile images: one message each that says what and why, the others still count,
exit 3, and `errors` of the document says it too."""
import os, struct
from oracle import *

need("qemu-img", "qemu-io")

GOOD = ["good.raw", "good.qcow2"]


def patch(b, name, at, data, source="good.qcow2"):
    shutil.copy(source, name)
    with open(name, "r+b") as f:
        f.seek(at)
        f.write(data)
    return name


def rebased(name, backing, fmt="qcow2"):
    """An image that names `backing`, whatever qemu-img would say to that."""
    made = "z" * len(backing)
    sh("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", made, "-F", "raw", name, "1M")
    with open(name, "rb") as f:
        content = f.read()
    content = content.replace(made.encode(), backing.encode(), 1)
    if fmt != "raw":  # the header extension "backing file format"
        at = content.index(b"\xe2\x79\x2a\xca\0\0\0\x03raw")
        content = content[:at + 7] + bytes([len(fmt)]) + fmt.encode().ljust(8, b"\0") + content[at + 16:]
    with open(name, "wb") as f:
        f.write(content)
    return name


def expect_failure(b, name, *words, args=()):
    """tree over the bad image and two good ones."""
    d = b.json("tree", "--cache=none", *args, "good.raw", name, "good.qcow2", status=3)
    equal([i["path"] for i in d["images"]], GOOD, f"{name}: the others are in the result")
    equal(d["different_bytes"], [[0, 0], [0, 0]], f"{name}: the others are compared")
    equal([x["path"] for x in d["errors"]], [name], f"{name}: errors")
    lines = b.stderr.splitlines()
    equal(len(lines), 1, f"{name}: one message: {b.stderr}")
    check(lines[0].startswith(f"stemma: {name}: "), f"it names the image: {lines[0]}")
    message = d["errors"][0]["message"]
    check(message in lines[0], f"{name}: document and message agree: {message!r}, {lines[0]!r}")
    for word in words:
        check(word.lower() in lines[0].lower(), f"{name}: {word!r} is missing in: {lines[0]}")
    print(lines[0])
    return d["errors"][0]["code"]


def be32(n):
    return struct.pack(">I", n)


def be64(n):
    return struct.pack(">Q", n)


def headers(b):
    with open("good.qcow2", "rb") as f:
        head = f.read(104)
    l1_at = struct.unpack_from(">Q", head, 40)[0]
    with open("good.qcow2", "rb") as f:
        f.seek(l1_at)
        l2_at = struct.unpack(">Q", f.read(8))[0] & 0x00fffffffffffe00
    end = 1 << 50
    for name, at, data in [
        ("bits-0.qcow2", 20, be32(0)), ("bits-8.qcow2", 20, be32(8)), ("bits-63.qcow2", 20, be32(63)),
        ("version-9.qcow2", 4, be32(9)), ("version-1.qcow2", 4, be32(1)),
        ("size-absurd.qcow2", 24, be64((1 << 63) + 512)), ("l1-outside.qcow2", 40, be64(end)),
        ("l1-unaligned.qcow2", 40, be64(l1_at + 8)), ("l1-short.qcow2", 36, be32(0)),
        ("encrypted.qcow2", 32, be32(1)),
        ("feature.qcow2", 72, be64(1 << 40)), ("header-length.qcow2", 100, be32(0xfffffff0)),
        ("backing-name-far.qcow2", 8, be64(end) + be32(20)), ("snapshots.qcow2", 60, be32(0x7fffffff)),
        ("l2-outside.qcow2", l1_at, be64(end | 1 << 63)),
        ("l2-unaligned.qcow2", l1_at, be64(l2_at + 512 | 1 << 63)),
        ("compressed-outside.qcow2", l2_at, be64(1 << 62 | 1 << 50)),
    ]:
        patch(b, name, at, data)
        expect_failure(b, name)
    # what a reader does not need does no harm: refcounts, L1 entries beyond the disk's end
    patch(b, "refcounts.qcow2", 48, be64(end) + be32(0xffffffff))
    patch(b, "l1-long.qcow2", 36, be32(0xffffffff))
    d = b.json("tree", "--cache=none", "good.raw", "refcounts.qcow2", "l1-long.qcow2")
    equal(d["different_bytes"], [[0] * 3] * 3, "nonsense that nobody needs")
    with open("good.qcow2", "rb") as f:
        content = f.read()
    for length in [0, 3, 71, 104, l1_at + 4, l2_at + 9]:
        with open("truncated.qcow2", "wb") as f:
            f.write(content[:length])
        if length >= 8:
            expect_failure(b, "truncated.qcow2")
    # tables that map themselves, each other and one cluster many times: read as QEMU does, not looped over
    with open("good.raw", "rb") as f:
        good = f.read()
    for name, at, data in [("self.qcow2", l2_at, be64(l2_at | 1 << 63)), ("l1-is-l2.qcow2", l1_at, be64(l1_at | 1 << 63)),
                           ("one.qcow2", l2_at, be64(l2_at | 1 << 63) * 20)]:
        patch(b, name, at, data)
        d = b.json("tree", "--cache=none", name, "good.raw")
        equal(d["different_bytes"][0][1], count(raw_copy(name, "copy.raw"), good)[0], name)
    d = b.json("tree", "--cache=none", "--image-format=qcow2", "good.qcow2", "good.raw", status=3)
    equal([x["path"] for x in d["errors"]], ["good.raw"], "a raw file read as qcow2")


def chains(b):
    os.makedirs("other/deep", exist_ok=True)
    shutil.copy("good.raw", "other/base.raw")
    rebased("circle-a.qcow2", "circle-b.qcow2")
    rebased("circle-b.qcow2", "circle-a.qcow2")
    expect_failure(b, "circle-a.qcow2", "circle-b.qcow2", "itself")
    rebased("circle-self.qcow2", "circle-self.qcow2")
    expect_failure(b, "circle-self.qcow2", "itself")
    os.symlink("circle-link.qcow2", "link.qcow2")
    rebased("circle-link.qcow2", "link.qcow2")
    expect_failure(b, "circle-link.qcow2", "itself")

    rebased("outside.qcow2", "other/base.raw", "raw")
    equal(expect_failure(b, "outside.qcow2", "other/base.raw", "--allow-backing="), "denied", "code")
    b.run("tree", "--cache=none", "--allow-backing=other", "outside.qcow2")
    b.run("tree", "--cache=none", "outside.qcow2", "other/base.raw")
    b.run("tree", "--cache=none", "outside.qcow2", "other")
    rebased("shadow.qcow2", "/etc/shadow", "raw")
    equal(expect_failure(b, "shadow.qcow2", "/etc/shadow"), "denied", "code")
    rebased("dots.qcow2", "other/../../../../../../../../etc/passwd", "raw")
    equal(expect_failure(b, "dots.qcow2", "/etc/passwd"), "denied", "code")
    os.symlink("/etc/passwd", "innocent.raw")
    rebased("through-link.qcow2", "innocent.raw", "raw")
    equal(expect_failure(b, "through-link.qcow2", "/etc/passwd"), "denied", "code")
    rebased("missing.qcow2", "gone.raw", "raw")
    equal(expect_failure(b, "missing.qcow2", "gone.raw", "No such file"), "not-found", "code")
    os.mkfifo("fifo")
    rebased("on-fifo.qcow2", "fifo", "raw")
    expect_failure(b, "on-fifo.qcow2", "fifo", "regular file")
    rebased("on-folder.qcow2", "other", "raw")
    expect_failure(b, "on-folder.qcow2", "folder")
    for i, name in enumerate(['json:{"driver":"file","filename":"/etc/shadow"}', "nbd://localhost:10809/x",
                              "nbd:unix:/run/x", "https://example.org/x", "fat:rw:/etc", "ssh://host/x"]):
        rebased(f"protocol-{i}.qcow2", name, "raw")
        expect_failure(b, f"protocol-{i}.qcow2", "only plain file names")
    rebased("file-shadow.qcow2", "file:/etc/shadow", "raw")
    equal(expect_failure(b, "file-shadow.qcow2", "/etc/shadow"), "denied", "code")
    rebased("file-good.qcow2", "file:good.raw", "raw")
    b.run("tree", "--cache=none", "file-good.qcow2")
    rebased("bad-format.qcow2", "good.raw", "nonsense")
    expect_failure(b, "bad-format.qcow2", "nonsense")
    rebased("terminal.qcow2", "\x1b]0;owned\x07.raw", "raw")
    expect_failure(b, "terminal.qcow2", "No such file")
    check("\x1b" not in b.stderr and "\x07" not in b.stderr, "a hostile name is not sent to the terminal")
    rebased("deep-0.qcow2", "good.raw", "raw")
    with open("deep-0.qcow2", "rb") as f:
        content = f.read()
    rebased("deep-1.qcow2", "deep-0000.qcow2")
    with open("deep-1.qcow2", "rb") as f:
        content = f.read()
    shutil.move("deep-0.qcow2", "deep-0000.qcow2")
    for i in range(1, 1100):
        with open(f"deep-{i:04}.qcow2", "wb") as f:
            f.write(content.replace(b"deep-0000", f"deep-{i - 1:04}".encode()))
    b.run("tree", "--cache=none", "deep-0100.qcow2", "good.raw")
    expect_failure(b, "deep-1099.qcow2", "backing files")
    # a guest wrote the header of an image into its raw disk
    rebased("guest.img", "/etc/shadow", "raw")
    expect_failure(b, "guest.img", "--image-format")


def arguments(b):
    os.mkfifo("pipe.raw")
    expect_failure(b, "pipe.raw", "neither a regular file nor a block device")
    expect_failure(b, "/dev/null", "neither a regular file nor a block device")
    expect_failure(b, "nothing.raw", "No such file")
    expect_failure(b, "good.qcow2@none", "none")
    os.symlink("nowhere", "dangling.raw")
    expect_failure(b, "dangling.raw", "No such file")
    with open("damaged.sig", "wb") as f:
        f.write(b"STEMSIG\x1a" + bytes(300))
    expect_failure(b, "damaged.sig", "signature")
    for command in ["compare", "sign", "rebase"]:
        b.run(command, "good.raw", "bits-63.qcow2", "--json", status=3)
        json.loads(b.stdout)
        check("stemma: bits-63.qcow2: " in b.stderr, f"{command}: {b.stderr}")
        equal(len(b.stderr.splitlines()), 1, f"{command}: one message: {b.stderr}")


def main():
    with Bench() as b:
        write_sparse("good.raw", b.random.randbytes(300000) + bytes(1 << 20) + b.random.randbytes(100 * 512))
        sh("qemu-img", "convert", "-O", "qcow2", "good.raw", "good.qcow2")
        size = os.path.getsize("good.raw") + 511 & ~511
        os.truncate("good.raw", size)
        headers(b)
        chains(b)
        arguments(b)


main()
