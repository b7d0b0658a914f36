#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that help and fail: a qemu-nbd that is missing, dies, lies or hangs, NBD servers that are not
there, and a worker that is killed. What they were at has no result, everything else has."""
import os, signal, socket, stat, threading, time
from oracle import *

need("qemu-img", "qemu-nbd")

FAKES = {
    "dies with a word": ("import sys; sys.stderr.write('qemu-nbd: it is all too much\\nfor me\\n'); sys.exit(1)",
                         ["it is all too much for me"]),
    "dies without a word": ("import sys; sys.exit(1)", ["without a word"]),
    "is killed": ("import os; os.kill(os.getpid(), 9)", ["qemu-nbd"]),
    "answers nonsense": ("import socket, time; c, _ = socket.socket(fileno=3).accept(); "
                         "c.sendall(b'HTTP/1.1 400 Bad Request\\r\\n' * 40); time.sleep(60)", ["qemu-nbd"]),
    "greets and dies": ("import socket; c, _ = socket.socket(fileno=3).accept(); c.sendall(b'NBDMAGIC')", ["qemu-nbd"]),
    "refuses the export": ("import socket, struct; c, _ = socket.socket(fileno=3).accept(); "
                           "c.sendall(b'NBDMAGICIHAVEOPT' + struct.pack('>H', 3)); c.recv(4)\n"
                           "while True:\n"
                           "    head = c.recv(16, socket.MSG_WAITALL)\n"
                           "    if len(head) < 16: break\n"
                           "    option, length = struct.unpack('>II', head[8:])\n"
                           "    c.recv(length, socket.MSG_WAITALL)\n"
                           "    c.sendall(struct.pack('>QIII', 0x3e889045565a9, option, 0x80000001, 0))",
                           ["qemu-nbd"]),
    "says an absurd size": ("import socket, struct; c, _ = socket.socket(fileno=3).accept(); "
                            "c.sendall(b'NBDMAGIC' + bytes.fromhex('00420281861253') + b'') ; "
                            "c.sendall(struct.pack('>QI', (1 << 64) - 1, 1) + bytes(124)); import time; time.sleep(60)",
                            ["qemu-nbd"]),
}


def fake(b, script):
    os.makedirs("bin", exist_ok=True)
    with open("bin/qemu-nbd", "w") as f:
        f.write("#!" + os.path.realpath("/usr/bin/python3") + "\n" + script + "\n")
    os.chmod("bin/qemu-nbd", 0o755)


def servers(b):
    sh("qemu-img", "convert", "-O", "vmdk", "a.raw", "a.vmdk")
    d = b.json("tree", "--cache=none", "a.raw", "a.vmdk")
    equal(d["different_bytes"][0][1], 0, "the real one")
    path = b.env["PATH"]

    def failing(name, words):
        start = time.monotonic()
        d = b.json("tree", "--cache=none", "a.raw", "a.vmdk", "b.raw", status=3)
        equal([i["path"] for i in d["images"]], ["a.raw", "b.raw"], f"a qemu-nbd that {name}: the others")
        equal([e["path"] for e in d["errors"]], ["a.vmdk"], f"a qemu-nbd that {name}: errors")
        equal(len(b.stderr.splitlines()), 1, f"a qemu-nbd that {name}: one message: {b.stderr}")
        check(b.stderr.startswith("stemma: a.vmdk: ") and all(w in b.stderr for w in words), f"{name}: {b.stderr}")
        check(time.monotonic() - start < 40, f"a qemu-nbd that {name}: not for ever")
        print(f"{name}: {b.stderr.strip()}")

    b.env["PATH"] = os.path.join(b.dir, "empty")
    failing("is not installed", ["qemu-utils"])
    b.env["PATH"] = os.path.join(b.dir, "bin")
    for name, (script, words) in FAKES.items():
        fake(b, script)
        failing(name, words)
    b.env["PATH"] = path
    # one that means it, but whose image is damaged
    with open("a.vmdk", "r+b") as f:
        f.seek(4)
        f.write(b"\xff" * 60)
    failing("has a damaged image", [])


def nbd_uris(b):
    quiet = socket.socket(socket.AF_UNIX)
    quiet.bind("quiet.sock")
    quiet.listen(4)
    rude = socket.socket()
    rude.bind(("127.0.0.1", 0))
    rude.listen(4)

    def be_rude():
        while True:
            c, _ = rude.accept()
            c.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            c.close()

    threading.Thread(target=be_rude, daemon=True).start()
    port = rude.getsockname()[1]
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    for uri, words in [("nbd+unix:///?socket=gone.sock", ["gone.sock", "No such file"]),
                       ("nbd+unix:///x?socket=" + "y" * 200, ["too long"]),
                       (f"nbd://127.0.0.1:{closed.getsockname()[1]}", ["refused"]),
                       ("nbd://127.0.0.1:port/x", ["port"]), (f"nbd://127.0.0.1:{port}/", [])]:
        d = b.json("tree", "--cache=none", "a.raw", uri, status=3)
        equal([e["path"] for e in d["errors"]], [uri], uri)
        equal([i["path"] for i in d["images"]], ["a.raw"], f"{uri}: the other")
        check(b.stderr.startswith("stemma: nbd") and len(b.stderr.splitlines()) == 1, b.stderr)
        for word in words:
            check(word in b.stderr, f"{uri}: {word}: {b.stderr}")
        print(b.stderr.strip())
    # a real one
    p = subprocess.Popen(["qemu-nbd", "-f", "raw", "-r", "-e", "2", "-t", "-x", "name", "-k",
                          os.path.join(b.dir, "nbd.sock"), "a.raw"], stderr=subprocess.PIPE)
    try:
        while not os.path.exists("nbd.sock"):
            check(p.poll() is None, "qemu-nbd runs")
            time.sleep(0.01)
        d = b.json("tree", "--plan", "a.raw", "nbd+unix:///name?socket=nbd.sock")
        equal(d["different_bytes"][0][1], 0, "an export is compared")
        equal((d["plan"][1]["backing"], d["images"][1]["fixed"]), (None, "an NBD export"), "the plan leaves it alone")
        b.json("tree", "a.raw", "nbd+unix:///other?socket=nbd.sock", status=3)
        check("other" in b.stderr or "export" in b.stderr, b.stderr)
        print(b.stderr.strip())
    finally:
        p.kill()
        p.wait()


def worker_of(p):
    """The sealed worker, once it is well into a large image: it grew by what it maps of that."""
    first = {}
    while p.poll() is None:
        try:
            for child in open(f"/proc/{p.pid}/task/{p.pid}/children").read().split():
                if "Seccomp:\t2" in open(f"/proc/{child}/status").read():
                    resident = int(open(f"/proc/{child}/statm").read().split()[1])
                    if resident > first.setdefault(child, resident) + (8 << 20 >> 12):
                        return int(child)
        except OSError:
            pass
        time.sleep(0.002)
    raise AssertionError("it ended by itself")


def killed_workers(b):
    block = b.random.randbytes(1 << 20)
    with open("big.raw", "wb") as f:
        for i in range(600):
            f.write(i.to_bytes(8, "little") + block[8:])
    for args, how in [(["tree", "--json", "a.raw", "big.raw", "b.raw"], signal.SIGKILL),
                      (["sign", "--json", "-o", "sigs/", "a.raw", "big.raw", "b.raw"], signal.SIGSYS),
                      (["compare", "--json", "a.raw", "big.raw"], signal.SIGKILL),
                      (["rebase", "--json", "a.raw", "big.raw", "b.raw"], signal.SIGABRT)]:
        p = subprocess.Popen([b.stemma, *args, "--threads=1", "--cache=none"], env=b.env, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        os.kill(worker_of(p), how)
        out, err = p.communicate(timeout=60)
        err = err.decode()
        equal(p.returncode, 3, f"{args}: {err}")
        equal(len(err.splitlines()), 1, f"one message: {err}")
        check(err.startswith("stemma: big.raw: ") and f"killed by {how.name}" in err, err)
        d = json.loads(out)
        if args[0] == "compare":
            equal((d["error"]["path"], d["error"]["code"]), ("big.raw", "peer"), "compare has no result")
            check("killed by" in d["error"]["message"], f"and says why: {d}")
            continue
        equal([(e["path"], e["code"]) for e in d["errors"]], [("big.raw", "peer")], f"{args}")
        equal([i["path"] for i in d.get("images", d.get("signatures"))], ["a.raw", "b.raw"], f"{args}: the others")
    equal(sorted(os.listdir("sigs")), ["a.raw.sig", "b.raw.sig"], "signatures of the others, and nothing half-written")


def main():
    with Bench() as b:
        os.makedirs("empty")
        write_sparse("a.raw", b.random.randbytes(300 * 1024))
        write_sparse("b.raw", b.random.randbytes(300 * 1024))
        for part in [servers, nbd_uris, killed_workers]:
            start = time.monotonic()
            part(b)
            print(f"{part.__name__}: {time.monotonic() - start:.1f} s")


main()
