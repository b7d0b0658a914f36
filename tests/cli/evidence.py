#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading changes nothing: times, locks and bytes of images stay as they were. What another process
writes is told and never replaced; block devices are compared and never kept; what changes or vanishes
while it is read is told; the cache does without room or permission."""
import fcntl, hashlib, os, struct, time
from oracle import *

need("qemu-img", "qemu-io")


def state(path):
    s = os.stat(path)
    return s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns, s.st_size, s.st_blocks, s.st_nlink, s.st_mode


def names_of(folder):
    return sorted(os.path.join(d, f) for d, _, files in os.walk(folder) for f in files)


def reading_changes_nothing(b):
    os.makedirs("case/below")
    write_sparse("case/a.raw", b.random.randbytes(300000))
    sh("qemu-img", "convert", "-O", "qcow2", "case/a.raw", "case/b.qcow2")
    sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", "b.qcow2", "-F", "qcow2", "case/over.qcow2")
    shutil.copy("case/a.raw", "case/below/c.img")
    with open("case/notes.txt", "w") as f:
        f.write("not an image\n")
    b.run("sign", "-o", "case/below/a.sig", "--cache=none", "case/a.raw")
    os.chmod("case/a.raw", 0o440)
    files = names_of("case")
    old = time.time_ns() - 3 * 86400 * 10**9  # older than a day and than mtime: relatime would set it
    for name in files:
        os.utime(name, ns=(old, os.stat(name).st_mtime_ns))
    before = {name: state(name) for name in files}
    with open("case/a.raw", "rb") as f:
        pass  # opening alone sets nothing
    for args in [["tree", "case"], ["tree", "--cache=none", "--threads=1", "case"], ["tree", "--sandbox=off", "case"],
                 ["compare", "--exact", "case/a.raw", "case/b.qcow2"], ["sign", "-o", "sigs/", "case"],
                 ["rebase", "case"], ["rebase", "--output=out", "case/a.raw", "case/below/c.img"],
                 ["tree", "case/a.raw", "case/over.qcow2"]]:
        b.run(*args)
        for name in files:
            equal(state(name), before[name], f"{args} leaves {name} alone (atime, mtime, ctime, ..)")
        equal(names_of("case"), files, f"{args} leaves nothing behind")


def locks_are_left_alone(b):
    """No lock is taken: one that excludes all others does not stop us, and nobody is stopped by us."""
    with open("case/b.qcow2", "r+b") as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        b.run("tree", "--cache=none", "case/b.qcow2")
    trace = shutil.which("strace")
    if trace:
        p = subprocess.run([trace, "-f", "-e", "trace=fcntl,flock", "-o", "trace.txt", b.stemma, "tree", "--sandbox=off",
                            "--cache=none", "case"], env=b.env, capture_output=True)
        text = open("trace.txt").read()
        check("F_SETLK" not in text and "F_OFD_SETLK" not in text and "flock(" not in text, "no lock is taken")


def hold_open(path):
    """A qemu that has the image open for writing."""
    p = subprocess.Popen(["qemu-io", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    p.stdin.write(b"write -P 1 0 512\n")
    p.stdin.flush()
    while b"wrote" not in p.stdout.readline():
        check(p.poll() is None, "qemu-io runs")
    return p


def images_in_use(b):
    os.makedirs("run")
    write_sparse("run/a.raw", b.random.randbytes(4 << 20))
    for name in ["b.qcow2", "c.qcow2"]:
        sh("qemu-img", "convert", "-O", "qcow2", "run/a.raw", f"run/{name}")
    p = hold_open("run/b.qcow2")
    try:
        d = b.json("tree", "--cache=none", "--plan", "run")
        equal([i["in_use"] for i in d["images"]], [False, True, False], "in_use")
        equal([(w["path"], w["code"]) for w in d["warnings"]], [("run/b.qcow2", "in-use")], "one warning")
        check("stemma: warning: run/b.qcow2: in use" in b.stderr, b.stderr)
        equal([s for s in d["plan"] if s["backing"] == 1], [], "nothing stands on a running image")
        before = state("run/b.qcow2")[1:]
        content = raw_copy("run/a.raw", "whole.tmp")
        d = b.json("rebase", "--replace", "run", status=3)
        equal([(x["path"], x["code"]) for x in d["errors"]], [("run/b.qcow2", "in-use")], "what is left alone")
        check("run/b.qcow2" in b.stderr and "in use" in b.stderr, b.stderr)
        equal(state("run/b.qcow2")[1:], before, "a running image is not touched")
        check(not [n for n in os.listdir("run") if n.startswith("b.qcow2.")], "nothing is made beside it")
        # what could be done was done, and nothing stands on the running image
        check("c.qcow2.stemma-old" in os.listdir("run") or "a.raw.stemma-old" in os.listdir("run"), os.listdir("run"))
        for name in ("a.raw", "c.qcow2"):
            # probed: after a rebase a .raw name may hold an overlay
            form = "raw" if name == "a.raw" and "a.raw.stemma-base" not in os.listdir("run") else "qcow2"
            equal(raw_copy(f"run/{name}", "whole.tmp", "-f", form), content, f"content of {name}")
            chain = sh("qemu-img", "info", "-f", form, "--backing-chain", f"run/{name}").decode()
            check("b.qcow2" not in chain, f"{name} stands on the running image")
        b.run("rebase", "--undo", "run/a.raw", "run/c.qcow2")
        equal(sorted(os.listdir("run")), ["a.raw", "b.qcow2", "c.qcow2"], "undone")
    finally:
        p.communicate(b"quit\n")
    equal(b.json("tree", "--cache=none", "run")["images"][1]["in_use"], False, "in_use afterwards")
    # said by the user
    before = {n: state(f"run/{n}")[1:] for n in ("a.raw", "c.qcow2")}
    d = b.json("tree", "--cache=none", "--plan", "--in-use=run/a.raw", "run/a.raw", "run/c.qcow2")
    equal([s for s in d["plan"] if s["backing"] == 0], [], "nothing stands on an image said to be in use")
    b.run("rebase", "--replace", "--in-use=run/a.raw", "run/a.raw", "run/c.qcow2", status=None)
    check("run/a.raw: in use" in b.stdout + b.stderr, f"it says what it leaves alone: {b.stdout} {b.stderr}")
    equal(state("run/a.raw")[1:], before["a.raw"], "the image in use was not changed")


def moving_files(b):
    """Files that change, shrink or vanish while they are read: told, and never kept."""
    block = b.random.randbytes(1 << 20)
    with open("moving.raw", "wb") as f:
        for i in range(300):
            f.write(struct.pack("<Q", i) + block[8:])
    write_sparse("still.raw", block)
    old = time.time_ns() - 10**10
    os.utime("moving.raw", ns=(old, old))
    os.utime("still.raw", ns=(old, old))
    time.sleep(2.2)

    def during(act, cache="cache-moving"):
        p = subprocess.Popen([b.stemma, "tree", "--json", "--threads=1", f"--cache={cache}", "still.raw", "moving.raw"],
                             env=b.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 10
        io = 0
        while io < 20 << 20 and p.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
            try:
                worker = open(f"/proc/{p.pid}/task/{p.pid}/children").read().split()[0]
                status = open(f"/proc/{worker}/statm").read().split()
                io = int(status[1]) * 4096
            except (OSError, IndexError, ValueError):
                pass
        act()
        out, err = p.communicate(timeout=60)
        return p.returncode, json.loads(out), err.decode()

    def write_inside():
        with open("moving.raw", "r+b") as f:
            f.seek(299 << 20)
            f.write(b"changed")

    status, d, err = during(write_inside)
    equal(status, 0, f"a file that changed is a warning: {err}")
    if d["warnings"]:
        equal([(w["path"], w["code"]) for w in d["warnings"]], [("moving.raw", "changed")], "it is told")
    else:
        print("the scan was over before the file changed")
    d = b.json("tree", "--cache=cache-moving", "still.raw", "moving.raw")
    equal([i["cached"] for i in d["images"]], [True, False], "only the file at rest was kept")
    status, d, err = during(lambda: os.truncate("moving.raw", 1 << 20))
    check(status in (0, 3), f"a shrinking file: status {status}: {err}")
    check(d["images"][0]["path"] == "still.raw", "the other image is in the result")
    told = d["errors"] + d["warnings"]
    check(not told or {w["path"] for w in told} == {"moving.raw"}, f"a shrinking file is told: {err}")
    check(len(err.splitlines()) <= 2, f"in few words: {err}")
    if told:
        print(err.strip())
    # vanished between finding and opening
    p = subprocess.run([b.stemma, "tree", "--json", "still.raw", "vanished.raw"], env=b.env, capture_output=True)
    equal(p.returncode, 3, "a file that is not there")


def without_cache(b):
    def works(*args, words, env=None):
        p = subprocess.run([b.stemma, "tree", "--json", *args, "case/a.raw", "case/b.qcow2", "still.raw"], env=env or b.env,
                           capture_output=True)
        err = p.stderr.decode()
        equal(p.returncode, 0, f"{args} works: {err}")
        d = json.loads(p.stdout)
        equal(len(d["images"]), 3, "all images")
        equal(len(err.splitlines()), 1, f"said once: {err}")
        check(err.startswith("stemma: warning: ") and all(w in err for w in words), err)
        equal(len(d["warnings"]), 1, "in the document too")
        print(err.strip())

    with open("a-file", "w"):
        pass
    works("--cache=a-file", words=["cache", "a-file", "Not a directory"])
    works("--cache=/proc/nowhere", words=["cache", "/proc/nowhere"])
    works(words=["cache"], env={k: v for k, v in b.env.items() if k not in ("XDG_CACHE_HOME", "HOME")})
    if os.geteuid() != 0:
        os.makedirs("closed", mode=0o500)
        works("--cache=closed", words=["cache", "Permission denied"])
        return
    os.makedirs("small")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", "small"], capture_output=True).returncode != 0:
        print("no tmpfs can be mounted here: a full cache is not tested")
        return
    try:
        with open("small/full", "wb") as f:
            f.write(bytes(4096))
        works("--cache=small", words=["cache", "No space left"])
        equal([f for f in names_of("small") if "tmp" in f], [], "nothing half-written is left")
    finally:
        sh("umount", "small")
    sh("mount", "-t", "tmpfs", "-o", "ro", "none", "small")
    try:
        works("--cache=small", words=["cache", "Read-only"])
    finally:
        sh("umount", "small")


def folders_that_cannot_be_read(b):
    """Root reads everything, so there nobody runs it."""
    os.makedirs("half/closed")
    shutil.copy("still.raw", "half/open.raw")
    os.chmod("half/open.raw", 0o644)
    shutil.copy("still.raw", "half/unreadable.raw")
    os.chmod("half/unreadable.raw", 0)
    os.chmod("half/closed", 0)
    nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    if nobody:
        os.chmod(b.dir, 0o755)
        try:
            subprocess.run([b.stemma, "--version"], capture_output=True, check=True, **nobody)
        except (OSError, subprocess.CalledProcessError):
            print("nobody may run the program here: not tested")
            return
    d = b.json("tree", "--cache=none", "half", status=3, **nobody)
    equal([i["path"] for i in d["images"]], ["half/open.raw"], "what can be read")
    equal([(x["path"], x["code"]) for x in d["errors"]],
          [("half/closed", "denied"), ("half/unreadable.raw", "denied")], "what cannot")
    equal(b.stderr, "stemma: half/closed: cannot read: Permission denied\n"
          "stemma: half/unreadable.raw: cannot open: Permission denied\n", "said")
    # another's readable image: O_NOATIME is refused there, and reading goes on
    d = b.json("tree", f"--cache={b.dir}/closed-cache", "still.raw", **nobody)
    equal(len(d["images"]), 1, "an image of somebody else")
    if nobody:
        equal(len(b.stderr.splitlines()), 1, f"a cache that cannot be made is said once: {b.stderr}")


def main():
    with Bench() as b:
        for part in [reading_changes_nothing, locks_are_left_alone, images_in_use, moving_files, without_cache,
                     folders_that_cannot_be_read]:
            start = time.monotonic()
            part(b)
            print(f"{part.__name__}: {time.monotonic() - start:.1f} s")


main()
