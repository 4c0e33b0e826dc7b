/* SPDX-License-Identifier: GPL-2.0-only */
/* Decompression of a kernel's payload, by a child that can do nothing else. */
#ifndef KILN_UNPACK_H
#define KILN_UNPACK_H

#include <stdint.h>

/* The name of the format of @packed, NULL where there is no decompressor for it here. */
const char *unpack_format(const uint8_t *packed, uint64_t size);

/*
 * Unpacks @packed, which may be hostile, into the @unpacked bytes at @to, a
 * mapping that is shared with children. -1 with a sentence naming @path
 * unless it has exactly that many; what is at @to is anything then.
 */
int unpack(const uint8_t *packed, uint64_t size, uint8_t *to, uint64_t unpacked, const char *path);

#endif
