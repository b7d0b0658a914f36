/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which disks a guest has, from its definition: libvirt domain XML and Proxmox VE's qemu-server
 * configuration. Hostile input: parsed in the worker. */
#ifndef STEMMA_DISK_GUEST_CONFIG_H
#define STEMMA_DISK_GUEST_CONFIG_H

#include "base/error.h"
#include "base/record.h"

#include <stdbool.h>
#include <stddef.h>

/* More than this is ERR_LIMIT, in a definition as in a record. */
#define GUEST_DISKS_MAX 256
#define GUEST_BACKING_MAX 256    /* of one disk */
#define GUEST_STRING_MAX 4096    /* bytes of a name or path */
#define GUEST_ENCODED_MAX 65024u /* bytes of guest_encode(), so that a record has room for more */

struct guest_disk {
    char *target;   /* "vda", "scsi0"; "disk2" for the second disk where libvirt's has no name */
    char *source;   /* file or device path, or the volume as the configuration names it; "" when
                     * there is none */
    char *format;   /* driver type ("raw", "qcow2"), or NULL */
    char *why_not;  /* NULL: `source` can be opened; else why not ("network disk (rbd)", "no
                     * medium") */
    char **backing; /* files of the backing chain that the definition names, next first;
                     * NULL-terminated, or NULL */
    bool device;    /* a block device */
    bool read_only;
    bool backing_store; /* the definition has a <backingStore>, perhaps an empty one: libvirt then
                         * believes it and not the image's header */
};

struct guest {
    char *name;
    char *uuid; /* or NULL */
    bool running;
    struct guest_disk *disks; /* in the order of the definition; CD-ROMs and floppies left out */
    size_t n_disks;
};

struct guest_list {
    struct guest *guests;
    size_t n;
};
void guest_list_release(struct guest_list *l);
void guest_release(struct guest *g);

/* Strings are the bytes of the definition, control characters included; escape them to show them.
 * `*out` is set only on success; guest_list_release() or guest_release() frees what is in it.
 * Errors of the parsers: ERR_FORMAT, ERR_UNSUPPORTED, ERR_LIMIT, ERR_MEMORY. They open nothing and
 * may run in the sealed worker, on any thread. */

/* libvirt's XML (https://libvirt.org/formatdomain.html): one <domain>, a <domstatus> (of
 * /run/libvirt/qemu), a <domainsnapshot> or <domaincheckpoint> with the domain of its time, or
 * <domains> around some of them. At most 1 MiB. A document type is refused: with it come entities,
 * which libvirt never writes.
 * The guest runs when <domstatus> has a process, or <domain> an id; one in a snapshot never does.
 * Where an element stands twice the first counts, as with libvirt. A copy that is under way
 * (<mirror>) is another file, and no disk of the guest yet. */
[[nodiscard]] int guest_config_parse_libvirt(const void *bytes, size_t length,
                                             struct guest_list *out, struct error *e);

/* /etc/pve/qemu-server/VMID.conf (qm.conf(5)); `file_name`, which may be a path, gives the VMID.
 * The name is "VMID (NAME)", or "VMID". Volumes are STORAGE:VOLUME as written;
 * guest_config_pve_path() makes them paths. Snapshots and pending changes are left out, and
 * `running` is false: the file does not tell. EFI variables and TPM state are left out too: every
 * guest has them, a few hundred KiB of firmware state; a family of those would say nothing about
 * the guests, and a plan must not touch them. */
[[nodiscard]] int guest_config_parse_pve(const char *file_name, const void *bytes, size_t length,
                                         struct guest_list *out, struct error *e);

/* Makes `source` a path by the storages of /etc/pve/storage.cfg ("local" is /var/lib/vz where the
 * file does not tell; with `length` 0 there is no file), and fills in the format, and the base of a
 * linked clone as `backing`:
 *   dir, btrfs              PATH/images/VMID/NAME
 *   nfs, cifs, glusterfs    /mnt/pve/STORAGE/images/VMID/NAME
 *   lvm, lvmthin            /dev/VG/NAME, a block device
 *   zfspool                 /dev/zvol/POOL/NAME, a block device
 * Anything else (rbd, iscsi, a storage that is not there) sets `why_not` and leaves the source. A
 * source that is a path stays as it is. Fails for a storage.cfg that is not one, or above 1 MiB;
 * the disk is then as it was. */
[[nodiscard]] int guest_config_pve_path(const void *storage_cfg, size_t length,
                                        struct guest_disk *disk, struct error *e);

/* As records for the front, which treats them as hostile: one record a guest. Encoding appends at
 * most GUEST_ENCODED_MAX bytes for any guest that a parser returned; -1: memory is short.
 *
 *     string name | u8 flags: 1 uuid, 2 running | [string uuid] | u16 disks, and for each:
 *     string target | string source | u8 flags: 1 format, 2 why_not, 4 backing, 8 device,
 *     16 read_only, 32 backing_store | [string format] | [string why_not] | [u16 n, not 0 | n
 * strings]
 *
 * Decoding reads one guest from the cursor and leaves it behind; ERR_PEER, ERR_MEMORY. */
[[nodiscard]] int guest_encode(struct buf *out, const struct guest *g);
[[nodiscard]] int guest_decode(struct cursor *c, struct guest *out, struct error *e);

#endif
