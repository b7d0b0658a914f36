#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`stemma rebase --replace` on guests with real file systems: contents as before by qemu-img, guests sound by
e2fsck also after siblings and the frozen base's overlay were written to; undo, commit, again."""
from rebase_family import *

need_filesystem_tools()

SIZE = 12 * MIB
NAMES = ["a.raw", "b.raw", "c.qcow2", "d.img", "sub/e.raw"]
ALL = NAMES + ["stranger.raw"]


def make_family(b):
    r = b.random
    os.makedirs("tree/etc", exist_ok=True)
    os.makedirs("sub", exist_ok=True)
    for i in range(12):
        with open(f"tree/file{i}", "wb") as f:
            f.write(r.randbytes(r.randrange(200000)))
    make_guest("a.raw", "tree", SIZE)
    for name in ["b.raw", "d.img", "sub/e.raw", "c.raw"]:
        shutil.copy("a.raw", name)
        edit_raw(name, {"own": name.encode(), "data": r.randbytes(200000)})
    sh("qemu-img", "convert", "-O", "qcow2", "c.raw", "c.qcow2")
    os.unlink("c.raw")
    shutil.rmtree("tree")
    write_sparse("stranger.raw", r.randbytes(3 * MIB))


def adorn(b):
    """Modes, owners, attributes and times that are unlike the defaults."""
    for i, name in enumerate(NAMES):
        if os.geteuid() == 0:
            os.chown(name, 1200 + i, 1300 + i)
        os.chmod(name, [0o640, 0o600, 0o664, 0o444, 0o644][i])
        try:
            os.setxattr(name, "user.note", f"note {i}".encode())
        except OSError:
            print("no extended attributes here")
        if shutil.which("setfacl"):
            subprocess.run(["setfacl", "-m", f"u:{1400 + i}:r", name], capture_output=True)
        os.utime(name, ns=(1_500_000_000_123_456_789, 1_400_000_000_000_000_001 + i * 1_000_000_007))


def check_replaced(contents, states, what):
    for name in ALL:
        equal(content_of(name) == contents[name], True, f"{what}: content of {name} unchanged")
    same_state("stranger.raw", states["stranger.raw"], what)
    for name in NAMES:
        equal(image_format(name), "qcow2", f"{what}: {name}")
        sh("qemu-img", "check", "-q", name)
        fsck(name)
        st = os.stat(name)
        for key, got in dict(mode=st.st_mode, uid=st.st_uid, gid=st.st_gid, mtime=st.st_mtime_ns).items():
            equal(got, states[name][key], f"{what}: {key} of {name}")
        attributes = {a: os.getxattr(name, a) for a in os.listxattr(name)}
        attributes.pop("user.stemma.format", None)
        equal(attributes, states[name]["attributes"], f"{what}: attributes of {name}")
    roots = {chain(n)[-1] for n in NAMES}
    equal(len(roots), 1, f"{what}: one root below all")
    base = roots.pop()
    check(base.endswith(".stemma-base") and os.stat(base).st_mode & 0o222 == 0, f"{what}: {base} is frozen")
    return os.path.relpath(base)


def check_undone(states, what):
    equal(listing(), sorted(states), f"{what}: the names")
    for name in states:
        same_state(name, states[name], what)


def check_refused_undo(b, written, contents):
    before = {n: os.stat(n).st_ino for n in listing()}
    b.run("rebase", "--undo", *NAMES, status=3)
    check("was written to" in b.stderr and "--force" in b.stderr, f"undo says what would be lost: {b.stderr}")
    check(any(n in b.stderr for n in written), f"undo names what was written to: {b.stderr}")
    equal({n: os.stat(n).st_ino for n in listing()}, before, "a refused undo does nothing")
    for name in ALL:
        equal(content_of(name) == contents[name], True, f"{name} after a refused undo")


