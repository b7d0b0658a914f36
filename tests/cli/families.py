#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a heap of disks comes out as: families and ties, images of one name, changed images, a million
differing clusters on a small stack, 400 images on a terminal. Large disks exist as signature files only,
which this test writes from docs/formats with b3sum: no id here comes from stemma."""
import os, struct, time, unicodedata
from oracle import *

need("b3sum")


def derive(context, data):
    return sh("b3sum", "--derive-key", context, "--raw", input=bytes(data))


def derive_many(context, items, folder):
    """derive() of many, with few processes."""
    out = []
    for at in range(0, len(items), 2000):
        names = []
        for i, item in enumerate(items[at:at + 2000]):
            names.append(f"{folder}/{i}")
            with open(names[-1], "wb") as f:
                f.write(item)
        text = sh("b3sum", "--derive-key", context, "--no-names", *names).decode()
        out += [bytes.fromhex(line) for line in text.split()]
    return out


def content_ids(disks, folder):
    """Of each disk's clusters (number: id) the ids up to level 6: docs/formats/identity.md."""
    disks = list(disks)
    for level in range(2, 7):
        joined = []
        for ids in disks:
            groups = {}
            for i, value in ids.items():
                groups.setdefault(i // 512, [bytes(32)] * 512)[i % 512] = value
            joined.append({g: b"".join(values) for g, values in groups.items()})
        unique = list(dict.fromkeys(j for groups in joined for j in groups.values()))
        known = dict(zip(unique, derive_many(f"stemma identity 1 level {level}", unique, folder)))
        disks = [{g: known[j] for g, j in groups.items()} for groups in joined]
    return [ids.get(0, bytes(32)) for ids in disks]


def runs_of(numbers):
    runs = []
    for n in numbers:
        if runs and runs[-1][0] + runs[-1][1] == n:
            runs[-1][1] += 1
        else:
            runs.append([n, 1])
    return runs


def write_signatures(size, disks, folder, fmt=b"raw"):
    """docs/formats/signature.md; `disks` maps paths to {cluster number: id}."""
    contents = content_ids(disks.values(), folder)
    ids = derive_many("stemma identity 1 disk", [struct.pack("<Q", size) + c for c in contents], folder)
    heads, bodies = [], []
    for clusters, content, disk in zip(disks.values(), contents, ids):
        numbers = sorted(clusters)
        runs = runs_of(numbers)
        data = sum(min(CLUSTER, size - n * CLUSTER) for n in numbers)
        heads.append(b"STEMSIG\x1a" + struct.pack("<IIIIQQQQ", 1, 192, 1, 65536, size, data, len(runs), len(numbers)) +
                     fmt.ljust(16, b"\0") + content + disk + bytes(24))
        bodies.append(b"".join([struct.pack("<QQ", *run) for run in runs] + [clusters[n] for n in numbers]))
    sums = derive_many("stemma signature 1 header", heads, folder)
    files = [h + c + b for h, c, b in zip(heads, sums, bodies)]
    for path, whole, check_sum in zip(disks, files, derive_many("stemma signature 1 file", files, folder)):
        with open(path, "wb") as f:
            f.write(whole + check_sum)


def make_id(*what):
    """Stands for the hash of some content; which, does not matter."""
    return struct.pack("<4Q", *what, *[0x9e3779b97f4a7c15] * (4 - len(what)))


def the_format_is_ours(b):
    """A signature that this test made of bytes is what stemma makes of them."""
    data = b.random.randbytes(5 * 4096 + 77)
    size = 3 * CLUSTER + 100
    with open("bytes.raw", "wb") as f:
        f.write(bytes(CLUSTER) + data)
        f.truncate(size)
    blocks = []
    for at in range(0, CLUSTER, 4096):
        block = data[at:at + 4096].ljust(4096, b"\0")
        blocks.append(sh("b3sum", "--raw", input=block) if any(block) else bytes(32))
    write_signatures(size, {"bytes.sig": {1: derive("stemma identity 1 level 1", b"".join(blocks))}}, "scratch")
    b.run("sign", "-o", "theirs.sig", "bytes.raw", "--cache=none")
    with open("bytes.sig", "rb") as ours, open("theirs.sig", "rb") as theirs:
        equal(theirs.read(), ours.read(), "a signature by the specification")
    d = b.json("compare", "--strict", "bytes.sig", "bytes.raw")
    equal(d["equal"], True, "signature and image")


def ties(b):
    x, y = b.random.randbytes(10 * CLUSTER), b.random.randbytes(10 * CLUSTER)
    files = {"x1.raw": x, "y1.raw": y, "x2.raw": x[:-1] + b"?", "y2.raw": y[:-1] + b"?"}
    for name, content in files.items():
        write_sparse(name, content)
    d = b.json("tree", *files)
    equal(sorted(map(sorted, d["families"])), [[0, 2], [1, 3]], "two tied pairs are two families")
    for linkage in ["average", "complete"]:
        d = b.json("tree", f"--linkage={linkage}", *files)
        equal(sorted(map(sorted, d["families"])), [[0, 2], [1, 3]], f"two tied pairs, {linkage} linkage")
    # three at the same distance are siblings of one join, whatever the order
    third = {f"t{i}.raw": x[:i * CLUSTER] + b.random.randbytes(CLUSTER) + x[(i + 1) * CLUSTER:] for i in range(3)}
    for name, content in third.items():
        write_sparse(name, content)
    for order in [["t0.raw", "t1.raw", "t2.raw"], ["t2.raw", "t0.raw", "t1.raw"]]:
        d = b.json("tree", *order)
        equal(len(d["tree"]["children"]), 3, f"ties are siblings: {d['tree']}")
        equal(d["tree"]["different_bytes"], 2 * CLUSTER, "their distance")


def same_names(b):
    for folder, source in [("web", "x1.raw"), ("db", "y1.raw")]:
        os.makedirs(f"fleet/{folder}")
        shutil.copy(source, f"fleet/{folder}/disk.img")
    d = b.json("tree", "fleet")
    equal([i["path"] for i in d["images"]], ["fleet/db/disk.img", "fleet/web/disk.img"], "two images, in name order")
    text = b.run("tree", "fleet")
    check("web/disk.img" in text and "db/disk.img" in text, f"both can be told apart: {text}")
    b.run("sign", "-o", "signatures/", "fleet")
    equal(len(os.listdir("signatures")), 2, f"two signatures: {os.listdir('signatures')}")


def changes(b):
    """Whatever is done to its times, a changed image is seen changed."""
    old = time.time_ns() - 10_000_000_000
    os.makedirs("cache")
    write_sparse("c.raw", open("x1.raw", "rb").read())
    os.utime("c.raw", ns=(old, old))
    time.sleep(2.2)  # until its ctime is old enough to be kept
    run = lambda: b.json("tree", "--cache=cache", "x1.raw", "c.raw")
    run()
    d = run()
    equal((d["images"][1]["cached"], d["different_bytes"][0][1]), (True, 0), "an unchanged image comes from the cache")
    check(d["images"][1]["read_bytes"] < 8192, f"no data of it is read, only what tells its format: {d['images'][1]}")
    at = 7 * CLUSTER + 5
    with open("c.raw", "r+b") as f:
        f.seek(at)
        f.write(b"changed")
    os.utime("c.raw", ns=(old, old))
    d = run()
    equal((d["images"][1]["cached"], d["different_bytes"][0][1]), (False, CLUSTER), "changed, and its mtime set back")
    # what changed less than two seconds before the scan's end is not kept
    equal(run()["images"][1]["cached"], False, "a fresh image is not kept")
    # another file under the same name with the same times
    os.rename("c.raw", "aside.raw")
    write_sparse("c.raw", open("y1.raw", "rb").read())
    os.utime("c.raw", ns=(old, old))
    equal(run()["different_bytes"][0][1], 10 * CLUSTER, "another file under the old name")
    # the same size and mtime, in an overlay's backing file
    sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", "aside.raw", "-F", "raw", "over.qcow2")
    os.utime("over.qcow2", ns=(old, old))
    time.sleep(2.2)
    look = lambda: b.json("tree", "--cache=cache", "x1.raw", "over.qcow2")
    look()
    equal(look()["images"][1]["cached"], True, "an overlay comes from the cache")
    equal(look()["different_bytes"][0][1], CLUSTER, "it shows what is below")
    with open("aside.raw", "r+b") as f:
        f.write(b"changed")
    os.utime("aside.raw", ns=(old, old))
    equal(look()["different_bytes"][0][1], 2 * CLUSTER, "a change in the backing file is seen through the overlay")


def reads(b):
    """What is read of a backing file counts for the image that lies there, wherever it stands."""
    os.makedirs("reads")
    with open("reads/base.raw", "wb") as f:
        f.write(os.urandom(40 * CLUSTER))
    sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "reads/top.qcow2")
    # a block of the overlay's own: the rest of its cluster is read below
    sh("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", "-b", "base.raw", "-F", "raw",
       "reads/small.qcow2")
    sh("qemu-io", "-c", "write -q -P 1 8k 4k", "reads/small.qcow2")
    for order in [["top.qcow2", "base.raw", "small.qcow2"], ["base.raw", "small.qcow2", "top.qcow2"]]:
        d = b.json("tree", "--cache=none", *[f"reads/{name}" for name in order])
        told = {os.path.basename(i["path"]): i["read_bytes"] for i in d["images"]}
        base = told["base.raw"] - 40 * CLUSTER - (CLUSTER - 4096)
        check(0 <= base < 32768, f"all of the base once, and what the small one needed again: {told}")
        check(told["top.qcow2"] < 1 << 20, f"an empty overlay reads its tables: {told}")


