#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line as a user meets it: wrong usage (exit 2 and a helpful line), help, completion, one
JSON document whatever happens, well-formed drawings, widths, progress, interruption."""
import os, re, signal, time
import xml.dom.minidom
from html.parser import HTMLParser
from oracle import *

USAGE = [
    (["nonsense"], "there is no command nonsense"),
    (["tree", "--nonsense", "a.raw"], "unknown option --nonsense"),
    (["tree", "--jsom", "a.raw"], "did you mean --json?"),
    (["tree", "-x", "a.raw"], "unknown option -x"),
    (["tree", "--format=pdf", "a.raw"], "text|json|newick|dot|svg|html"),
    (["tree", "--format"], "--format"),
    (["tree", "--json=yes", "a.raw"], "--json"),
    (["tree", "--threshold=101", "a.raw"], "per cent from 0 to 100"),
    (["tree", "--threshold=x", "a.raw"], "per cent from 0 to 100"),
    (["tree", "--threshold=nan", "a.raw"], "per cent from 0 to 100"),
    (["tree", "--columns=wide", "a.raw"], "--columns"),
    (["tree", "--threads=-1", "a.raw"], "--threads"),
    (["tree", "--threads=100000", "a.raw"], "at most 1024"),
    (["tree", "--progress=maybe", "a.raw"], "auto, never or the number of a descriptor"),
    (["tree", "--sandbox=some", "a.raw"], "auto|require|off"),
    (["tree", "--in-use=other.raw", "a.raw"], "none of the images"),
    (["tree", "--image-format=nonsense", "a.raw"], "it is one of qcow2"),
    (["tree"], "no image"),
    (["tree", ""], "empty name"),
    (["tree", "nbd://"], "nbd://HOST"),
    (["tree", "a.raw@"], "snapshot"),
    (["sign"], "no image"),
    (["sign", "-o"], "-o"),
    (["sign", "-o", "one.sig", "a.raw", "b.raw"], "folder"),
    (["compare", "a.raw"], "two images"),
    (["compare"], "two images"),
    (["compare", "a.raw", "b.raw", "a.raw"], "no more than A B"),
    (["rebase"], "no image"),
    (["rebase", "--replace", "--undo", "a.raw"], "exclude each other"),
    (["rebase", "--force", "a.raw"], "--undo"),
    (["cache"], "list|prune|clear"),
    (["cache", "empty"], "list, prune or clear"),
    (["cache", "list", "more"], "no more than"),
    (["cache", "prune", "--older-than=long"], "--older-than"),
    (["help", "nonsense"], "there is no command nonsense"),
    (["help", "--completion=csh"], "bash|zsh|fish"),
]


def usage(b):
    with open("one.sig", "w") as f:
        f.write("here already")
    for args, word in USAGE:
        b.run(*args, status=2)
        equal(b.stdout, "", f"{args}: nothing on standard output")
        first = b.stderr.splitlines()[0]
        check(first.startswith("stemma: ") and word in first, f"{args}: {word!r} in {b.stderr!r}")
        if args[0] not in ["nonsense", "help"]:
            b.run(*args, "--json", status=2)
            if "-o" == args[-1] or args[-1] == "--format":
                continue  # the word became the option's value
            document = json.loads(b.stdout)
            error = document["error"] if "error" in document else document["errors"][0]
            equal(error["code"], "usage", f"{args} --json")
    b.run(status=2)
    check(b.stdout.startswith("usage: stemma COMMAND"), "without arguments: the overview")


def words(b):
    for args in [["--help"], ["-h"], ["help"]]:
        for name in ["tree", "rebase", "sign", "compare", "cache", "help"]:
            check(f"  {name} " in b.run(*args), f"{args} tells of {name}")
    check(re.match(r"stemma \d+\.\d+\.\d+\n", b.run("--version")), b.stdout)
    check("sandbox: seccomp" in b.stdout and "hashing: BLAKE3" in b.stdout, b.stdout)
    dump = b.run("help", "--dump")
    commands = {}
    for line in dump.splitlines():
        fields = line.split("\t")
        equal(len(fields), 4, f"fields of {line!r}")
        commands.setdefault(fields[0], []).append(fields[1])
    equal(sorted(commands), ["cache", "compare", "help", "rebase", "sign", "tree"], "commands")
    for name, options in commands.items():
        text = b.run("help", name)
        equal(b.run(name, "--help"), text, f"{name} --help")
        check(text.startswith(f"usage: stemma {name} "), text)
        for line in text.splitlines():
            check(len(line) <= 80, f"80 columns: {line}")
        for option in [o for field in options[1:] for o in field.split(",")]:
            check(re.search(re.escape(option) + r"(=|,|\s)", text), f"{name} --help tells {option}")
        equal(len(set(options)), len(options), f"{name}: each option once")
    for shell in ["bash", "zsh", "fish"]:
        script = b.run("help", f"--completion={shell}")
        for name in commands:
            check(name in script, f"{shell} completes {name}")
        with open(f"completion.{shell}", "w") as f:
            f.write(script)
        if shutil.which(shell):
            sh(shell, "-n", f"completion.{shell}")
        else:
            print(f"{shell} is not installed: its completion is not parsed")
    if shutil.which("bash"):
        got = sh("bash", "-c", "source ./completion.bash; COMP_WORDS=(stemma tree --li); COMP_CWORD=2;"
                 "compopt() { :; }; _stemma stemma --li tree; echo ${COMPREPLY[@]}").decode().split()
        equal(got, ["--linkage="], "bash completes an option")
        got = sh("bash", "-c", "source ./completion.bash; COMP_WORDS=(stemma t); COMP_CWORD=1;"
                 "compopt() { :; }; _stemma stemma t stemma; echo ${COMPREPLY[@]}").decode().split()
        equal(got, ["tree"], "bash completes a command")


def documents(b):
    """One document, also when something or all fails."""
    for args, status in [
        (["tree", "a.raw", "b.raw"], 0), (["tree", "a.raw", "gone.raw"], 3), (["tree", "gone.raw"], 3),
        (["tree", "--format=json", "a.raw"], 0), (["compare", "a.raw", "b.raw"], 1),
        (["compare", "a.raw", "a.raw"], 0), (["compare", "a.raw", "gone.raw"], 3),
        (["compare", "gone.raw", "gone2.raw"], 3), (["sign", "-o", "sigs/", "a.raw", "gone.raw"], 3),
        (["sign", "-o", "sigs/", "a.raw"], 0), (["sign", "-o", "/proc/no/", "a.raw"], 3),
        (["sign", "-o", "/proc/no.sig", "a.raw"], 3),
        (["rebase", "a.raw", "b.raw"], 0), (["rebase", "a.raw", "gone.raw"], 3),
        (["rebase", "--undo", "a.raw"], 0), (["rebase", "--commit", "a.raw"], 0),
        (["cache", "list"], 0), (["cache", "prune"], 0), (["cache", "clear"], 0),
        (["cache", "list", "--cache=/proc/1/mem"], 3),
        (["tree", "nbds://localhost/"], 3), (["tree", "nbd+unix:///?socket=gone"], 3), (["tree", "--domain-xml=gone.xml"], 3), (["tree", "--pve-conf=gone"], 3),
    ]:
        document = b.json(*args, status=status)
        errors = document.get("errors", [document.get("error")])
        equal(status == 3, len(errors) > 0, f"{args}: errors {errors}")
        for error in errors:
            check(error["code"] and error["message"], f"{args}: {error}")
            check(error["message"].split(":")[0] in b.stderr, f"{args}: {error} on standard error: {b.stderr}")
        check(status != 3 or b.stderr.startswith("stemma: "), f"{args}: {b.stderr}")
        check(len(b.stderr.splitlines()) <= 2, f"{args}: few words: {b.stderr}")
    # names that are not UTF-8
    name = b"bad\xff\x1b[31m.raw"
    shutil.copy("a.raw", name)
    d = b.json("tree", "--cache=none", name)
    import base64
    equal(base64.b64decode(d["images"][0]["path_b64"]), name, "bytes of a name")
    for args in [["tree", name], ["compare", name, name], ["sign", "-o", "odd.sig", name], ["tree", name, b"gone\x1b"]]:
        p = subprocess.run([b.stemma, *args], env=b.env, capture_output=True)
        check(b"\x1b" not in p.stdout + p.stderr, f"{args}: escapes do not reach the terminal")
    os.unlink(name)


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ["meta", "link", "br", "input", "hr", "img", "rect", "path", "line", "circle"]:
            self.open.append(tag)
        for key, value in attrs:
            check(not (key in ["src", "href"] and value and "//" in value), f"{tag} {key}={value}: no requests")

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass


def newick(text):
    """Reads a Newick tree by its grammar; the leaves' names."""
    at, names, depth = 0, [], 0
    token = re.compile(r"[(),;]|:[0-9.eE+-]+|'(?:[^']|'')*'|[^\s(),:;'\[\]]+|\s+|\[[^\]]*\]")
    while at < len(text):
        m = token.match(text, at)
        check(m, f"newick at {text[at:at + 30]!r}")
        at, word = m.end(), m.group()
        depth += (word == "(") - (word == ")")
        check(depth >= 0, "brackets")
        if word[0] not in "(),;: \n[":
            names.append(word.strip("'").replace("''", "'"))
    equal(depth, 0, "brackets")
    return names


