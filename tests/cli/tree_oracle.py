#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrices of `stemma tree --json` equal an independent count over qemu-img's raw copies: all formats,
sizes and tails, chains, zero and compressed clusters; variants of one disk are at distance 0."""
import os
from oracle import *

need("qemu-img", "qemu-io", "qemu-nbd")


def random_content(r, size, fill):
    content = bytearray(size)
    at = 0
    while at < size:
        run = min(r.choice([512, 4096, 65536, 200000]), size - at)
        if r.random() < fill:
            content[at:at + run] = r.randbytes(run)
        at += run
    return content


def changed(r, content, n):
    content = bytearray(content)
    for _ in range(n):
        at = r.randrange(len(content))
        length = min(r.choice([1, 512, 70000]), len(content) - at)
        content[at:at + length] = r.choice([bytes(length), r.randbytes(length)])
    return content


def overlay(r, path, backing, fmt, size, cluster):
    sh("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={cluster}", "-b", backing, "-F", fmt,
       path, str(size))
    for _ in range(6):
        at = r.randrange(size // 512) * 512
        length = min(r.choice([512, 4096, 65536, 150000 // 512 * 512]), size - at)
        command = r.choice([f"write -P {r.randrange(1, 255)} {at} {length}", f"write -z {at} {length}"])
        sh("qemu-io", "-c", command, path)


def main():
    with Bench() as b:
        r = b.random
        base = random_content(r, 3 * 1024 * 1024 + r.choice([0, 512, 4096, 40448]), 0.4)
        contents = {"a.raw": base, "b.raw": changed(r, base, 5), "short.raw": base[:1000000],
                    "tail.raw": base[:-20000] + r.randbytes(20000), "odd.raw": base[:70001],
                    "zero.raw": bytearray(200000), "empty.raw": bytearray(),
                    "other.raw": random_content(r, 2 * 1024 * 1024, 0.5)}
        for name, content in contents.items():
            write_sparse(name, content)
        variants = []
        for name, options in {"v2": ["-O", "qcow2", "-o", "compat=0.10"], "v3": ["-O", "qcow2"],
                              "c512": ["-O", "qcow2", "-o", "cluster_size=512"],
                              "c2m": ["-O", "qcow2", "-o", "cluster_size=2M"],
                              "zlib": ["-c", "-O", "qcow2"],
                              "zstd": ["-c", "-O", "qcow2", "-o", "compression_type=zstd"],
                              "sub": ["-O", "qcow2", "-o", "extended_l2=on,cluster_size=128k"],
                              "vmdk": ["-O", "vmdk"], "vhdx": ["-O", "vhdx"], "vdi": ["-O", "vdi"],
                              "qed": ["-O", "qed"], "vhd": ["-O", "vpc", "-o", "force_size"]}.items():
            out = f"variant-{name}"
            sh("qemu-img", "convert", *options, "b.raw", out)
            variants.append(out)
        overlay(r, "over.qcow2", "a.raw", "raw", len(base) // 512 * 512 + 512 * 99, 65536)
        overlay(r, "over2.qcow2", "over.qcow2", "qcow2", 2 * 1024 * 1024, 4096)
        sh("qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=data.bin,data_file_raw=on", "ext.qcow2", "1M")
        sh("qemu-io", "-c", "write -P 9 1000 200000", "ext.qcow2")

        names = list(contents) + variants + ["over.qcow2", "over2.qcow2", "ext.qcow2"]
        for name in names:
            if name not in contents:
                contents[name] = raw_copy(name, "copy.tmp")
        os.unlink("copy.tmp")
        document = b.json("tree", "--cache=none", *names)
        equal([i["path"] for i in document["images"]], names, "images in argument order")
        equal(document["errors"], [], "errors")
        equal(document["cluster_size"], CLUSTER, "cluster_size")
        for i, x in enumerate(names):
            image = document["images"][i]
            # qemu rounds what it shows up to sectors; raw files have any size
            size = os.path.getsize(x) if x.endswith(".raw") else len(contents[x])
            equal(image["virtual_size"], size, f"virtual_size of {x}")
            contents[x] = bytes(contents[x][:size])
            equal(image["data_bytes"], count(contents[x], contents[x])[1], f"data_bytes of {x}")
        for i, x in enumerate(names):
            for j, y in enumerate(names):
                different, shared = count(contents[x], contents[y])
                equal(document["different_bytes"][i][j], different, f"different_bytes of {x} and {y}")
                equal(document["shared_bytes"][i][j], shared, f"shared_bytes of {x} and {y}")
        v = [names.index("b.raw")] + [names.index(x) for x in variants]
        for i in v:
            for j in v:
                equal(document["different_bytes"][i][j], 0, f"{names[i]} and {names[j]} are one disk")

        # signatures stand for images, and the cache gives the same
        b.run("sign", "-o", "sigs", *names)
        again = b.json("tree", *[f"sigs/{n}.sig" for n in names])
        equal(again["different_bytes"], document["different_bytes"], "different_bytes from signature files")
        equal(again["shared_bytes"], document["shared_bytes"], "shared_bytes from signature files")


main()
