#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests of libvirt and Proxmox VE: their disks are found, a guest with several disks is one leaf, and
its distance adds up those of its disks."""
import os, shutil
from oracle import *

need("qemu-img")

DOMAIN = """<domain type='test'><name>{name}</name><memory>1000</memory><os><type>hvm</type></os><devices>
{disks}<disk type='file' device='cdrom'><source file='/nowhere.iso'/><target dev='hdc'/></disk></devices></domain>"""
DISK = ("<disk type='file' device='disk'><driver name='qemu' type='{format}'/><source file='{path}'/>"
        "<target dev='{target}'/></disk>\n")


def domain(name, *disks):
    text = "".join(DISK.format(path=os.path.abspath(path), format=form, target=target)
                   for path, form, target in disks)
    return DOMAIN.format(name=name, disks=text)


def main():
    with Bench(seed=5) as b:
        r = b.random
        contents = {"web-a.raw": r.randbytes(300000), "web-b.raw": r.randbytes(200000), "db.raw": None,
                    "two-a.raw": None, "two-b.raw": None}
        contents["db.raw"] = contents["web-a.raw"][:200000] + r.randbytes(100000)
        contents["two-a.raw"] = contents["web-a.raw"][:250000] + r.randbytes(50000)
        contents["two-b.raw"] = contents["web-b.raw"][:100000]
        for name, content in contents.items():
            write_sparse(name, content)
        os.mkdir("xml")
        for name, text in {
                "1.xml": domain("web", ("web-a.raw", "raw", "vda"), ("web-b.raw", "raw", "vdb")),
                "2.xml": domain("db", ("db.raw", "raw", "vda")),
                "3.xml": domain("two", ("two-a.raw", "raw", "vda"), ("two-b.raw", "raw", "vdb"))}.items():
            with open(f"xml/{name}", "w") as f:
                f.write(text)
        d = b.json("tree", "--domain-xml=xml", "--linkage=complete", "--threshold=100")
        names = [os.path.basename(i["path"]) for i in d["images"]]
        equal(names, ["web-a.raw", "web-b.raw", "db.raw", "two-a.raw", "two-b.raw"], "disks in order")
        equal([i["guest"] for i in d["images"]], ["web", "web", "db", "two", "two"], "guests")
        for i, x in enumerate(names):
            for j, y in enumerate(names):
                equal(d["different_bytes"][i][j], count(contents[x], contents[y])[0], f"{x} {y}")
        # three leaves: web and two join first; with complete linkage the root is the farthest pair
        pair = {}
        for a, b2 in (("web", "two"), ("web", "db"), ("two", "db")):
            disks = {"web": ["web-a.raw", "web-b.raw"], "two": ["two-a.raw", "two-b.raw"],
                     "db": ["db.raw"]}
            x, y = disks[a], disks[b2]
            pair[a, b2] = sum(count(contents[x[k]] if k < len(x) else b"",
                                    contents[y[k]] if k < len(y) else b"")[0]
                              for k in range(max(len(x), len(y))))
        equal(d["tree"]["different_bytes"], max(pair.values()), "the farthest guests")
        inner = [c for c in d["tree"]["children"] if "children" in c]
        equal(len(inner), 1, "one pair joins first")
        equal(inner[0]["different_bytes"], min(pair.values()), "the nearest guests")
        leaves = [c for c in inner[0]["children"] + d["tree"]["children"] if "guest" in c]
        equal(sorted(l["guest"] for l in leaves), ["two", "web"], "guests with several disks are one leaf")
        equal(sorted(i for f in d["families"] for i in f), [0, 1, 2, 3, 4], "families name all disks")

        only = b.json("tree", "--domain-xml=xml", "--domain=db", "web-a.raw")
        equal([i["guest"] for i in only["images"]], [None, "db"], "--domain chooses")
        b.run("tree", "--domain-xml=xml", "--domain=nobody", status=3)
        check("nobody" in b.stderr, "the guest that does not exist is named")

        text = b.run("tree", "--domain-xml=xml", "--columns=100")
        check("web" in text and "2 disks" in text, "text shows the guest as one")

        os.makedirs("pve/qemu-server")
        os.makedirs("store/images/100")
        shutil.copy("web-a.raw", "store/images/100/vm-100-disk-0.raw")
        with open("pve/storage.cfg", "w") as f:
            f.write(f"dir: local\n\tpath {os.path.abspath('store')}\n\tcontent images\n\n"
                    "lvmthin: thin\n\tthinpool data\n\tvgname pve\n\tcontent images\n")
        with open("pve/qemu-server/100.conf", "w") as f:
            f.write("name: web\nscsi0: local:100/vm-100-disk-0.raw,size=1M\nide2: none,media=cdrom\n"
                    "scsi1: thin:vm-100-disk-1,size=4G\n\n[old]\nscsi0: local:100/gone.raw\n")
        d = b.json("tree", "--pve-conf=pve/qemu-server", "web-a.raw", status=3)
        equal([os.path.basename(i["path"]) for i in d["images"]], ["web-a.raw", "vm-100-disk-0.raw"], "Proxmox disks")
        check("web" in d["images"][1]["guest"] and "100" in d["images"][1]["guest"], "Proxmox names")
        equal(d["different_bytes"][0][1], 0, "the copy is a copy")
        check(any("vm-100-disk-1" in e["path"] for e in d["errors"]), "the missing volume is told")

        if shutil.which("virsh"):
            with open("xml/node.xml", "w") as f:
                f.write("<node>" + "".join(f"<domain file='{n}.xml'/>" for n in (1, 2, 3)) + "</node>")
            b.env["LIBVIRT_DEFAULT_URI"] = "test://" + os.path.abspath("xml/node.xml")
            d = b.json("tree", "--all-domains")
            equal(sorted(i["guest"] for i in d["images"]), ["db", "two", "two", "web", "web"], "libvirt's guests")
            d = b.json("tree", "--domain=two")
            equal([i["guest"] for i in d["images"]], ["two", "two"], "one of libvirt's guests")
        else:
            print("virsh is not installed: libvirt itself was not asked")


main()
