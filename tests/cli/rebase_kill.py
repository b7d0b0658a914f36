#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`stemma rebase --replace` killed at random moments, front and worker (and --undo): no original is lost, every name opens
with its content; the same command finishes, and --undo leads back."""
import signal, time
from rebase_family import *

need("qemu-img")
ROUNDS = 20


def make_family(r):
    base = bytearray(r.randbytes(MIB) + bytes(MIB))
    contents = {"root.raw": base}
    for name, of in {"b.raw": "root.raw", "c.qcow2": "root.raw", "d.raw": "b.raw", "sub/e.img": "b.raw"}.items():
        content = bytearray(contents[of])
        for at in range(3):
            at = r.randrange(len(content) - 100)
            content[at:at + 100] = r.randbytes(100)
        contents[name] = content
    os.mkdir("sub")
    for name, content in contents.items():
        write_sparse("flat.tmp", content)
        if name.endswith(".qcow2"):
            sh("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "flat.tmp", name)
        else:
            os.rename("flat.tmp", name)
    if os.path.exists("flat.tmp"):
        os.unlink("flat.tmp")
    for i, name in enumerate(contents):
        os.chmod(name, 0o640 + i % 2 * 0o20)
        os.utime(name, ns=(10**18 + i, 10**18 + 7 * i + 1))
    return list(contents)


def bytes_of(path):
    with open(path, "rb") as f:
        return f.read()


def check_names(names, contents, states, what):
    files = {bytes_of(n) for n in listing()}
    for name in names:
        check(states[name]["content"] in files, f"{what}: the original of {name} is lost; there are {listing()}")
        equal(content_of(name) == contents[name], True, f"{what}: content of {name} is as before")


def check_settled(names, what):
    left = [n for n in listing() if n.endswith((".stemma-new", ".stemma-tmp"))]
    equal(left, [], f"{what}: work files")
    for name in names:
        equal(os.stat(name).st_mode & 0o1000, 0, f"{what}: mark of {name}")
        if image_format(name) == "qcow2":
            sh("qemu-img", "check", "-q", name)


def check_undone(names, states, what):
    equal(listing(), sorted(names), f"{what}: names")
    for name in names:
        got, wanted = state_of(name), dict(states[name])
        for key in wanted:
            equal(got[key] == wanted[key], True, f"{what}: {key} of {name}")


def interrupted(b, way, names, seconds, how):
    p = subprocess.Popen([b.stemma, "rebase", way, *names], env=b.env, start_new_session=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(seconds)
    os.killpg(p.pid, how)
    out, err = p.communicate()
    if how == signal.SIGINT:
        check(p.returncode in (0, 130, -signal.SIGINT), f"SIGINT gives {p.returncode}: {err.decode()}")
    return p.returncode


def main():
    with Bench() as b:
        os.mkdir("images")
        os.chdir("images")
        names = make_family(b.random)
        contents = {n: content_of(n) for n in names}
        states = {n: state_of(n) for n in names}
        start = time.monotonic()
        b.run("rebase", "--replace", *names)
        took = time.monotonic() - start
        start = time.monotonic()
        b.run("rebase", "--undo", *names)
        undo_took = time.monotonic() - start
        check_undone(names, states, "undo")
        half = 0
        for round_ in range(ROUNDS):
            how = signal.SIGINT if round_ % 5 == 4 else signal.SIGKILL
            seconds = b.random.random() * took * 1.1
            status = interrupted(b, "--replace", names, seconds, how)
            what = f"round {round_}, {how.name} after {seconds:.3f} s of {took:.3f}, status {status}"
            half += listing() != sorted(names) and status != 0
            check_names(names, contents, states, what)
            if round_ % 2 == 0:
                b.run("rebase", "--replace", *names)
                check_names(names, contents, states, what + ", run again")
                check_settled(names, what + ", run again")
                roots = {chain(n)[-1] for n in names}
                equal(len(roots), 1, what + ": one root below all")
                interrupted(b, "--undo", names, b.random.random() * undo_took, how)
                check_names(names, contents, states, what + ", undo interrupted")
            b.run("rebase", "--undo", *names)
            check_undone(names, states, what + ", undone")
        print(f"{half} of {ROUNDS} rounds ended half-way")
        check(half > 0, "no round ended half-way")


main()
