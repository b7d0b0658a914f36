/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Definitions as libvirt 9 and Proxmox VE 8 write them, and as an enemy would. */
#include "../alloc_fail.h"
#include "../test.h"

#include "base/auto.h"
#include "disk/guest_config.h"

#include <stdio.h>
#include <string.h>

static struct guest_list list;
static struct error e;

static int reset(void **state)
{
    (void)state;
    guest_list_release(&list);
    return 0;
}

static int parse(const char *xml)
{
    return guest_config_parse_libvirt(xml, strlen(xml), &list, &e);
}

static int parse_pve(const char *name, const char *text)
{
    return guest_config_parse_pve(name, text, strlen(text), &list, &e);
}

/* format and why_not: NULL where there is none. */
static void assert_disk(const struct guest_disk *d, const char *target, const char *source,
                        const char *format, const char *why_not)
{
    assert_string_equal(d->target, target);
    assert_string_equal(d->source, source);
    if (format == NULL)
        assert_null(d->format);
    else
        assert_string_equal(d->format, format);
    if (why_not == NULL && d->why_not != NULL)
        fail_msg("%s: %s", target, d->why_not);
    if (why_not != NULL)
        assert_string_equal(d->why_not, why_not);
}

#define DOMAIN(disks) "<domain type='kvm'><name>web</name><devices>" disks "</devices></domain>"

/* ---- libvirt ---- */

static const char live[] =
    "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\n"
    "OVERWRITTEN AND LOST.\n-->\n"
    "<domstatus state='running' reason='booted' pid='4711'>\n"
    "  <taint flag='host-cpu'/>\n"
    "  <monitor path='/var/lib/libvirt/qemu/domain-3-web/monitor.sock' type='unix'/>\n"
    "  <blockjobs active='yes'><blockjob name='j'><disk type='file'><source file='/job'/></disk>\n"
    "  </blockjob></blockjobs>\n"
    "  <domain type='kvm' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
    "    <name>web &amp; &#xfc;ber</name>\n"
    "    <uuid>7b0c5c1e-5d2a-4c11-8bd1-0f5a3c1de001</uuid>\n"
    "    <metadata><x:name xmlns:x='urn:x'>not this</x:name><disk/></metadata>\n"
    "    <devices>\n"
    "      <emulator>/usr/bin/qemu-system-x86_64</emulator>\n"
    "      <disk type='file' device='disk'>\n"
    "        <driver name='qemu' type='qcow2' discard='unmap'/>\n"
    "        <source file='/var/lib/libvirt/images/web.qcow2' index='3'>\n"
    "          <privateData><nodenames><nodename type='storage' name='x'/></nodenames>\n"
    "          </privateData></source>\n"
    "        <backingStore type='file' index='4'>\n"
    "          <format type='qcow2'/>\n"
    "          <source file='/srv/base/debian-12.qcow2'/>\n"
    "          <backingStore type='block' index='5'>\n"
    "            <format type='raw'/>\n"
    "            <source dev='/dev/vg/golden'/>\n"
    "            <backingStore/>\n"
    "          </backingStore>\n"
    "        </backingStore>\n"
    "        <mirror type='file' job='copy' ready='yes'><format type='raw'/>\n"
    "          <source file='/srv/copy.raw'/><backingStore type='file'>\n"
    "          <source file='/srv/copybase'/></backingStore></mirror>\n"
    "        <target dev='vda' bus='virtio'/>\n"
    "        <alias name='virtio-disk0'/>\n"
    "      </disk>\n"
    "      <disk type='block' device='lun'><driver name='qemu' type='raw'/>\n"
    "        <source dev='/dev/sdb'/><target dev='sda' bus='scsi'/><readonly/></disk>\n"
    "      <disk type='file' device='cdrom'><driver name='qemu' type='raw'/>\n"
    "        <source file='/srv/iso/debian.iso'/><target dev='hda' bus='ide'/><readonly/></disk>\n"
    "      <disk type='file' device='floppy'><target dev='fda' bus='fdc'/></disk>\n"
    "      <filesystem type='mount'><source dir='/srv'/><target dir='x'/></filesystem>\n"
    "    </devices>\n"
    "  </domain>\n"
    "</domstatus>\n";

