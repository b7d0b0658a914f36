#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`stemma rebase` tells which definitions of guests a replacement would break: libvirt's that say raw or have a
<backingStore>, Proxmox VE's volumes named .raw; before it is done, and only for what is replaced."""
from rebase_family import *

need("qemu-img")


def xml(name, disks):
    text = "".join(f"<disk type='file' device='disk'>{driver}<source file='{os.path.abspath(path)}'/>{more}"
                   f"<target dev='{target}'/></disk>" for path, target, driver, more in disks)
    return f"<domain type='kvm'><name>{name}</name><devices>{text}</devices></domain>"


RAW = "<driver name='qemu' type='raw'/>"
QCOW2 = "<driver name='qemu' type='qcow2'/>"


def make(b):
    base = b.random.randbytes(2 * MIB)
    for i, name in enumerate(["a.raw", "b.raw", "c.qcow2", "d.qcow2", "e.raw"]):
        content = bytearray(base)
        content[i * 100000:i * 100000 + 50] = b.random.randbytes(50)
        write_sparse("flat.tmp", content)
        if name.endswith(".raw"):
            os.rename("flat.tmp", name)
        else:
            sh("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "flat.tmp", name)
    write_sparse("stranger.raw", b.random.randbytes(MIB))
    with open("../d.xml", "w") as f:
        f.write("<domains>" + xml("one", [("a.raw", "vda", RAW, ""), ("c.qcow2", "vdb", QCOW2, "")]) +
                xml("two", [("b.raw", "vda", "", ""), ("d.qcow2", "vdb", QCOW2, "<backingStore/>"),
                            ("stranger.raw", "vdc", RAW, "")]) + "</domains>")


def wanted(document):
    return {(d["domain"], d["target"]): (d["kind"], os.path.basename(d["path"]), d["defined_type"], d["driver_type"],
                                         d["remove_backing_store"], d["needs_change"]) for d in document["domains"]}


EXPECTED = {("one", "vda"): ("libvirt", "a.raw", "raw", "qcow2", False, True),
            ("one", "vdb"): ("libvirt", "c.qcow2", "qcow2", "qcow2", False, False),
            ("two", "vda"): ("libvirt", "b.raw", None, "qcow2", False, True),
            ("two", "vdb"): ("libvirt", "d.qcow2", "qcow2", "qcow2", True, True)}


def check_text(text, what):
    change = text[text.index("must be changed"):text.index("right as they are")]
    right = text[text.index("right as they are"):]
    for name in ["a.raw", "b.raw", "d.qcow2"]:
        check(name in change and name not in right, f"{what}: {name} needs a change:\n{text}")
    check("c.qcow2" in right and "c.qcow2" not in change, f"{what}: c.qcow2 is right as it is:\n{text}")
    check("stranger.raw" not in change + right, f"{what}: stranger.raw is not replaced:\n{text}")


def check_proxmox(b):
    os.makedirs("pve/qemu-server")
    os.makedirs("store/images/100")
    os.makedirs("store/images/101")
    base = b.random.randbytes(2 * MIB)
    for i in (100, 101):
        content = bytearray(base)
        content[i * 1000:i * 1000 + 9] = b.random.randbytes(9)
        write_sparse(f"store/images/{i}/vm-{i}-disk-0.raw", content)
        with open(f"pve/qemu-server/{i}.conf", "w") as f:
            f.write(f"name: vm{i}\nscsi0: here:{i}/vm-{i}-disk-0.raw,size=2M\n")
    with open("pve/storage.cfg", "w") as f:
        f.write(f"dir: here\n\tpath {os.path.abspath('store')}\n\tcontent images\n")
    document = b.json("rebase", "--pve-conf=pve/qemu-server")
    equal(sorted((d["kind"], d["target"], d["needs_change"]) for d in document["domains"]),
          [("proxmox", "scsi0", True)] * 2, "Proxmox VE guests")
    b.run("rebase", "--pve-conf=pve/qemu-server")
    check("from the name" in b.stderr and "vm-100-disk-0.raw" in b.stderr, f"warned: {b.stderr}")
    check("VMID.conf" in b.stdout, f"what to do: {b.stdout}")


def main():
    with Bench() as b:
        os.mkdir("images")
        os.chdir("images")
        make(b)
        names = ["a.raw", "b.raw", "c.qcow2", "d.qcow2", "e.raw", "stranger.raw"]
        contents = {n: content_of(n) for n in names}
        document = b.json("rebase", "--domain-xml=../d.xml", "e.raw")
        equal(wanted(document), EXPECTED, "definitions in the dry run")
        check(any("raw image" in w["message"] for w in document["warnings"]), "a raw image that becomes qcow2")
        check_text(b.run("rebase", "--domain-xml=../d.xml", "e.raw"), "dry run")
        for name in ["a.raw", "b.raw"]:
            check(f"{name}: disk vda" in b.stderr and "destroy" in b.stderr, f"warned of {name}: {b.stderr}")
        check("stranger" not in b.stderr, f"not warned of what stays: {b.stderr}")
        # no definition needed to be warned that raw becomes qcow2
        b.run("rebase", "a.raw", "b.raw")
        check("raw image" in b.stderr and "qcow2" in b.stderr, f"warned without definitions: {b.stderr}")

        check_text(b.run("rebase", "--replace", "--domain-xml=../d.xml", "e.raw"), "replace")
        check("destroy" in b.stderr, f"warned before it is done: {b.stderr}")
        for name in names:
            equal(content_of(name) == contents[name], True, f"content of {name}")
        # the definitions still say raw: stemma knows better, and says so
        document = b.json("rebase", "--domain-xml=../d.xml", "e.raw")
        equal((document["domains"], document["steps"], document["errors"]), ([], [], []), "nothing to do")
        check(sum("still defined as raw" in w["message"] for w in document["warnings"]) >= 1,
              f"the stale definition is told: {document['warnings']}")
        tree = b.json("tree", "--domain-xml=../d.xml")
        formats = {os.path.basename(i["path"]): i["format"] for i in tree["images"]}
        equal(formats["a.raw"], "qcow2", "format of what the definition calls raw")
        equal(formats["stranger.raw"], "raw", "format of a raw image")
        os.chdir("..")
        check_proxmox(b)


main()