def a_million(b):
    n = 1_000_000
    for name, salt in [("million-a.sig", 1), ("million-b.sig", 2)]:
        # every second cluster, so that runs and ranges are as many
        few = [make_id(i, salt) for i in range(4096)]
        write_signatures(2 * n * CLUSTER, {name: {2 * i: few[i % 4096] for i in range(n)}}, "scratch")
    def small_stack(*args, status):
        p = subprocess.run(["sh", "-c", 'ulimit -s 256; exec "$@"', "sh", b.stemma, *args], env=b.env, capture_output=True)
        equal(p.returncode, status, f"{args[0]} on a small stack: {p.stderr.decode()}")
        return json.loads(p.stdout)
    d = small_stack("tree", "--json", "--threshold=100", "million-a.sig", "million-b.sig", status=0)
    equal(d["different_bytes"][0][1], n * CLUSTER, "a million clusters differ")
    equal(d["tree"]["different_bytes"], n * CLUSTER, "in the tree too")
    d = small_stack("compare", "--json", "million-a.sig", "million-b.sig", status=1)
    equal((d["different_bytes"], d["zero_bytes"], d["first_difference"]), (n * CLUSTER, n * CLUSTER, 0), "compare")
    equal(len(d["ranges"]), n, "ranges")
    equal(d["ranges"][-1], [2 * (n - 1) * CLUSTER, CLUSTER], "the last range")