def main():
    with Bench() as b:
        os.mkdir("images")  # the cache is not among them
        os.chdir("images")
        make_family(b)
        adorn(b)
        contents = {n: content_of(n) for n in ALL}
        states = {n: state_of(n) for n in ALL}

        document = b.json("rebase", ".")
        equal(document["dry_run"], True, "dry_run")
        check_undone(states, "a dry run touches nothing")
        document = b.json("rebase", "--replace", ".")
        equal(document["dry_run"], False, "dry_run")
        equal(document["errors"], [], "errors")
        base = check_replaced(contents, states, "replaced")
        root = base[:-len(".stemma-base")]
        for name in NAMES:
            kept = base if name == root else name + ".stemma-old"
            with open(kept, "rb") as f:
                equal(f.read() == states[name]["content"], True, f"{kept} is the original of {name}")

        inodes = {n: os.stat(n).st_ino for n in listing()}
        check("Nothing to do" in b.run("rebase", "--replace", "."), "a second run has nothing to do")
        equal({n: os.stat(n).st_ino for n in listing()}, inodes, "a second run does nothing")
        tree = b.json("tree", "--plan", ".")
        paths = [os.path.normpath(i["path"]) for i in tree["images"]]
        equal(sorted(set(NAMES) - set(paths)), [], "the tree reads all that was replaced")
        for step in tree["plan"]:
            name = paths[step["image"]]
            stands = chain(name)
            backing = None if step["backing"] is None else os.path.realpath(paths[step["backing"]])
            equal(backing, stands[1] if len(stands) > 1 else None, f"what {name} stands on in the plan")

        b.run("rebase", "--undo", ".")
        check_undone(states, "undo")

        # guests write: to a leaf, and to what took the root's name
        b.run("rebase", "--replace", *NAMES)
        base = check_replaced(contents, states, "replaced again")
        root = base[:-len(".stemma-base")]
        sibling = next(n for n in NAMES if n != root)
        for name in [sibling, root]:
            os.chmod(name, 0o644)
            contents[name] = edit_image(name, {"written": name.encode() * 50000})
        for name in ALL:
            equal(content_of(name) == contents[name], True, f"{name} after others were written to")
        for name in NAMES:
            fsck(name)
        raw_copy(sibling, "look.tmp")
        equal(guest_file("look.tmp", "written"), sibling.encode() * 50000, "what the guest wrote")
        os.unlink("look.tmp")
        check_refused_undo(b, [sibling, root], contents)

        # one more clone stands on what is there; the others stay
        shutil.copy(next(n + ".stemma-old" for n in NAMES if n != root and n.endswith(".raw")), "new.raw")
        os.chmod("new.raw", 0o644)
        edit_raw("new.raw", {"new": b.random.randbytes(50000)})
        contents["new.raw"] = content_of("new.raw")
        inodes = {n: os.stat(n).st_ino for n in listing()}
        b.run("rebase", "--replace", ".")
        equal({n: os.stat(n).st_ino for n in inodes if n != "new.raw"},
              {n: i for n, i in inodes.items() if n != "new.raw"}, "what was replaced before stays as it is")
        check(os.path.realpath(base) in chain("new.raw"), f"new.raw stands on {base}")
        for name in contents:
            equal(content_of(name) == contents[name], True, f"{name} after one was added")
        fsck("new.raw")
        b.run("rebase", "--undo", "new.raw")
        os.unlink("new.raw")

        b.run("rebase", "--undo", "--force", *NAMES)
        for name in [sibling, root]:
            os.chmod(name, states[name]["mode"] & 0o7777)  # the test changed these
        check_undone(states, "undo --force")

        # for good
        contents = {n: content_of(n) for n in ALL}
        b.run("rebase", "--replace", ".")
        b.run("rebase", "--commit", ".")
        base = check_replaced(contents, states, "committed")
        equal([n for n in listing() if n.endswith(".stemma-old")], [], "originals after commit")
        check("Nothing to do" in b.run("rebase", "--replace", "."), "nothing to do after commit")
        # a base is not taken away under those that stand on it
        b.run("rebase", "--undo", base[:-len(".stemma-base")], status=3)
        check("stands on" in b.stderr, f"undo says who stands on the base: {b.stderr}")
        check_replaced(contents, states, "after an undo that was refused")


main()
