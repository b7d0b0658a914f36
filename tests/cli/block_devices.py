#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Block devices are compared like files and never cached, nor is what stands on one: their times say
nothing about what was written. Needs root and a loop device."""
import contextlib, time
from oracle import *

need("losetup", "qemu-img")


@contextlib.contextmanager
def loop_device(path):
    p = subprocess.run(["losetup", "--find", "--show", path], capture_output=True, text=True)
    if p.returncode != 0:
        print(f"SKIP: no loop device: {p.stderr.strip()}")
        sys.exit(SKIP)
    try:
        yield p.stdout.strip()
    finally:
        sh("losetup", "--detach", p.stdout.strip())


def compare_all(b, names, contents, what):
    document = b.json("tree", *names)
    equal([i["path"] for i in document["images"]], names, f"{what}: images")
    for i, x in enumerate(names):
        equal(document["images"][i]["virtual_size"], len(contents[x]), f"{what}: size of {x}")
        for j, y in enumerate(names):
            equal([document["different_bytes"][i][j], document["shared_bytes"][i][j]],
                  list(count(contents[x], contents[y])), f"{what}: {x} and {y}")
    return {i["path"]: i["cached"] for i in document["images"]}


def main():
    with Bench() as b:
        content = bytearray(b.random.randbytes(500 * 512) + bytes(1 << 20) + b.random.randbytes(999 * 512))
        for name in ("disk.img", "copy.raw"):
            write_sparse(name, content)
        with loop_device("disk.img") as device:
            sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", device, "-F", "raw", "over.qcow2")
            b.run("tree", "over.qcow2", status=3)
            check("--allow-backing=/dev allows it" in b.stderr, f"no image may name any device: {b.stderr}")
            b.run("tree", "--allow-backing=/dev", "over.qcow2")
            contents = {device: content, "copy.raw": bytes(content), "over.qcow2": content}
            names = list(contents)
            time.sleep(2.1)  # files that were just written are not cached either
            equal(compare_all(b, names, contents, "first"), dict.fromkeys(names, False), "first: cached")
            kept = {device: False, "copy.raw": True, "over.qcow2": False}
            equal(compare_all(b, names, contents, "again"), kept, "again: cached")
            content[700000:700100] = content[-100:] = bytes([7]) * 100
            with open(device, "r+b", buffering=0) as f:
                for at in (700000, len(content) - 100):
                    f.seek(at)
                    f.write(bytes([7]) * 100)
                os.fsync(f.fileno())
            equal(compare_all(b, names, contents, "written to"), kept, "written to: cached")


main()