def width(line):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def many(b):
    """400 images of a few families: within the terminal, at most two lines each, no name twice."""
    os.makedirs("many")
    disks = {}
    for i in range(400):
        family = i % 7
        clusters = {k: make_id(family, k) for k in range(40 + family)}
        for k in range(i % 11):
            clusters[b.random.randrange(40)] = make_id(99, i, k)
        name = ["disk.img", "system-volume-with-a-very-long-name-that-goes-on-and-on-for-ever.qcow2",
                "größe-磁盘.img"][i % 3]
        folder = f"many/{'host-%02d' % (i // 20)}/guest-{i}"
        os.makedirs(folder)
        disks[f"{folder}/{name}.sig"] = clusters
    write_signatures(100 * CLUSTER, disks, "scratch")
    for columns in [80, 120]:
        for more in [[], ["--ascii"]]:
            text = b.run("tree", f"--columns={columns}", *more, "many")
            lines = text.splitlines()
            for line in lines:
                check(width(line) <= columns, f"{columns} columns: {width(line)}: {line}")
            check(len(lines) <= 2 * 400 + 30, f"{len(lines)} lines for 400 images")
    for i in range(400):
        equal(text.count(f"guest-{i}/") >= 1, True, f"image {i} can be found by its shortest name")
    lines = b.run("tree", "--plan", "--columns=80", "many").splitlines()
    check(all(width(line) <= 80 for line in lines), "the plan at 80 columns")
    equal(len(b.json("tree", "many")["images"]), 400, "400 images")


def main():
    need("qemu-img", "qemu-io")
    with Bench() as b:
        os.makedirs("scratch")
        for part in [the_format_is_ours, ties, same_names, changes, reads, a_million, many]:
            start = time.monotonic()
            part(b)
            print(f"{part.__name__}: {time.monotonic() - start:.1f} s")


main()