static void a_running_guest_has_its_disks_and_chains(void **state)
{
    const struct guest *g;

    (void)state;
    assert_ok(parse(live), &e);
    assert_int_equal(list.n, 1);
    g = &list.guests[0];
    assert_string_equal(g->name, "web & \303\274ber");
    assert_string_equal(g->uuid, "7b0c5c1e-5d2a-4c11-8bd1-0f5a3c1de001");
    assert_true(g->running);
    assert_int_equal(g->n_disks, 2);
    assert_disk(&g->disks[0], "vda", "/var/lib/libvirt/images/web.qcow2", "qcow2", NULL);
    assert_string_equal(g->disks[0].backing[0], "/srv/base/debian-12.qcow2");
    assert_string_equal(g->disks[0].backing[1], "/dev/vg/golden");
    assert_null(g->disks[0].backing[2]);
    assert_false(g->disks[0].device);
    assert_false(g->disks[0].read_only);
    assert_true(g->disks[0].backing_store);
    assert_disk(&g->disks[1], "sda", "/dev/sdb", "raw", NULL);
    assert_null(g->disks[1].backing);
    assert_true(g->disks[1].device);
    assert_true(g->disks[1].read_only);
    assert_false(g->disks[1].backing_store);
}

static void what_cannot_be_opened_says_why(void **state)
{
    static const char xml[] = DOMAIN(
        "<disk type='network'><driver name='qemu' type='raw'/>"
        "<source protocol='rbd' name='pool/image'><host name='mon1' port='6789'/></source>"
        "<target dev='vda'/></disk>"
        "<disk type='volume'><source pool='default' volume='web.qcow2'/><target dev='vdb'/></disk>"
        "<disk type='dir'><source dir='/srv/fat'/><target dev='vdc'/></disk>"
        "<disk type='nvme'><source type='pci' managed='yes' namespace='1'>"
        "<address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source>"
        "<target dev='vdd'/></disk>"
        "<disk type='vhostuser'><source type='unix' path='/run/v.sock'/><target dev='vde'/></disk>"
        "<disk type='file'><target dev='vdf'/></disk>"
        "<disk type='file'><source file='/a.raw'><slices><slice type='storage' offset='12345'"
        " size='123'/></slices></source><target dev='vdg'/></disk>"
        "<disk type='tape&#10;'><source file='/a'/><target dev='vdh'/></disk>"
        "<disk device='drum'><source file='/a'/><target dev='vdi'/></disk>");
    const struct guest_disk *d;

    (void)state;
    assert_ok(parse(xml), &e);
    assert_int_equal(list.guests[0].n_disks, 9);
    d = list.guests[0].disks;
    assert_disk(&d[0], "vda", "pool/image", "raw", "network disk (rbd)");
    assert_disk(&d[1], "vdb", "default/web.qcow2", NULL, "volume of a libvirt storage pool");
    assert_disk(&d[2], "vdc", "/srv/fat", NULL, "a directory shown as a disk");
    assert_disk(&d[3], "vdd", "", NULL, "NVMe device that the guest drives itself");
    assert_disk(&d[4], "vde", "/run/v.sock", NULL, "disk of another process (vhostuser)");
    assert_disk(&d[5], "vdf", "", NULL, "no medium");
    assert_disk(&d[6], "vdg", "/a.raw", NULL, "only a slice of the file is the disk");
    assert_disk(&d[7], "vdh", "/a", NULL, "disk of unknown type 'tape\\x0a'");
    assert_disk(&d[8], "vdi", "/a", NULL, "device of unknown kind 'drum'");
}

static void first_of_two_elements_counts_and_missing_ones_get_defaults(void **state)
{
    static const char xml[] =
        "<domain><name>a\nb</name><name>c</name><uuid>1</uuid><uuid>2</uuid>"
        "<devices><disk><source/><source file='/late'/></disk></devices>"
        "<devices><disk><driver/><source file='/x&#9;&lt;'/><source file='/y'/><target bus='ide'/>"
        "</disk></devices></domain>";

    (void)state;
    assert_ok(parse(xml), &e);
    assert_string_equal(list.guests[0].name, "a\nb");
    assert_string_equal(list.guests[0].uuid, "1");
    assert_false(list.guests[0].running);
    assert_int_equal(list.guests[0].n_disks, 2);
    assert_disk(&list.guests[0].disks[0], "disk1", "", NULL, "no medium");
    assert_disk(&list.guests[0].disks[1], "disk2", "/x\t<", NULL, NULL);
}

