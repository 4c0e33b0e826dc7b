/* SPDX-License-Identifier: GPL-2.0-only */
/* The little of ELF that loading a kernel takes: x86, 32 or 64 bits, segments by physical address. */
#ifndef KILN_ELF_H
#define KILN_ELF_H

#include <stdbool.h>
#include <stdint.h>

#include "image.h"
#include "memory.h"

#define ELF_SEGMENTS_MAX 64

struct elf_segment {
	uint32_t type;
	uint64_t offset, paddr, file_size, memory_size, align;
};

struct elf {
	bool is64;
	uint64_t entry;
	unsigned int nr_segments;
	struct elf_segment segments[ELF_SEGMENTS_MAX];
};

/* Whether the file begins like an ELF file at all. */
bool elf_recognize(const uint8_t *head, uint64_t len);

/* Header and program headers, checked. -1 with a sentence. */
int elf_parse(const struct image *image, struct elf *elf);

/* Claims and fills every PT_LOAD segment. -1 with a sentence. */
int elf_load(const struct image *image, const struct elf *elf, struct guest_memory *memory);

/* Whether @gpa lies in a loaded segment: an entry point must. */
bool elf_contains(const struct elf *elf, uint64_t gpa);

/*
 * Looks for the note @type of @owner in the PT_NOTE segments and copies up to
 * @size bytes of it. Returns its length, 0 where there is none, -1 with a
 * sentence where the notes are damaged.
 */
int elf_find_note(const struct image *image, const struct elf *elf, const char *owner,
		  uint32_t type, void *desc, uint32_t size);

#endif
