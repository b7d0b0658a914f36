# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared by the tests of the command line: running stemma, making images, and counting by other means.

Nothing here takes expected values from stemma: contents are known because the test wrote them, or come
from qemu-img."""
import json, os, random, shutil, subprocess, sys, tempfile

CLUSTER = 65536
SKIP = 77


def need(*tools):
    for tool in tools:
        if shutil.which(tool) is None:
            print(f"SKIP: {tool} is not installed")
            sys.exit(SKIP)


class Bench:
    """A folder of images, and stemma with a cache of its own."""

    def __init__(self, seed=None):
        self.stemma = os.path.abspath(sys.argv[1])
        self.dir = tempfile.mkdtemp(prefix="stemma-test-")
        self.env = dict(os.environ, XDG_CACHE_HOME=os.path.join(self.dir, ".cache"), LC_ALL="C.UTF-8")
        self.seed = seed if seed is not None else int(os.environ.get("SEED", random.randrange(1 << 32)))
        self.random = random.Random(self.seed)
        print(f"seed {self.seed} (SEED={self.seed} repeats it), folder {self.dir}")
        os.chdir(self.dir)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        os.chdir("/")
        if kind is None:
            shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *args, status=0, **more):
        """Runs stemma; its standard output as text. status None: any."""
        p = subprocess.run([self.stemma, *args], capture_output=True, env=self.env, **more)
        self.stdout, self.stderr = p.stdout.decode(errors="surrogateescape"), p.stderr.decode(errors="replace")
        self.status = p.returncode
        if status is not None and p.returncode != status:
            sys.exit(f"stemma {' '.join(args)}: status {p.returncode}, {status} expected\n{self.stdout}\n{self.stderr}")
        return self.stdout

    def json(self, *args, status=0, **more):
        return json.loads(self.run(*args, "--json", status=status, **more))


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def equal(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, {wanted!r} expected")


def sh(*args, **more):
    return subprocess.run(args, check=True, capture_output=True, **more).stdout


def raw_copy(image, out, *options):
    """The image's content by qemu-img."""
    sh("qemu-img", "convert", *options, "-O", "raw", image, out)
    with open(out, "rb") as f:
        return f.read()


def write_sparse(path, content):
    """Writes the bytes with holes where 4 KiB blocks are zero."""
    with open(path, "wb") as f:
        for at in range(0, len(content), 4096):
            block = content[at:at + 4096]
            if block.count(0) != len(block):
                f.seek(at)
                f.write(block)
        f.truncate(len(content))


def count(a, b):
    """different_bytes and shared_bytes of two contents, cluster by cluster, cut at the larger end."""
    size = max(len(a), len(b))
    different = shared = 0
    for at in range(0, size, CLUSTER):
        length = min(CLUSTER, size - at)
        x = a[at:at + length].ljust(length, b"\0")
        y = b[at:at + length].ljust(length, b"\0")
        if x != y:
            different += length
        elif x.count(0) != length:
            shared += length
    return different, shared