static void wrapped_domains_are_found(void **state)
{
    (void)state;
    assert_ok(parse("<domainsnapshot><name>snap</name><state>running</state>"
                    "<disks><disk name='vda' snapshot='external'><source file='/n'/></disk></disks>"
                    "<domain id='7'><name>a</name></domain>"
                    "<inactiveDomain><name>b</name></inactiveDomain></domainsnapshot>"),
              &e);
    assert_int_equal(list.n, 1);
    assert_string_equal(list.guests[0].name, "a");
    assert_false(list.guests[0].running);
    guest_list_release(&list);
    assert_ok(parse("<domains><domain id='7'><name>a</name></domain><domain id='-1'><name>b</name>"
                    "</domain><domstatus pid='0' state='shutoff'><domain id='1'><name>c</name>"
                    "</domain></domstatus><domstatus state='paused'><domain><name>d</name>"
                    "</domain></domstatus></domains>"),
              &e);
    assert_int_equal(list.n, 4);
    assert_true(list.guests[0].running);
    assert_false(list.guests[1].running);
    assert_false(list.guests[2].running);
    assert_true(list.guests[3].running);
}

static void what_is_no_domain_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "x",
        "<domain>",
        "<network><name>a</name></network>",
        "<domain></domain>",
        "<domain><name/></domain>",
        "<domain><name>a</name></domain><domain/>",
        "<domain><name>&unknown;</name></domain>",
        "<domain><name>a\x1b</name></domain>",
        "<domain><name>&#27;</name></domain>",
        "<domain><name>\xff</name></domain>",
        "<domstatus/>",
        "<domainsnapshot><name>a</name></domainsnapshot>",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (parse(bad[i]) != -1 || e.code != ERR_FORMAT)
            fail_msg("%s", bad[i]);
    }
    assert_int_equal(list.n, 0);
}

static void entities_are_refused_before_they_are_read(void **state)
{
    static const char *const bad[] = {
        "<!DOCTYPE d [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]><domain><name>&b;</name></domain>",
        "<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><domain><name>&a;</name></domain>",
        "<!DOCTYPE d SYSTEM 'http://example.org/d.dtd'><domain><name>a</name></domain>",
        "<!DOCTYPE domain><domain><name>a</name></domain>",
        "<!DOCTYPE d [<!ENTITY % p SYSTEM 'x'>%p;]><domain><name>a</name></domain>",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(bad[i]), -1);
        assert_int_equal(e.code, ERR_UNSUPPORTED);
        assert_non_null(strstr(e.msg, "document type"));
    }
}

/* HEAD, n times EACH, TAIL; for free(). */
static char *repeated(const char *head, size_t n, const char *each, const char *tail)
{
    struct buf b = {};

    buf_put(&b, head, strlen(head));
    for (size_t i = 0; i < n; i++)
        buf_put(&b, each, strlen(each));
    buf_put(&b, tail, strlen(tail) + 1);
    assert_false(b.failed);
    return (char *)b.bytes;
}

