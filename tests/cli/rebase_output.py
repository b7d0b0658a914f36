#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`stemma rebase --output DIR`: overlays with the originals' content by qemu-img, as large as the plan says, on
roots that stay untouched; names that exist are refused; no space and kill leave nothing half-written."""
import signal, time
from rebase_family import *

need("qemu-img", "qemu-io")
ROOM = 512 * 1024


def make_family(r):
    base = bytearray(r.randbytes(3 * MIB) + bytes(2 * MIB) + r.randbytes(MIB) + bytes(2 * MIB))
    contents = {"db01.raw": base}

    def clone(name, changes, size=None, of="db01.raw"):
        content = bytearray(contents[of])
        for _ in range(changes):
            at = r.randrange(len(content) - 9000)
            content[at:at + 3000] = r.randbytes(3000)
        contents[name] = content[:size] + bytes(max(0, (size or 0) - len(content)))
    clone("db02.raw", 4)
    clone("db03.qcow2", 6, of="db02.raw")
    clone("short.raw", 2, size=5 * MIB + 512)
    clone("long.qcow2", 3, size=11 * MIB + 65536)
    clone("odd.raw", 3, size=7 * MIB + 1000)
    clone("used.raw", 5)
    clone("ov/db01.qcow2", 2)  # the same name as another but for folder and extension
    contents["stranger.raw"] = bytearray(r.randbytes(2 * MIB))
    os.mkdir("ov")
    for name, content in contents.items():
        if name.endswith(".raw"):
            write_sparse(name, content)
        else:
            write_sparse("flat.tmp", content)
            sh("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "flat.tmp", name)
            os.unlink("flat.tmp")
    return list(contents)


def originals(names):
    return {n: (state_of(n), os.stat(n).st_ctime_ns) for n in names}


def check_overlays(document, plan, states, folder):
    done = 0
    for image in document["images"]:
        name = os.path.normpath(image["path"])
        equal((state_of(name), os.stat(name).st_ctime_ns), states[name], f"the original {name}")
        if not image["rebased"]:
            check("overlay" not in image, f"{name} stays whole")
            continue
        path = image["overlay"]
        size = os.path.getsize(path)
        for predicted in [image["overlay_bytes"], plan[name]]:
            check(abs(size - predicted) <= predicted * 0.02 + ROOM, f"{path}: {size} bytes, {predicted} planned")
        equal(image["written_bytes"], size, f"written_bytes of {path}")
        sh("qemu-img", "compare", "-f", "raw" if name.endswith(".raw") else "qcow2", "-F", "qcow2", name, path)
        sh("qemu-img", "check", "-q", path)
        equal(info(path)["virtual-size"], -(-len(content_of(name)) // 512) * 512, f"size of {path}")
        stands = chain(path)
        check(stands[-1] in {os.path.realpath(n) for n in states}, f"{path} stands on an original in the end")
        for below in stands[1:-1]:
            equal(os.path.dirname(below), os.path.realpath(folder), f"{below} below {path}")
        done += 1
    return done


def check_refused(b, names, folder):
    before = {n: os.stat(os.path.join(folder, n)).st_ino for n in listing(folder)}
    b.run("rebase", "--output", folder, *names, status=3)
    check("exists already" in b.stderr, f"names that exist are refused: {b.stderr}")
    equal({n: os.stat(os.path.join(folder, n)).st_ino for n in listing(folder)}, before, "nothing is overwritten")


def check_no_space(b, names):
    os.mkdir("small")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200k", "none", "small"], capture_output=True).returncode:
        print("no tmpfs can be mounted here: no test of a full disk")
        return
    try:
        b.run("rebase", "--output", "small", *names, status=3)
        check("No space left" in b.stderr, f"a full disk is told: {b.stderr}")
        for n in listing("small"):
            check(n.endswith(".qcow2"), f"{n} was left on the full disk")
            sh("qemu-img", "check", "-q", os.path.join("small", n))
        check(len(listing("small")) < 7, "not all fits")
    finally:
        sh("umount", "small")


def check_killed(b, names, took):
    for round_ in range(8):
        out = f"killed{round_}"
        p = subprocess.Popen([b.stemma, "rebase", "--output", out, *names], env=b.env, start_new_session=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(b.random.random() * took)
        os.killpg(p.pid, signal.SIGINT if round_ % 4 == 3 else signal.SIGKILL)
        p.wait()
        for n in listing(out) if os.path.isdir(out) else []:
            if n.endswith(".qcow2"):  # a final name: whole
                path = os.path.join(out, n)
                sh("qemu-img", "check", "-q", path)
                original = [x for x in names if os.path.basename(x).split(".")[0] == n.split(".")[0]]
                check(any(content_of(x) == content_of(path) for x in original), f"{path} after a kill")
            elif round_ % 4 == 3:
                raise AssertionError(f"{n} was left by an interrupted run")


def main():
    with Bench() as b:
        os.mkdir("images")
        os.chdir("images")
        names = make_family(b.random)
        states = originals(names)
        used = ["--in-use", "used.raw"]
        tree = b.json("tree", "--plan", *used, *names)
        plan = {tree["images"][s["image"]]["path"]: s["overlay_bytes"] for s in tree["plan"]}
        start = time.monotonic()
        document = b.json("rebase", "--output", "../out", *used, *names)
        took = time.monotonic() - start
        equal(document["errors"], [], "errors")
        equal(document["dry_run"], False, "dry_run")
        equal(check_overlays(document, plan, states, "../out"), 7, "images that became overlays")
        by_name = {i["path"]: i for i in document["images"]}
        for image in document["images"]:
            check(image["backing"] != "used.raw", f"{image['path']} stands on an image in use")
        equal(by_name["stranger.raw"]["backing"], None, "the stranger stands on nothing")
        outs = listing("../out")
        check(all(not n.startswith((".", "_")) and n.endswith(".qcow2") for n in outs), f"names: {outs}")
        check_refused(b, names, "../out")

        # folders walked: the names have no dots of "."
        b.run("rebase", "--output", "../walked", *used, ".")
        check(all(not n.startswith((".", "_")) for n in listing("../walked")), f"names: {listing('../walked')}")
        b.run("sign", "-o", "../signed", ".")
        check(all(not n.startswith((".", "_")) for n in listing("../signed")), f"names: {listing('../signed')}")
        equal(len(listing("../signed")), len(names), "a signature for each")
        check_no_space(b, names)
        shutil.rmtree("small", ignore_errors=True)
        check_killed(b, names, took)
        for n in names:
            equal((state_of(n), os.stat(n).st_ctime_ns), states[n], f"the original {n} at the end")


main()