def drawings(b):
    names = ["a.raw", "b.raw", "c'd (e),<f>&.raw"]
    shutil.copy("a.raw", names[2])
    text = b.run("tree", "--format=newick", *names)
    check(text.rstrip().endswith(";"), text)
    for name in names:
        check(name in newick(text), f"{name} in {text}")
    dot = b.run("tree", "--format=dot", *names)
    check(dot.lstrip().startswith(("graph", "digraph", "strict", "//", "/*")), dot)
    equal(dot.count("{"), dot.count("}"), "dot: braces")
    if shutil.which("dot"):
        sh("dot", "-Tsvg", input=dot.encode())
    svg = xml.dom.minidom.parseString(b.run("tree", "--format=svg", *names))
    equal(svg.documentElement.tagName, "svg", "svg")
    page = Page()
    page.feed(b.run("tree", "--format=html", *names))
    page.close()
    equal(page.open, [], "html: all closed")
    for columns in [40, 80, 200]:
        for line in b.run("tree", "--plan", f"--columns={columns}", *names).splitlines():
            check(len(line) <= columns, f"{columns} columns: {line}")
    b.env["COLUMNS"] = "50"
    check(max(map(len, b.run("tree", "--plan", *names).splitlines())) <= 50, "COLUMNS")
    del b.env["COLUMNS"]
    check(b.run("tree", "--ascii", "--plan", *names).isascii(), "--ascii")
    check(not b.run("tree", "--plan", *names).isascii(), "box drawing characters otherwise")
    check("\x1b" not in b.stdout, "no colours on a pipe")
    check("\x1b" in b.run("tree", "--color=always", "--plan", *names), "--color=always")
    equal(b.json("tree", "--cache=none", "--threads=1", *names), b.json("tree", "--cache=none", *names), "one thread")
    # to a full device
    with open("/dev/full", "w") as full:
        p = subprocess.run([b.stemma, "tree", "a.raw"], env=b.env, stdout=full, stderr=subprocess.PIPE)
    equal((p.returncode, p.stderr.decode()), (3, "stemma: standard output: No space left on device\n"), "/dev/full")


