/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Formats of disk images other than raw, which qemu-storage-daemon reads and
 * writes (storage.h).
 *
 * Which one an image has is said by the user, by format= or by the file's
 * name, never by its content alone: what a raw disk begins with is the guest's
 * to write. One that wrote the header of a qcow2 image there, naming any file
 * of the host's as its backing file, would read that file after its next
 * start. The content is only held against what the user said.
 */
#ifndef KILN_DISK_FORMAT_H
#define KILN_DISK_FORMAT_H

#include <stdbool.h>

struct disk_format;

/* What format= may be besides raw, for a sentence. */
#define DISK_FORMAT_NAMES "qcow2, qcow, qed, vmdk, vdi, vhdx or vpc"

/* NULL: there is none of that name. */
const struct disk_format *disk_format_named(const char *name);

/* What the file's name ends like; NULL: like none of these, it is raw. */
const struct disk_format *disk_format_of_name(const char *path);

/* What an open image looks like; NULL: like none of these. */
const struct disk_format *disk_format_of_content(int fd);

/* Its name, which is that of the daemon's driver, too. */
const char *disk_format_name(const struct disk_format *format);

#endif
