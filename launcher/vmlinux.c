// SPDX-License-Identifier: GPL-2.0-only
/*
 * The relocations stand as 32-bit words right behind the ELF file (in the
 * kernel's source arch/x86/tools/relocs.c writes them), each list after a
 * zero: those of 64 bits; those of 32 bits that are relative to something
 * that does not move, and change the other way (gone in Linux 6.15); those of
 * 32 bits. No list has a zero in it, so their number tells which these are.
 */
#include "vmlinux.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

#define KERNEL_MAP	0xffffffff80000000ULL	/* __START_KERNEL_map: physical 0 as linked */
#define PAGE_2M		(2 * MIB)
#define TABLE_MAX	(64 * MIB)

static int odd(const struct image *image, const char *how)
{
	return error_set("%s: what is packed in it is not as a kernel is: %s; build or fetch it again",
			 image->path, how);
}

/* ---- checks ---- */

static bool fits(const struct elf_segment *segment, const struct image *image, uint64_t linked,
		 uint64_t room)
{
	uint64_t at = segment->paddr - linked;

	return segment->file_size <= segment->memory_size && segment->paddr >= linked &&
	       at <= room && segment->memory_size <= room - at && segment->offset <= image->size &&
	       segment->file_size <= image->size - segment->offset &&
	       !(segment->align % PAGE_2M);
}

static int check_segments(const struct vmlinux *kernel, uint64_t room)
{
	const struct elf *elf = &kernel->elf;
	bool first = false;

	for (unsigned int i = 0; i < elf->nr_segments; i++) {
		const struct elf_segment *segment = &elf->segments[i];

		if (segment->type != PT_LOAD)
			continue;
		if (!fits(segment, &kernel->image, kernel->linked, room))
			return odd(&kernel->image, "a segment leaves the file or the memory it asks for");
		first |= segment->paddr == kernel->linked;
	}
	if (!first || !elf_contains(elf, elf->entry))
		return odd(&kernel->image, "it is linked for another address, or starts in no segment");
	return 0;
}

/* Where the ELF file ends: behind its headers and contents, whichever comes last. */
static int find_end(const struct vmlinux *kernel, uint64_t *end)
{
	Elf64_Ehdr ehdr;

	if (image_read(&kernel->image, 0, &ehdr, sizeof(ehdr)))
		return -1;
	*end = ehdr.e_phoff + (uint64_t)ehdr.e_phnum * ehdr.e_phentsize;
	if (ehdr.e_shnum) {
		if (ehdr.e_shoff > kernel->image.size)
			return odd(&kernel->image, "its section headers lie beyond its end");
		*end = max_u64(*end, ehdr.e_shoff + (uint64_t)ehdr.e_shnum * ehdr.e_shentsize);
	}
	for (unsigned int i = 0; i < kernel->elf.nr_segments; i++)
		if (kernel->elf.segments[i].type == PT_LOAD)
			*end = max_u64(*end, kernel->elf.segments[i].offset +
					     kernel->elf.segments[i].file_size);
	if (*end > kernel->image.size)
		return odd(&kernel->image, "it is cut off");
	return 0;
}

/* ---- relocations ---- */

/* Unaligned, some of them. */
static void add32(void *to, uint64_t delta)
{
	uint32_t value;

	memcpy(&value, to, sizeof(value));
	value += (uint32_t)delta;
	memcpy(to, &value, sizeof(value));
}

static void subtract32(void *to, uint64_t delta)
{
	add32(to, -delta);
}

static void add64(void *to, uint64_t delta)
{
	uint64_t value;

	memcpy(&value, to, sizeof(value));
	value += delta;
	memcpy(to, &value, sizeof(value));
}

/* The physical address, as linked, that an entry stands for. */
static uint64_t place(int32_t at)
{
	return (uint64_t)(int64_t)at - KERNEL_MAP;
}

static const struct elf_segment *segment_of(const struct elf *elf, uint64_t from, uint64_t len)
{
	for (unsigned int i = 0; i < elf->nr_segments; i++) {
		const struct elf_segment *segment = &elf->segments[i];

		if (segment->type == PT_LOAD && from >= segment->paddr &&
		    from - segment->paddr < segment->memory_size &&
		    len <= segment->memory_size - (from - segment->paddr))
			return segment;
	}
	return NULL;
}

