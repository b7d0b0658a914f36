#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Odd surroundings: closed standard streams, nowhere to keep a cache, few descriptors, signals, names that
would steer a terminal or end an element of a page, images that lead to other places by links."""
import os, resource, signal, socket, time
from oracle import *


def closed_streams(b):
    """No message is written into a file that got the number of a closed stream."""
    b.run("sign", "a.raw", "-o", "right.sig", "--cache=none")
    for closed in ([0], [1], [2], [0, 1, 2]):
        def close():
            for fd in closed:
                os.close(fd)
        subprocess.run([b.stemma, "sign", "a.raw", "missing", "-o", "odd/", "--cache=none"], preexec_fn=close,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open("odd/a.raw.sig", "rb") as f, open("right.sig", "rb") as g:
            equal(f.read(), g.read(), f"the signature, with {closed} closed")
        shutil.rmtree("odd")


def nowhere_to_cache(b):
    env = {k: v for k, v in b.env.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    p = subprocess.run([b.stemma, "tree", "a.raw", "b.raw"], env=env, capture_output=True, text=True)
    equal(p.returncode, 0, "status without HOME")
    equal(p.stderr.count("--cache=DIR"), 1, f"it is said once: {p.stderr}")
    check(not os.path.exists("/nonexistent"), "no folder is made up")
    with open("file", "w"):
        pass
    b.run("tree", "--cache=file", "a.raw", "b.raw")
    equal(b.stderr.count("warning"), 1, f"a cache that cannot be is said once: {b.stderr}")
    if os.path.exists("/dev/full"):
        os.mkdir("full")
        os.symlink("/dev/full", "full/v1")
        b.run("tree", "--cache=full", "a.raw", "b.raw")


def few_descriptors(b):
    """Descriptors do not grow with the number of images."""
    os.mkdir("many")
    for i in range(300):
        with open(f"many/{i}.raw", "wb") as f:
            f.write(bytes([i % 7 + 1]) * 4096)
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    equal(len(b.json("tree", "many", preexec_fn=limit)["images"]), 300, "raw images, 40 descriptors")
    if shutil.which("qemu-nbd") is not None and shutil.which("qemu-img") is not None:
        os.mkdir("foreign")
        sh("qemu-img", "convert", "-O", "vmdk", "a.raw", "foreign/0.vmdk")
        for i in range(1, 50):
            shutil.copy("foreign/0.vmdk", f"foreign/{i}.vmdk")
        document = b.json("tree", "foreign", "--cache=none", preexec_fn=limit)
        equal(len(document["images"]), 50, "vmdk images, 40 descriptors")


def waiting(b, *command):
    """stemma, while it waits for an NBD server that never says a word; what is below it."""
    server = socket.socket(socket.AF_UNIX)
    if os.path.exists("nbd.sock"):
        os.unlink("nbd.sock")
    server.bind("nbd.sock")
    server.listen(4)
    p = subprocess.Popen([*command, b.stemma, "sign", "a.raw", "nbd+unix:///?socket=nbd.sock", "-o", "half/",
                          "--cache=none"], env=b.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    connection, _ = server.accept()
    with open(f"/proc/{p.pid}/task/{p.pid}/children") as f:
        below = [int(c) for c in f.read().split()]
    return p, below, (server, connection)


def gone(pid):
    for _ in range(100):
        if not os.path.exists(f"/proc/{pid}"):
            return True
        with open(f"/proc/{pid}/stat") as f:
            if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        time.sleep(0.05)
    return False


def signals(b):
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGHUP, 130),
                           (signal.SIGKILL, -signal.SIGKILL)):
        p, below, _kept = waiting(b)
        p.send_signal(number)
        equal(p.wait(10), status, f"status after {number!r}")
        check(below and all(gone(pid) for pid in below), f"the worker ends with it ({number!r})")
        equal([n for n in os.listdir("half") if not n.endswith(".sig")], [], f"files left after {number!r}")
    p, below, _kept = waiting(b, "nohup")
    p.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    equal(p.poll(), None, "under nohup it goes on")
    p.terminate()
    p.wait(10)


def hostile_names(b):
    os.mkdir("names")
    bad = ["\x1b[2Jx", "a\nb", "<script>alert(1)</script>".replace("/", "\u2215"), "'\"&;,()[]", "\x80\xff", "\u202egnp.qcow2",
           "--json", "%s%n", "a\rb", "\x07"]
    for i, name in enumerate(bad):
        with open(os.fsencode("names/" + name) if name != "\x80\xff" else b"names/\x80\xff.raw", "wb") as f:
            f.write(b"QFI\xfb" + b"\0" * 3 + b"\x03" + bytes(200) if i % 2 else bytes([i + 1]) * 70000)
    for name in os.listdir(b"names"):
        if not name.endswith(b".raw"):
            os.rename(b"names/" + name, b"names/" + name + b".raw")
    for form in ("text", "json", "newick", "dot", "svg", "html"):
        p = subprocess.run([b.stemma, "tree", f"--format={form}", "--plan", "--cache=none", "names"], env=b.env,
                           capture_output=True)
        check(p.returncode in (0, 3), f"{form}: status {p.returncode}")
        for what, text in (("output", p.stdout), ("messages", p.stderr)):
            check(not any(c < 32 and c not in (10,) for c in text), f"{form}: control characters in the {what}")
            check(form == "json" or "\u202e".encode() not in text, f"{form}: text that runs backwards in the {what}")
            if form in ("svg", "html"):
                check(b"<script>alert" not in text, f"{form}: a script")
            text.decode()
        if form == "json":
            json.loads(p.stdout)


def main():
    with Bench() as b:
        with open("a.raw", "wb") as f:
            f.write(b.random.randbytes(300000))
        shutil.copy("a.raw", "b.raw")
        time.sleep(2.2)  # what was written so recently is never cached
        closed_streams(b)
        nowhere_to_cache(b)
        few_descriptors(b)
        signals(b)
        hostile_names(b)


main()
