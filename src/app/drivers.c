/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "app/drivers.h"

const struct disk_driver *const app_drivers[] = {
    &disk_driver_qcow2,
    &disk_driver_qemu,
    &disk_driver_raw,
    NULL,
};