static int check_list(const struct vmlinux *kernel, const struct relocations *list)
{
	const struct elf_segment *last = NULL;

	for (uint64_t i = 0; i < list->count; i++) {
		uint64_t from = place(list->at[i]);

		/* They are sorted: mostly it is the same segment again. */
		if (last && from >= last->paddr && from + list->width <= last->paddr + last->memory_size)
			continue;
		last = segment_of(&kernel->elf, from, list->width);
		if (!last)
			return odd(&kernel->image, "a relocation is in no segment");
	}
	return 0;
}

/* @count words, of which the first is a zero. */
static int split_table(struct vmlinux *kernel, uint64_t count)
{
	static const struct relocations old[] = {
		{ NULL, 0, add64, 8 }, { NULL, 0, subtract32, 4 }, { NULL, 0, add32, 4 },
	}, now[] = {
		{ NULL, 0, add64, 8 }, { NULL, 0, add32, 4 },
	};
	uint64_t starts[RELOCATION_LISTS + 1];
	unsigned int n = 0;

	for (uint64_t i = 0; i < count; i++) {
		if (kernel->table[i])
			continue;
		if (n == RELOCATION_LISTS)
			return odd(&kernel->image, "it has too many lists of relocations");
		starts[n++] = i + 1;
	}
	if (n != ARRAY_SIZE(old) && n != ARRAY_SIZE(now))
		return odd(&kernel->image, "it has too few lists of relocations");
	starts[n] = count + 1;
	for (unsigned int i = 0; i < n; i++) {
		kernel->lists[i] = n == ARRAY_SIZE(old) ? old[i] : now[i];
		kernel->lists[i].at = kernel->table + starts[i];
		kernel->lists[i].count = starts[i + 1] - 1 - starts[i];
		if (check_list(kernel, &kernel->lists[i]))
			return -1;
	}
	kernel->nr_lists = n;
	return 0;
}

static int read_table(struct vmlinux *kernel)
{
	uint64_t end, size;

	if (find_end(kernel, &end))
		return -1;
	size = kernel->image.size - end;
	if (!size)
		return 0;
	if (size % sizeof(*kernel->table) || size > TABLE_MAX)
		return odd(&kernel->image, "what stands behind it are no relocations");
	kernel->table = malloc(size);
	if (!kernel->table)
		return error_set("out of memory for the relocations of %s; free some",
				 kernel->image.path);
	if (image_read(&kernel->image, end, kernel->table, size))
		return -1;
	if (kernel->table[0])
		return odd(&kernel->image, "what stands behind it are no relocations");
	return split_table(kernel, size / sizeof(*kernel->table));
}

int vmlinux_open(struct vmlinux *kernel, const struct image *image, uint64_t linked, uint64_t room)
{
	uint8_t head[SELFMAG];

	*kernel = (struct vmlinux){ .image = *image, .linked = linked };
	if (image_read(image, 0, head, sizeof(head)))
		return -1;
	if (!elf_recognize(head, sizeof(head)))
		return odd(image, "no ELF file");
	if (elf_parse(image, &kernel->elf))
		return -1;
	if (!kernel->elf.is64)
		return odd(image, "not of 64 bits");
	if (check_segments(kernel, room) || read_table(kernel)) {
		vmlinux_close(kernel);
		return -1;
	}
	return 0;
}

void vmlinux_close(struct vmlinux *kernel)
{
	free(kernel->table);
	kernel->table = NULL;
	kernel->nr_lists = 0;
}

/* ---- loading ---- */

int vmlinux_load(const struct vmlinux *kernel, struct guest_memory *memory, uint64_t base,
		 uint64_t delta)
{
	for (unsigned int i = 0; i < kernel->elf.nr_segments; i++) {
		const struct elf_segment *segment = &kernel->elf.segments[i];
		uint64_t gpa = base + (segment->paddr - kernel->linked);

		if (segment->type == PT_LOAD &&
		    image_read(&kernel->image, segment->offset,
			       guest_ptr(memory, gpa, segment->memory_size), segment->file_size))
			return -1;
	}
	for (unsigned int i = 0; delta && i < kernel->nr_lists; i++) {
		const struct relocations *list = &kernel->lists[i];

		for (uint64_t j = 0; j < list->count; j++) {
			uint64_t gpa = base + (place(list->at[j]) - kernel->linked);

			list->apply(guest_ptr(memory, gpa, list->width), delta);
		}
	}
	return 0;
}
