# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared by the tests of `stemma rebase`: guests with real ext4 file systems, what a file is on the host, and
what qemu-img and e2fsck say of it."""
import os, stat
from oracle import *

MIB = 1 << 20
PART = MIB  # where the partition of a disk begins


def tool(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def need_filesystem_tools():
    for name in ["qemu-img", "qemu-io", "mke2fs", "debugfs", "e2fsck", "sfdisk"]:
        if tool(name) is None:
            print(f"SKIP: {name} is not installed")
            sys.exit(SKIP)


def make_guest(path, tree, size):
    """A raw disk: GPT with one ext4 that holds the folder `tree`."""
    part = path + ".part"
    sh(tool("mke2fs"), "-q", "-F", "-t", "ext4", "-E", "hash_seed=4a9a5a70-0000-4000-8000-000000000001", "-U",
       "4a9a5a70-0000-4000-8000-000000000002", "-d", tree, part, str((size - 2 * MIB) // 1024) + "k")
    with open(path, "wb") as f:
        f.truncate(size)
    sh(tool("sfdisk"), "-q", path, input=f"label: gpt\nstart={PART // 512}, size={(size - 2 * MIB) // 512}\n".encode())
    sh("dd", f"if={part}", f"of={path}", f"seek={PART // MIB}", "bs=1M", "conv=notrunc,sparse", "status=none")
    os.unlink(part)


def part_command(raw, work):
    """Runs work(PART FILE) on the partition of the raw disk and puts it back."""
    part = raw + ".part"
    with open(raw, "rb") as f:
        content = f.read()
    with open(part, "wb") as f:
        f.write(content[PART:len(content) - MIB])
    work(part)
    with open(part, "rb") as f:
        changed = f.read()
    os.unlink(part)
    with open(raw, "r+b") as f:
        f.seek(PART)
        f.write(changed)


def edit_raw(raw, files):
    """Writes files into the guest's root folder (debugfs needs no mount)."""
    def work(part):
        for name, content in files.items():
            with open("guest.tmp", "wb") as f:
                f.write(content)
            sh(tool("debugfs"), "-w", "-R", f"write guest.tmp {name}", part)
            os.unlink("guest.tmp")
    part_command(raw, work)


def guest_file(raw, name):
    out = []

    def work(part):
        out.append(sh(tool("debugfs"), "-R", f"cat {name}", part))
    part_command(raw, work)
    return out[0]


def fsck(image):
    """e2fsck of the guest in the image, by way of qemu-img."""
    raw_copy(image, "fsck.tmp")
    part_command("fsck.tmp", lambda part: sh(tool("e2fsck"), "-f", "-n", part))
    os.unlink("fsck.tmp")


def edit_image(image, files):
    """The guest writes files: what changes on its disk is written by qemu-io."""
    before = raw_copy(image, "edit.tmp")
    edit_raw("edit.tmp", files)
    with open("edit.tmp", "rb") as f:
        after = f.read()
    at, commands = 0, []
    for at in range(0, len(after), 4096):
        if before[at:at + 4096] != after[at:at + 4096]:
            name = f"edit.{at}"
            with open(name, "wb") as f:
                f.write(after[at:at + 4096])
            commands += ["-c", f"write -q -s {name} {at} {len(after[at:at + 4096])}"]
    sh("qemu-io", "-f", image_format(image), *commands, image)
    for name in [n for n in os.listdir(".") if n.startswith("edit.")]:
        os.unlink(name)
    equal(raw_copy(image, "edit.tmp"), after, f"{image} after its guest wrote")
    os.unlink("edit.tmp")
    return after


def info(image):
    return json.loads(sh("qemu-img", "info", "--output=json", image))


def image_format(image):
    return info(image)["format"]


def chain(image):
    """Absolute paths of the image and what it stands on."""
    out = json.loads(sh("qemu-img", "info", "--backing-chain", "--output=json", image))
    return [os.path.realpath(i["filename"]) for i in out]


def content_of(image):
    data = raw_copy(image, "content.tmp")
    os.unlink("content.tmp")
    return data


def state_of(path):
    """All that undo has to bring back; the change time alone cannot be kept."""
    st = os.stat(path)
    with open(path, "rb") as f:
        data = f.read()
    attributes = {a: os.getxattr(path, a) for a in os.listxattr(path)}
    return dict(content=data, mode=st.st_mode, uid=st.st_uid, gid=st.st_gid, mtime=st.st_mtime_ns, links=st.st_nlink,
                inode=st.st_ino, attributes=attributes)


def listing(folder="."):
    return sorted(os.path.relpath(os.path.join(top, n), folder) for top, folders, names in os.walk(folder)
                  for n in names if "/." not in top)


def same_state(path, wanted, what):
    got = state_of(path)
    for key in wanted:
        if got[key] != wanted[key]:
            show = "" if key == "content" else f": {got[key]!r}, {wanted[key]!r} expected"
            raise AssertionError(f"{what}: {path}: {key} differs{show}")