def slow_image(b, path, megabytes):
    """Data that takes a while to hash with one thread under load."""
    block = b.random.randbytes(1 << 20)
    with open(path, "wb") as f:
        for i in range(megabytes):
            f.write(i.to_bytes(8, "little") + block[8:])


def progress(b):
    read, write = os.pipe()
    p = subprocess.Popen([b.stemma, "tree", "--cache=none", "--threads=1", f"--progress={write}", "big.raw"], env=b.env,
                         pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    os.close(write)
    with os.fdopen(read) as f:
        lines = f.read().splitlines()
    equal((p.wait(), p.stderr.read()), (0, b""), "progress on a descriptor only")
    check(lines, "at least one line of progress")
    done = [tuple(map(int, line.split())) for line in lines]
    equal(done, sorted(done), "progress goes on")
    check(all(d <= t for d, t in done), f"done of total: {done}")
    equal(done[-1], (done[-1][1], done[-1][1]), "the last line says that all is done")


def interruption(b):
    for args in [["tree"], ["sign", "-o", "sigs3/"], ["compare", "a.raw"], ["rebase", "--output=out", "copy.raw"]]:
        for number in [signal.SIGINT, signal.SIGTERM]:
            os.makedirs("sigs3", exist_ok=True)
            p = subprocess.Popen([b.stemma, *args, "--threads=1", "big.raw"], env=b.env, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
            deadline = time.monotonic() + 20
            while p.poll() is None and time.monotonic() < deadline:
                children = open(f"/proc/{p.pid}/task/{p.pid}/children").read().split()
                if children and "VmRSS" in open(f"/proc/{children[0]}/status").read():
                    break
                time.sleep(0.002)
            time.sleep(0.05)
            p.send_signal(number)
            out, err = p.communicate(timeout=20)
            if p.returncode == 0:
                print(f"{args}: it was faster than the interruption")
                continue
            equal((p.returncode, err), (130, b""), f"{args} interrupted by {number}")
            for child in children:
                check(not os.path.exists(f"/proc/{child}"), "the worker is gone")
        left = [os.path.join(d, f) for d, _, files in os.walk(b.dir) for f in files
                if "tmp" in f or "stemma-new" in f]
        equal(left, [], f"{args}: nothing half-written is left")
    b.json("tree", "a.raw", "b.raw")


def main():
    with Bench() as b:
        write_sparse("a.raw", b.random.randbytes(300000))
        write_sparse("b.raw", b.random.randbytes(65536) + open("a.raw", "rb").read()[65536:])
        usage(b)
        words(b)
        documents(b)
        drawings(b)
        slow_image(b, "big.raw", 400)
        os.link("big.raw", "copy.raw")
        progress(b)
        interruption(b)


main()
