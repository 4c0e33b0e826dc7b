/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What comes out of a bzImage's payload: the kernel as an ELF file, and behind
 * it the places that change where the kernel gets another virtual address. It
 * may be hostile: what is not as a kernel's build makes it is refused before
 * guest memory is touched.
 */
#ifndef KILN_VMLINUX_H
#define KILN_VMLINUX_H

#include <stdint.h>

#include "elf.h"

#define RELOCATION_LISTS 3

struct relocations {
	const int32_t *at;	/* low halves of addresses as the kernel was linked */
	uint64_t count;
	void (*apply)(void *to, uint64_t delta);
	uint64_t width;
};

struct vmlinux {
	struct image image;
	struct elf elf;
	uint64_t linked;	/* the physical address it was linked for */
	int32_t *table;		/* of all lists; NULL where it has none */
	struct relocations lists[RELOCATION_LISTS];
	unsigned int nr_lists;
};

/*
 * Checks @image, which is the caller's still: it is a 64-bit kernel linked for
 * @linked that needs no more than @room bytes from there, and each relocation
 * is in a segment. -1 with a sentence, and nothing to free.
 */
int vmlinux_open(struct vmlinux *kernel, const struct image *image, uint64_t linked,
		 uint64_t room);
void vmlinux_close(struct vmlinux *kernel);

/*
 * Puts it at @base, with the @room of vmlinux_open() claimed there, as one
 * that runs @delta above the virtual addresses it was linked for. -1 with a
 * sentence.
 */
int vmlinux_load(const struct vmlinux *kernel, struct guest_memory *memory, uint64_t base,
		 uint64_t delta);

#endif
