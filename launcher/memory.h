/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory: one anonymous mapping, seen by the guest in two parts.
 *
 *	0			low_size	RAM
 *	LOW_RAM_MAX (3 GiB)	4 GiB		never RAM: PCI devices and their configuration space (pci.h),
 *						local APICs, I/O APIC, KVM's own pages
 *	4 GiB			+ high_size	RAM, where there is more than LOW_RAM_MAX
 *
 * Who puts something into it (kernel, initrd, tables) claims the range first,
 * and a claim that leaves RAM or meets another one is refused. So no file,
 * however hostile, writes outside the guest or over what the boot needs.
 */
#ifndef KILN_MEMORY_H
#define KILN_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

#define LOW_RAM_MAX	(3 * GIB)
#define HIGH_RAM_BASE	(4 * GIB)
#define GUEST_PAGE	4096ULL
#define MEMORY_MIN	(2 * MIB)

/* Configuration space of PCI bus 0 (pci.h); reserved in the map, as the MCFG table alone is not believed. */
#define PCI_MMCONFIG		0xe0000000ULL
#define PCI_MMCONFIG_SIZE	MIB

/* The PC's own: from here to 1 MiB a kernel expects firmware, not memory. */
#define EBDA_BASE	0x9fc00ULL
#define BIOS_BASE	0xe0000ULL
#define BIOS_END	0x100000ULL

#define CLAIMS_MAX	96

struct claim {
	uint64_t start, end;
	const char *what;
};

struct guest_memory {
	uint8_t *base;			/* of the RAM; guest address 0 */
	uint64_t low_size, high_size;
	void *mapping;			/* with a gap on both sides of the RAM */
	size_t mapping_size;
	struct claim claims[CLAIMS_MAX];
	unsigned int nr_claims;
};

/* As in the e820 map; PVH and Multiboot use the same numbers. */
#define MAP_RAM		1
#define MAP_RESERVED	2

struct map_entry {
	uint64_t base, size;
	uint32_t type;
};

#define MAP_ENTRIES 5

/* Whether @size is one that can be given; -1 with a sentence. */
int guest_memory_check(uint64_t size);

/* Maps @size bytes (multiple of 4 KiB), overcommitted. -1 with a sentence. */
int guest_memory_create(struct guest_memory *memory, uint64_t size);
void guest_memory_destroy(struct guest_memory *memory);

/* The bytes at @gpa, NULL unless all @len of them are RAM of one part. */
void *guest_ptr(const struct guest_memory *memory, uint64_t gpa, uint64_t len);

/*
 * Claims [gpa, gpa + len) for @what (a string that stays), named by @path in
 * the sentence. @path NULL: the launcher's own. -1 with a sentence.
 */
int guest_claim(struct guest_memory *memory, uint64_t gpa, uint64_t len, const char *what,
		const char *path);

/*
 * Claims the highest free range of @len bytes that ends at or below @limit and
 * starts on a page at or above 1 MiB. -1 with a sentence that names @path.
 */
int guest_place(struct guest_memory *memory, uint64_t len, uint64_t limit, const char *what,
		const char *path, uint64_t *gpa);

/*
 * Moves the claim that starts at @from to one of the places for it in low
 * memory: free ones at multiples of @align (a power of two) from @least on,
 * the one that @number chooses. Returns where it is now: @from where there is
 * no such place.
 */
uint64_t guest_move(struct guest_memory *memory, uint64_t from, uint64_t least, uint64_t align,
		    uint64_t number);

/* The memory map for the guest. Returns the number of entries. */
unsigned int guest_memory_map(const struct guest_memory *memory, struct map_entry *map);

/* Where RAM above 4 GiB ends, 0 where there is none. */
static inline uint64_t guest_high_end(const struct guest_memory *memory)
{
	return memory->high_size ? HIGH_RAM_BASE + memory->high_size : 0;
}

#endif
