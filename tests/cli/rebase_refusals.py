#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What `stemma rebase` leaves alone or refuses, with a word that says why: existing overlays (but for --all),
internal snapshots, other formats, block devices, hard links, images in use."""
import time
from rebase_family import *

need("qemu-img", "qemu-io", "qemu-nbd")


class Family:
    def __init__(self, b):
        self.random = b.random
        self.base = b.random.randbytes(2 * MIB)

    def clone(self, name, fmt="raw", options=(), of=None):
        content = bytearray(of or self.base)
        at = self.random.randrange(len(content) - 100)
        content[at:at + 100] = self.random.randbytes(100)
        write_sparse("flat.tmp", content)
        if fmt == "raw":
            os.rename("flat.tmp", name)
        else:
            sh("qemu-img", "convert", "-f", "raw", "-O", fmt, *options, "flat.tmp", name)
            os.unlink("flat.tmp")
        return content


def of(document, name):
    return next(i for i in document["images"] if os.path.normpath(i["path"]) == name)


def touched(document):
    return {os.path.relpath(os.path.realpath(s[k])) for s in document["steps"] for k in ("path", "to")}


def scene(name):
    os.makedirs(name)
    os.chdir(name)


def left_alone(b, f):
    """Each with a word why; the others are rebased."""
    scene("alone")
    for name in ["a.raw", "b.raw"]:
        f.clone(name)
    f.clone("snap.qcow2", "qcow2")
    sh("qemu-img", "snapshot", "-c", "s1", "snap.qcow2")
    f.clone("foreign.vmdk", "vmdk")
    f.clone("linked.raw")
    os.link("linked.raw", "other-name")
    words = {"snap.qcow2": "snapshot", "foreign.vmdk": "raw and qcow2", "linked.raw": "hard link"}
    names = ["a.raw", "b.raw", *words]
    device = None
    if os.geteuid() == 0:
        f.clone("device.img")
        p = subprocess.run(["losetup", "-f", "--show", "-r", "device.img"], capture_output=True)
        device = p.stdout.decode().strip() if p.returncode == 0 else None
        os.rename("device.img", "../device.img")
    if device:
        names.append(device)
        words[device] = "block device"
    else:
        print("no loop devices here: no test of block devices")
    try:
        states = {n: state_of(n) for n in listing()}
        document = b.json("rebase", *names)
        equal(document["errors"], [], "errors")
        for name, word in words.items():
            image = of(document, name)
            check(word in (image["left_alone"] or ""), f"{name}: {image}")
            equal((image["rebased"], name in touched(document)), (False, False), f"{name} is left alone")
        equal(sorted(of(document, n)["left_alone"] is None for n in ["a.raw", "b.raw"]), [True, True], "the others")
        text = b.run("rebase", "--replace", *names)
        for name, word in words.items():
            check(any(name in l and word in l for l in text.splitlines()), f"{name}: {word}:\n{text}")
        for name in states:
            if name not in ("a.raw", "b.raw"):
                same_state(name, states[name], "left alone")
        equal([image_format(n) for n in ("a.raw", "b.raw")], ["qcow2"] * 2, "the others are replaced")
    finally:
        if device:
            sh("losetup", "-d", device)
    os.chdir("..")


def existing(b, f):
    """Existing relations stay without --all, and their bases are used under their own names."""
    scene("existing")
    root = f.clone("root.raw")
    sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", "root.raw", "-F", "raw", "over.qcow2")
    sh("qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 65536", "over.qcow2")
    # two overlays that share more with each other than with their base
    write_sparse("more.tmp", f.random.randbytes(MIB))
    for name in ["one.qcow2", "two.qcow2"]:
        sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", "root.raw", "-F", "raw", name)
        sh("qemu-io", "-f", "qcow2", "-c", "write -q -s more.tmp 512k 1M", "-c",
           f"write -q -P {len(name) + ord(name[0]) % 9} 0 512", name)
    os.unlink("more.tmp")
    f.clone("leaf.raw", of=root)
    names = ["root.raw", "over.qcow2", "one.qcow2", "two.qcow2", "leaf.raw"]
    contents = {n: content_of(n) for n in names}
    states = {n: state_of(n) for n in names}
    b.run("rebase", "--replace", *names)
    for name in ["root.raw", "over.qcow2", "one.qcow2", "two.qcow2"]:
        same_state(name, states[name], "existing relations")
    equal(chain("leaf.raw")[1], os.path.realpath("root.raw"), "leaf.raw stands on the base as it is")
    for name in names:
        equal(content_of(name) == contents[name], True, f"content of {name}")
    b.run("rebase", "--undo", *names)
    equal(listing(), sorted(names), "names after undo")
    for name in names:
        same_state(name, states[name], "undone")
    document = b.json("rebase", "--all", *names)
    equal(sorted(of(document, n)["backing"] for n in ("one.qcow2", "two.qcow2") if of(document, n)["rebased"]) in
          (["one.qcow2"], ["two.qcow2"]), True, f"--all puts one on the other: {document['images']}")
    b.run("rebase", "--all", "--replace", *names)
    for name in names:
        equal(content_of(name) == contents[name], True, f"content of {name} after --all")
        if image_format(name) == "qcow2":
            sh("qemu-img", "check", "-q", name)
    equal(max(len(chain(n)) for n in ("one.qcow2", "two.qcow2")) > 2, True, "one stands on the other's base")
    b.run("rebase", "--undo", *names)
    for name in names:
        same_state(name, states[name], "--all undone")
    os.chdir("..")


def symlinks(b, f):
    """A link is followed: the image is replaced where it lies, and the link stays."""
    scene("links")
    os.mkdir("store")
    f.clone("store/real.raw")
    f.clone("b.raw")
    os.symlink("store/real.raw", "link.raw")
    contents = {n: content_of(n) for n in ["link.raw", "b.raw"]}
    b.run("rebase", "--replace", "link.raw", "b.raw")
    equal(os.readlink("link.raw"), "store/real.raw", "the link")
    equal(image_format("store/real.raw"), "qcow2", "what it leads to")
    for name in contents:
        equal(content_of(name) == contents[name], True, f"content of {name}")
    b.run("rebase", "--undo", "link.raw", "b.raw")
    equal(listing(), ["b.raw", "link.raw", "store/real.raw"], "names after undo")
    # one image under two names
    document = b.json("rebase", "link.raw", "store/real.raw", "b.raw")
    check(any("same file" in (i["left_alone"] or "") for i in document["images"]), "one of two names is left alone")
    os.chdir("..")


def other_folders(b, f):
    """What stands on a base from another folder keeps it from being undone."""
    scene("folders")
    for name in ["p", "q"]:
        os.mkdir(name)
    names = ["p/a.raw", "q/b.raw"]
    for name in names:
        f.clone(name)
    contents = {n: content_of(n) for n in names}
    b.run("rebase", "--replace", *names)
    b.run("rebase", "--commit", *names)
    root = next(n for n in names if chain(n)[1] == os.path.realpath(n) + ".stemma-base")
    b.run("rebase", "--undo", *names, status=3)
    check("stands on" in b.stderr and root + ".stemma-base" in b.stderr, f"refused: {b.stderr}")
    b.run("rebase", *names)  # sees all of it without --allow-backing
    for name in names:
        equal(content_of(name) == contents[name], True, f"content of {name}")
    os.chdir("..")


def in_use(b, f):
    scene("use")
    names = ["a.raw", "b.qcow2", "c.raw"]
    for name in names:
        f.clone(name, name.split(".")[1])
    states = {n: state_of(n) for n in names}
    p = subprocess.Popen(["qemu-nbd", "-f", "qcow2", "-k", os.path.abspath("sock"), "-t", "b.qcow2"])
    try:
        for _ in range(200):
            if os.path.exists("sock"):
                break
            time.sleep(0.02)
        document = b.json("rebase", *names)
        equal([i["in_use"] for i in document["images"]], [False, True, False], "in_use")
        equal(of(document, "b.qcow2")["left_alone"], "in use", "the dry run says it")
        equal("b.qcow2" in touched(document), False, "no step for what is in use")
        # refused, with a word; the others are replaced
        b.run("rebase", "--replace", *names, status=3)
        check("b.qcow2: in use" in b.stderr, f"refused: {b.stderr}")
        same_state("b.qcow2", states["b.qcow2"], "refused")
        equal([image_format(n) for n in ("a.raw", "c.raw")], ["qcow2"] * 2, "the others are replaced")
        equal(of(b.json("rebase", *names), "b.qcow2")["rebased"], False, "still in use")
        b.run("rebase", "--undo", *names, status=None)
        for name in names:
            same_state(name, states[name], "undone")
        # said by the user: no fault
        b.run("rebase", "--replace", "--in-use", "b.qcow2", *names)
        same_state("b.qcow2", states["b.qcow2"], "left out")
    finally:
        p.terminate()
        p.wait()
    b.run("rebase", "--undo", *names)
    for name in names:
        same_state(name, states[name], "undone")
    os.chdir("..")


def wrong_usage(b, f):
    scene("usage")
    f.clone("a.raw")
    f.clone("b.raw")
    for options in [["--replace", "--undo"], ["--output", "x", "--replace"], ["--force"], ["--commit", "--undo"]]:
        b.run("rebase", *options, "a.raw", "b.raw", status=2)
    b.run("rebase", status=2)
    b.run("rebase", "--in-use", "nobody", "a.raw", "b.raw", status=2)
    check("Nothing to do" in b.run("rebase", "--undo", "a.raw"), "undo of what was not replaced")
    check("Nothing to do" in b.run("rebase", "--commit", "a.raw"), "commit of what was not replaced")
    with open("a.raw.stemma-base", "wb") as x:
        x.write(b"mine")
    b.run("rebase", "--replace", "a.raw", "b.raw", status=None)
    with open("a.raw.stemma-base", "rb") as x:
        equal(x.read(), b"mine", "a file of the user's with one of our names")
    os.chdir("..")


def main():
    with Bench() as b:
        f = Family(b)
        for test in [left_alone, existing, symlinks, other_folders, in_use, wrong_usage]:
            test(b, f)


main()