static void assert_limit(char *xml)
{
    assert_int_equal(parse(xml), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    free(xml);
}

#define BACKING "<backingStore type='file'><source file='/b'/>"

static void limits_hold(void **state)
{
    char *xml;

    (void)state;
    assert_limit(repeated("<domain><name>a</name>", 400, "<x>", ""));
    assert_limit(repeated("<domain><name>a</name>", 1 << 20, " ", "</domain>"));
    assert_limit(repeated("<domain><name>", 4097, "a", "</name></domain>"));
    assert_limit(
        repeated("<domain><name>a</name><devices>", 257, "<disk/>", "</devices></domain>"));
    assert_limit(repeated("<domain><name>a</name><devices><disk><source file='", 4097, "a",
                          "'/></disk></devices></domain>"));
    assert_limit(repeated("<domain><name>a</name><devices><disk>", 257, BACKING "</backingStore>",
                          "</disk></devices></domain>"));
    assert_limit(repeated("<domain><name>a</name><devices>", 256,
                          "<disk><source file='/" /* 256 of 260 do not fit a record */
                          "0123456789012345678901234567890123456789012345678901234567890123456789"
                          "0123456789012345678901234567890123456789012345678901234567890123456789"
                          "0123456789012345678901234567890123456789012345678901234567890123456789"
                          "012345678901234567890123456789012345678901234567890123456789"
                          "'/></disk>",
                          "</devices></domain>"));
    xml = repeated("<domain><name>", 4096, "a", "</name></domain>");
    assert_ok(parse(xml), &e);
    free(xml);
}

static void a_chain_of_256_files_is_read(void **state)
{
    char *nested = repeated("", 256, BACKING, "");
    char *closed = repeated("", 256, "</backingStore>", "");
    struct buf b = {};

    (void)state;
    buf_printf(&b, "<domain><name>a</name><devices><disk>%s%s</disk></devices></domain>%c", nested,
               closed, 0);
    free(nested);
    free(closed);
    assert_ok(parse((char *)b.bytes), &e);
    buf_release(&b);
    assert_string_equal(list.guests[0].disks[0].backing[255], "/b");
    assert_null(list.guests[0].disks[0].backing[256]);
}

/* ---- Proxmox VE ---- */

static const char vm_100[] =
    "# web%0Afrontend\n"
    "agent: 1\n"
    "boot: order=scsi0;ide2;net0\n"
    "efidisk0: local-lvm:vm-100-disk-3,efitype=4m,pre-enrolled-keys=1,size=4M\n"
    "ide2: local:iso/debian-12.5.0-amd64-netinst.iso,media=cdrom,size=629M\n"
    "ide0: local-lvm:vm-100-cloudinit,media=cdrom\n"
    "memory: 4096\n"
    "name: web01\n"
    "net0: virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1\n"
    "parent: before\n"
    "sata0: none\n"
    "scsi0: local-lvm:vm-100-disk-0,discard=on,iothread=1,size=32G,ssd=1\n"
    "scsi1: local:100/vm-100-disk-1.qcow2,size=8G,ro=1\r\n"
    "scsi30: file=nas:100/vm-100-disk-2,format=raw\n"
    "scsi31: local:100/none-such\n"
    "scsi01: local:100/none-such\n"
    "scsihw: virtio-scsi-single\n"
    "smbios1: uuid=0a1b2c3d-0000-4000-8000-000000000100\n"
    "tpmstate0: local-lvm:vm-100-disk-4,size=4M,version=v2.0\n"
    "unused0: local-lvm:vm-100-disk-5\n"
    "virtio0: /dev/disk/by-id/ata-DISK_1=2,size=3907018584K\n"
    "vmgenid: 11111111-0000-4000-8000-000000000100\n"
    "\n"
    "[PENDING]\n"
    "scsi0: local-lvm:vm-100-disk-9\n"
    "\n"
    "[before]\n"
    "name: old\n"
    "scsi5: local-lvm:vm-100-disk-7\n"
    "snaptime: 1700000000\n";

static void a_proxmox_guest_has_its_disks(void **state)
{
    const struct guest *g;

    (void)state;
    assert_ok(parse_pve("/etc/pve/qemu-server/100.conf", vm_100), &e);
    assert_int_equal(list.n, 1);
    g = &list.guests[0];
    assert_string_equal(g->name, "100 (web01)");
    assert_string_equal(g->uuid, "0a1b2c3d-0000-4000-8000-000000000100");
    assert_int_equal(g->n_disks, 5);
    assert_disk(&g->disks[0], "sata0", "none", NULL, "no medium");
    assert_disk(&g->disks[1], "scsi0", "local-lvm:vm-100-disk-0", NULL, NULL);
    assert_disk(&g->disks[2], "scsi1", "local:100/vm-100-disk-1.qcow2", NULL, NULL);
    assert_true(g->disks[2].read_only);
    assert_disk(&g->disks[3], "scsi30", "nas:100/vm-100-disk-2", "raw", NULL);
    assert_disk(&g->disks[4], "virtio0", "/dev/disk/by-id/ata-DISK_1=2", "raw", NULL);
    assert_true(g->disks[4].device);
    assert_false(g->disks[1].device);
}

static void the_last_of_two_lines_counts(void **state)
{
    (void)state;
    assert_ok(parse_pve("100.conf", "scsi0: a:1\nscsi1: b:1\nscsi0: c:1,ro=1\nscsi1: none,"
                                    "media=cdrom\nscsi2: d:1\n"),
              &e);
    assert_string_equal(list.guests[0].name, "100");
    assert_int_equal(list.guests[0].n_disks, 2);
    assert_disk(&list.guests[0].disks[0], "scsi0", "c:1", NULL, NULL);
    assert_disk(&list.guests[0].disks[1], "scsi2", "d:1", NULL, NULL);
}

static void what_is_no_proxmox_guest_is_refused(void **state)
{
    static const char *const names[] = {
        "web.conf", "100", "100.conf~", "0100.conf", ".conf", "1234567890.conf", "100.conf/"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(parse_pve(names[i], vm_100), -1);
        assert_int_equal(e.code, ERR_FORMAT);
    }
    assert_int_equal(parse_pve("100.conf", "<domain/>\n"), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    assert_int_equal(guest_config_parse_pve("100.conf", "a: b\0c", 6, &list, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    assert_ok(parse_pve("100.conf", ""), &e);
}

static const char storage[] = "dir: local\n"
                              "\tpath /var/lib/vz/\n"
                              "\tcontent iso,vztmpl,backup,images\n"
                              "\n"
                              "# thin\n"
                              "lvmthin: local-lvm\n"
                              "\tthinpool data\n"
                              "\tvgname pve\n"
                              "\n"
                              "lvm: san\n"
                              "        vgname san-vg\n"
                              "\n"
                              "zfspool: tank\n"
                              "\tpool rpool/data\n"
                              "\tsparse\n"
                              "\n"
                              "nfs: nas\n"
                              "\texport /srv\n"
                              "\tserver 10.0.0.2\n"
                              "\n"
                              "cifs: share\n"
                              "\tpath /mnt/share\n"
                              "\tcontent-dirs backup=b,images=vm/disks\n"
                              "\n"
                              "btrfs: bt\n"
                              "\tpath /bt\n"
                              "\n"
                              "rbd: ceph\n"
                              "\tpool vms\n"
                              "\n"
                              "dir: nopath\n"
                              "\n"
                              "lvm: up\n"
                              "\tvgname ..\n";

static void assert_path(const char *volume, const char *path, const char *format, bool device,
                        const char *base)
{
    struct guest_disk *d;
    AUTO_FREE char *text = NULL;

    assert_true(asprintf(&text, "scsi0: %s\n", volume) > 0);
    guest_list_release(&list);
    assert_ok(parse_pve("100.conf", text), &e);
    d = &list.guests[0].disks[0];
    assert_ok(guest_config_pve_path(storage, strlen(storage), d, &e), &e);
    assert_disk(d, "scsi0", path, format, NULL);
    assert_int_equal(d->device, device);
    if (base == NULL) {
        assert_null(d->backing);
    } else {
        assert_string_equal(d->backing[0], base);
        assert_null(d->backing[1]);
    }
}

static void volumes_become_paths(void **state)
{
    (void)state;
    assert_path("local:100/vm-100-disk-1.qcow2", "/var/lib/vz/images/100/vm-100-disk-1.qcow2",
                "qcow2", false, NULL);
    assert_path("local:9000/base-9000-disk-0.qcow2/100/vm-100-disk-0.vmdk",
                "/var/lib/vz/images/100/vm-100-disk-0.vmdk", "vmdk", false,
                "/var/lib/vz/images/9000/base-9000-disk-0.qcow2");
    assert_path("local-lvm:vm-100-disk-0", "/dev/pve/vm-100-disk-0", "raw", true, NULL);
    assert_path("san:vm-100-disk-0.qcow2", "/dev/san-vg/vm-100-disk-0.qcow2", "qcow2", true, NULL);
    assert_path("tank:vm-100-disk-0", "/dev/zvol/rpool/data/vm-100-disk-0", "raw", true, NULL);
    assert_path("tank:base-9000-disk-0/vm-100-disk-0", "/dev/zvol/rpool/data/vm-100-disk-0", "raw",
                true, NULL);
    assert_path("nas:100/vm-100-disk-0.raw", "/mnt/pve/nas/images/100/vm-100-disk-0.raw", "raw",
                false, NULL);
    assert_path("share:100/vm-100-disk-0.raw", "/mnt/share/vm/disks/100/vm-100-disk-0.raw", "raw",
                false, NULL);
    assert_path("bt:100/vm-100-disk-0.raw", "/bt/images/100/vm-100-disk-0/disk.raw", "raw", false,
                NULL);
    assert_path("local:100/vm-100-disk-1,format=qcow2", "/var/lib/vz/images/100/vm-100-disk-1",
                "qcow2", false, NULL);
    assert_path("/dev/sdb", "/dev/sdb", "raw", true, NULL);
}

static void volumes_that_have_no_path_say_why(void **state)
{
    static const char *const volumes[] = {
        "ceph:vm-100-disk-0",
        "gone:vm-100-disk-0",
        "nopath:100/vm-100-disk-0.raw",
        "up:vm-100-disk-0",
        "local:100/../../../../etc/shadow",
        "local:100/..",
        "local:iso/a.iso",
        "local:9000/base/100/vm/more",
        "local:vm",
        "local:100/",
        "local-lvm:a/../b",
        "local-lvm:..",
        "local",
        "local:",
    };

    (void)state;
    for (size_t i = 0; i < sizeof volumes / sizeof *volumes; i++) {
        AUTO_FREE char *text = NULL;
        struct guest_disk *d;

        assert_true(asprintf(&text, "scsi0: %s\n", volumes[i]) > 0);
        guest_list_release(&list);
        assert_ok(parse_pve("100.conf", text), &e);
        d = &list.guests[0].disks[0];
        assert_ok(guest_config_pve_path(storage, strlen(storage), d, &e), &e);
        if (d->why_not == NULL)
            fail_msg("%s became %s", volumes[i], d->source);
        assert_string_equal(d->source, volumes[i]);
    }
}

static void local_storage_needs_no_file(void **state)
{
    struct guest_disk *d;

    (void)state;
    assert_ok(parse_pve("100.conf", "scsi0: local:100/a.raw\n"), &e);
    d = &list.guests[0].disks[0];
    assert_int_equal(guest_config_pve_path("nonsense\n", 9, d, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    assert_disk(d, "scsi0", "local:100/a.raw", NULL, NULL);
    assert_ok(guest_config_pve_path(NULL, 0, d, &e), &e);
    assert_disk(d, "scsi0", "/var/lib/vz/images/100/a.raw", "raw", NULL);
}

/* ---- records ---- */

static void assert_same(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        assert_ptr_equal(a, b);
    else
        assert_string_equal(a, b);
}

static void assert_equal_guests(const struct guest *a, const struct guest *b)
{
    assert_same(a->name, b->name);
    assert_same(a->uuid, b->uuid);
    assert_int_equal(a->running, b->running);
    assert_int_equal(a->n_disks, b->n_disks);
    for (size_t i = 0; i < a->n_disks; i++) {
        const struct guest_disk *x = &a->disks[i], *y = &b->disks[i];

        assert_same(x->target, y->target);
        assert_same(x->source, y->source);
        assert_same(x->format, y->format);
        assert_same(x->why_not, y->why_not);
        assert_int_equal(x->device, y->device);
        assert_int_equal(x->read_only, y->read_only);
        assert_int_equal(x->backing_store, y->backing_store);
        assert_int_equal(x->backing != NULL, y->backing != NULL);
        for (size_t k = 0; x->backing != NULL && (k == 0 || x->backing[k - 1] != NULL); k++)
            assert_same(x->backing[k], y->backing[k]);
    }
}

static void a_guest_survives_its_record_and_no_shorter_one(void **state)
{
    AUTO_BUF b = {};
    struct guest again = {};
    struct cursor c;

    (void)state;
    assert_ok(parse(live), &e);
    assert_int_equal(guest_encode(&b, &list.guests[0]), 0);
    for (size_t n = 0; n < b.length; n++) {
        c = cursor_of(b.bytes, n);
        assert_int_equal(guest_decode(&c, &again, &e), -1);
        assert_int_equal(e.code, ERR_PEER);
    }
    c = cursor_of(b.bytes, b.length);
    assert_ok(guest_decode(&c, &again, &e), &e);
    assert_int_equal(cursor_left(&c), 0);
    assert_equal_guests(&list.guests[0], &again);
    guest_release(&again);
}

static void a_record_that_lies_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } bad[] = {
#define RECORD(text) {text, sizeof(text) - 1}
        RECORD("\0\0\0\0\0\0\0"),   /* no name */
        RECORD("\1\0\0\0a\4\0\0"),  /* unknown flag */
        RECORD("\1\0\0\0a\0\1\1"),  /* 257 disks */
        RECORD("\1\0\0\0\0\0\0\0"), /* NUL in a string */
        RECORD("\xff\xff\xff\xff"
               "a"),                                     /* a huge string */
        RECORD("\1\0\0\0a\0\1\0\0\0\0\0\0\0\0\0\100"),   /* unknown flag of a disk */
        RECORD("\1\0\0\0a\0\1\0\0\0\0\0\0\0\0\0\4\0\0"), /* a chain of nothing */
        RECORD("\1\0\0\0a\0\1\0\0\0\0\0\0\0\0\0\4\1\1"), /* one of 257 */
    };
    struct guest g = {};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cursor c = cursor_of(bad[i].bytes, bad[i].length);

        assert_int_equal(guest_decode(&c, &g, &e), -1);
        assert_int_equal(e.code, ERR_PEER);
    }
}

/* ---- no memory ---- */

static int run_libvirt(void *arg, struct error *error)
{
    struct guest_list l = {};
    int result = guest_config_parse_libvirt(live, sizeof live - 1, &l, error);

    (void)arg;
    guest_list_release(&l);
    return result;
}

static int run_pve(void *arg, struct error *error)
{
    struct guest_list l = {};
    int result = guest_config_parse_pve("100.conf", vm_100, sizeof vm_100 - 1, &l, error);

    (void)arg;
    for (size_t i = 0; result == 0 && i < l.guests[0].n_disks; i++)
        result = guest_config_pve_path(storage, sizeof storage - 1, &l.guests[0].disks[i], error);
    guest_list_release(&l);
    return result;
}

static int run_linked_clone(void *arg, struct error *error)
{
    static const char text[] = "scsi0: local:9000/b.raw/100/c.raw\nscsi1: ceph:x\n";
    struct guest_list l = {};
    int result = guest_config_parse_pve("100.conf", text, sizeof text - 1, &l, error);

    (void)arg;
    for (size_t i = 0; result == 0 && i < l.guests[0].n_disks; i++)
        result = guest_config_pve_path(storage, sizeof storage - 1, &l.guests[0].disks[i], error);
    guest_list_release(&l);
    return result;
}

static int run_record(void *arg, struct error *error)
{
    AUTO_BUF b = {};
    struct guest g = {};
    struct cursor c;
    int result = guest_encode(&b, arg) == 0 ? 0 : buf_check(&b, "a record", error);

    c = cursor_of(b.bytes, b.length);
    if (result == 0)
        result = guest_decode(&c, &g, error);
    guest_release(&g);
    return result;
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    assert_true(alloc_fail_each(run_libvirt, NULL) > 20);
    assert_true(alloc_fail_each(run_pve, NULL) > 20);
    assert_true(alloc_fail_each(run_linked_clone, NULL) > 8);
    assert_ok(parse(live), &e);
    assert_true(alloc_fail_each(run_record, &list.guests[0]) > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_running_guest_has_its_disks_and_chains, reset),
        cmocka_unit_test_teardown(what_cannot_be_opened_says_why, reset),
        cmocka_unit_test_teardown(first_of_two_elements_counts_and_missing_ones_get_defaults,
                                  reset),
        cmocka_unit_test_teardown(wrapped_domains_are_found, reset),
        cmocka_unit_test_teardown(what_is_no_domain_is_refused, reset),
        cmocka_unit_test_teardown(entities_are_refused_before_they_are_read, reset),
        cmocka_unit_test_teardown(limits_hold, reset),
        cmocka_unit_test_teardown(a_chain_of_256_files_is_read, reset),
        cmocka_unit_test_teardown(a_proxmox_guest_has_its_disks, reset),
        cmocka_unit_test_teardown(the_last_of_two_lines_counts, reset),
        cmocka_unit_test_teardown(what_is_no_proxmox_guest_is_refused, reset),
        cmocka_unit_test_teardown(volumes_become_paths, reset),
        cmocka_unit_test_teardown(volumes_that_have_no_path_say_why, reset),
        cmocka_unit_test_teardown(local_storage_needs_no_file, reset),
        cmocka_unit_test_teardown(a_guest_survives_its_record_and_no_shorter_one, reset),
        cmocka_unit_test_teardown(a_record_that_lies_is_refused, reset),
        cmocka_unit_test_teardown(each_allocation_may_fail, reset),
    };

    return cmocka_run_group_tests_name("guest_config", tests, NULL, NULL);
}
