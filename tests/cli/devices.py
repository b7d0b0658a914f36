#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Block devices are compared like any image, never kept in the cache (their times do not tell that they
changed), and the plan leaves them alone and says why. Needs root and a loop device."""
import os
from oracle import *

need("losetup", "qemu-img")
if os.geteuid() != 0:
    print("SKIP: only root makes loop devices")
    sys.exit(SKIP)


def attach(path):
    p = subprocess.run(["losetup", "--show", "-f", path], capture_output=True, text=True)
    if p.returncode != 0:
        print(f"SKIP: no loop device here: {p.stderr.strip()}")
        sys.exit(SKIP)
    return p.stdout.strip()


def entries(b):
    return b.json("cache", "list", "--cache=cache")["entries"]


def main():
    with Bench() as b:
        content = b.random.randbytes(5 * CLUSTER) + bytes(3 * CLUSTER) + b.random.randbytes(CLUSTER)
        write_sparse("disk.raw", content)
        sh("qemu-img", "convert", "-O", "qcow2", "disk.raw", "copy.qcow2")
        device = attach("disk.raw")
        try:
            for _ in range(2):
                d = b.json("tree", "--plan", "--cache=cache", device, "copy.qcow2")
                equal(d["different_bytes"][0][1], 0, "device and image")
                equal((d["images"][0]["format"], d["images"][0]["virtual_size"]), ("raw", len(content)), "device")
                equal(d["images"][0]["cached"], False, "a device is never cached")
                check(d["images"][0]["read_bytes"] >= 6 * CLUSTER, "it is read each time")
                equal(d["images"][0]["fixed"], "a block device", "the plan says why")
                equal([s["backing"] for s in d["plan"]], [None, None], "and leaves it alone")
            text = b.run("tree", "--plan", "--cache=cache", device, "copy.qcow2")
            check("block device" in text, f"in text too: {text}")
            # what is below changes, and nothing tells so
            with open(device, "r+b") as f:
                f.seek(2 * CLUSTER + 9)
                f.write(b"changed")
                f.flush()
                os.fsync(f.fileno())
            d = b.json("compare", "--exact", "--cache=cache", device, "copy.qcow2", status=1)
            changed = sum(x != y for x, y in zip(b"changed", content[2 * CLUSTER + 9:]))
            equal(d["different_bytes"], changed, "a device is seen changed")
            # an overlay on a device is not kept either
            sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", device, "-F", "raw", "over.qcow2")
            b.run("tree", "--cache=cache", "over.qcow2", status=3)
            check("--allow-backing=/dev" in b.stderr, b.stderr)
            for _ in range(2):
                d = b.json("tree", "--cache=cache", "over.qcow2", device)
                equal((d["different_bytes"][0][1], d["images"][0]["cached"]), (0, False), "an overlay on a device")
            for args in [["sign", "-o", "device.sig"], ["rebase"], ["compare", "copy.qcow2"]]:
                b.run(*args, "--cache=cache", device, status=None)
                check(b.status in (0, 1), f"{args}: {b.stderr}")
            before = os.stat(device)
            b.run("rebase", "--replace", "--cache=cache", device, "copy.qcow2", status=None)
            equal((os.stat(device).st_mode, os.path.exists(device + ".stemma-old")), (before.st_mode, False), "rebase")
            check(len(entries(b)) <= 1, f"only the image file may be kept: {entries(b)}")
        finally:
            sh("losetup", "-d", device)


main()
