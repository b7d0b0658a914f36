/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which disks a guest has, from its definition: libvirt domain XML and Proxmox VE's qemu-server
 * configuration. Hostile input: parsed in the worker. */
#ifndef STEMMA_DISK_GUEST_CONFIG_H
#define STEMMA_DISK_GUEST_CONFIG_H

#include "base/error.h"
#include "base/record.h"

#include <stdbool.h>
#include <stddef.h>

struct guest_disk {
    char *target;  /* "vda", "scsi0" */
    char *source;  /* file or device path, or the volume as the configuration names it */
    char *format;  /* driver type ("raw", "qcow2"), or NULL */
    char *why_not; /* NULL: `source` can be opened; else why not ("network disk (rbd)", "no medium")
                    */
    char **backing; /* files of the backing chain that the XML names; NULL-terminated, or NULL */
    bool device;    /* a block device */
    bool read_only;
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

/* One <domain>, <domstatus> or a <domains>/<domainsnapshot>... that holds some. No external entity
 * is ever followed, none is expanded; at most 1 MiB. */
[[nodiscard]] int guest_config_parse_libvirt(const void *bytes, size_t length,
                                             struct guest_list *out, struct error *e);

/* /etc/pve/qemu-server/VMID.conf; `file_name` gives the VMID. The name is "VMID (NAME)". Volumes
 * are STORAGE:VOLUME as written; guest_config_pve_path() makes them paths. Snapshot sections are
 * left out. */
[[nodiscard]] int guest_config_parse_pve(const char *file_name, const void *bytes, size_t length,
                                         struct guest_list *out, struct error *e);

/* Storages of /etc/pve/storage.cfg: where a volume "local:100/vm-100-disk-0.qcow2" lies. Without
 * the file, "local" is /var/lib/vz. `why_not` is set instead for LVM-thin, ZFS, RBD and the like
 * where a path can be told too (/dev/VG/LV, /dev/zvol/POOL/NAME): those are block devices. */
[[nodiscard]] int guest_config_pve_path(const void *storage_cfg, size_t length,
                                        struct guest_disk *disk, struct error *e);

/* As records for the front, which treats them as hostile: one record a guest. */
[[nodiscard]] int guest_encode(struct buf *out, const struct guest *g);
[[nodiscard]] int guest_decode(struct cursor *c, struct guest *out, struct error *e);

#endif
