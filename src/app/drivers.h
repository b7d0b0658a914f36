/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The image formats that exist. A new one is one line here (CONTRIBUTING.md). */
#ifndef STEMMA_APP_DRIVERS_H
#define STEMMA_APP_DRIVERS_H

#include "disk/driver.h"

/* In the order of probing; NULL-terminated; raw last, because it takes anything. */
extern const struct disk_driver *const app_drivers[];

#endif
