/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A Linux bzImage as a file (kernel documentation, arch/x86/boot.rst, "The
 * Real-Mode Kernel Header"): where its parts are. It may be hostile: what is
 * said here about the file lies inside it.
 */
#ifndef KILN_BZIMAGE_H
#define KILN_BZIMAGE_H

#include <asm/bootparam.h>
#include <stdbool.h>
#include <stdint.h>

#include "image.h"

#define BZIMAGE_HEADER_OFFSET 0x1f1

struct bzimage {
	struct setup_header hdr;
	uint64_t offset, size;	/* of what is loaded: the decompressor with its payload */
};

/* Whether the file's first @len bytes are a bzImage's; its header into @hdr. */
bool bzimage_recognize(const uint8_t *head, uint64_t len, struct setup_header *hdr);

/* Header and place, checked. -1 with a sentence. */
int bzimage_parse(const struct image *image, struct bzimage *bz);

/*
 * The compressed kernel in it, and how large it says it is unpacked: its last
 * four bytes, by the kernel's build or, with gzip, by the format. @unpacked is
 * no more than the memory that the kernel asks for. -1 with a sentence.
 */
int bzimage_payload(const struct image *image, const struct bzimage *bz, uint64_t *offset,
		    uint64_t *size, uint64_t *unpacked);

#endif
