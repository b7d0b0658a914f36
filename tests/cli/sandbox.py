#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing in the sealed worker of any command can open, create, connect, execute, make threads or use
io_uring (STEMMA_PROBE tries it from inside); without the sandbox the same probes work, so they do try.
raw and qcow2 need no outside program: an empty PATH is enough."""
import os, signal, socket, time
from oracle import *

COMMANDS = [["tree"], ["compare"], ["sign", "-o", "sigs/"], ["rebase"], ["rebase", "--output=out"]]
REFUSED = {"open", "create", "uring", "thread", "signal", "owner"}  # told; the worker goes on
DEADLY = {"socket", "exec"}                      # the worker dies
PROBE_FILE = "/tmp/stemma-probe"


def probe(b, what, *args):
    b.env["STEMMA_PROBE"] = what
    shutil.rmtree("out", ignore_errors=True)
    b.run(*args, "--cache=none", "a.raw", "b.qcow2", status=None)
    del b.env["STEMMA_PROBE"]
    return b.stderr


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(c) for c in f.read().split()]


def descriptors(b):
    """What the worker holds while it waits for an NBD server that never says a word."""
    with socket.socket(socket.AF_UNIX) as server, open("kept", "w+") as kept:
        server.bind("nbd.sock")
        server.listen(4)
        p = subprocess.Popen([b.stemma, "tree", "--cache=none", "nbd+unix:///?socket=nbd.sock"], env=b.env,
                             stdin=kept, stdout=kept, stderr=kept, pass_fds=[kept.fileno()])
        connection, _ = server.accept()
        time.sleep(0.3)
        worker, = children(p.pid)
        for thread in os.listdir(f"/proc/{worker}/task"):
            with open(f"/proc/{worker}/task/{thread}/status") as status:
                check("\nSeccomp:\t2\n" in status.read(), f"thread {thread} of worker {worker} has the filter")
        found = {int(n): os.readlink(f"/proc/{worker}/fd/{n}") for n in os.listdir(f"/proc/{worker}/fd")}
        p.send_signal(signal.SIGINT)
        equal(p.wait(10), 130, "interrupted")
        connection.close()
    return found


def main():
    need("qemu-img")
    with Bench() as b:
        write_sparse("a.raw", b.random.randbytes(300000))
        sh("qemu-img", "convert", "-O", "qcow2", "a.raw", "b.qcow2")
        if os.path.exists(PROBE_FILE):
            os.unlink(PROBE_FILE)
        for command in COMMANDS:
            for what in sorted(REFUSED):
                err = probe(b, what, *command)
                check(f"sandbox: {what} refused: " in err, f"{command}: {what} is refused: {err}")
                equal(b.status, 0, f"{command} goes on after {what} was refused")
            for what in sorted(DEADLY):
                err = probe(b, what, *command)
                check("killed by SIGSYS" in err, f"{command}: {what} is deadly: {err}")
                equal(b.status, 3, f"{command}: {what}")
            err = probe(b, "no-such", *command)
            check("no probe is called no-such" in err, f"{command} does try: {err}")
        check(not os.path.exists(PROBE_FILE), "nothing was created")

        found = descriptors(b)
        with open(b.stemma, "rb") as program:
            sanitized = b"__asan_init" in program.read()
        last = 2 if sanitized else 3  # a sanitizer reports on standard error
        equal({found[n] for n in range(last)}, {"/dev/null"}, "standard descriptors of the worker")
        check(not any("kept" in path for n, path in found.items() if n != last), f"nothing is inherited: {found}")
        equal(len(found), 5, f"a socket, and that of the server: {found}")

        # the probes do what they say
        for what in sorted(REFUSED | {"socket"}):
            err = probe(b, what, "tree", "--sandbox=off")
            if what in ("uring", "signal") and "refused" in err:
                continue  # the kernel itself has none, or we are not root
            check(f"sandbox: {what} worked in the sealed worker" in err, f"{what} without a sandbox: {err}")
            equal(b.status, 3, what)
        check(os.path.exists(PROBE_FILE), "the probe created a file")
        os.unlink(PROBE_FILE)
        err = probe(b, "exec", "tree", "--sandbox=off")
        check("ended with status 0" in err, f"exec without a sandbox became `true`: {err}")

        # all walls, where the kernel has them
        b.run("--version")
        if "Landlock (ABI" in b.stdout:
            err = probe(b, "open", "tree", "--sandbox=require")
            check("open refused" in err, err)
        else:
            b.run("tree", "--sandbox=require", "a.raw", status=3)
            check("no Landlock" in b.stderr, b.stderr)

        with_path = b.json("tree", "--cache=none", "a.raw", "b.qcow2")
        equal(with_path["different_bytes"][0][1], 0, "one disk")
        b.env["PATH"] = ""
        equal(b.json("tree", "--cache=none", "a.raw", "b.qcow2"), with_path, "tree with an empty PATH")
        b.run("compare", "--exact", "a.raw", "b.qcow2")
        b.run("sign", "-o", "sigs2/", "a.raw", "b.qcow2")
        b.run("rebase", "--output=out2", "a.raw", "b.qcow2")


main()
