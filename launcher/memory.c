// SPDX-License-Identifier: GPL-2.0-only
#include "memory.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include "error.h"

/* A guest's 2 MiB page can be one host huge page only where both are aligned alike. */
#define HUGE_PAGE (2 * MIB)

int guest_memory_check(uint64_t size)
{
	struct sysinfo info;
	uint64_t host;

	if (size < MEMORY_MIN)
		return error_set("--memory: %" PRIu64 " bytes are too few; give at least 2M, with its unit, like 512M", size);
	if (size % GUEST_PAGE)
		return error_set("--memory: %" PRIu64 " bytes are not whole pages of 4K; round it to a multiple, like 512M",
				 size);
	if (sysinfo(&info))
		return error_set("sysinfo: %s", strerror(errno));
	host = ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
	if (size > host)
		return error_set("--memory: %" PRIu64 " MiB are more than this machine's memory and swap; give at most %" PRIu64 "M",
				 size / MIB, host / MIB);
	return 0;
}

/*
 * Reserves addresses with a gap on both sides, so that whatever runs over the
 * guest's end meets nothing, and puts the memory in the middle.
 */
static void *map_between_gaps(struct guest_memory *memory, uint64_t size)
{
	uintptr_t base;

	memory->mapping_size = size + 2 * HUGE_PAGE;
	memory->mapping = mmap(NULL, memory->mapping_size, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory->mapping == MAP_FAILED) {
		memory->mapping = NULL;
		return NULL;
	}
	base = align_up((uintptr_t)memory->mapping + GUEST_PAGE, HUGE_PAGE);
	memory->base = mmap((void *)base, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	return memory->base == MAP_FAILED ? NULL : memory->base;
}

/*
 * Wishes: a host without transparent huge pages says EINVAL and serves small
 * ones. The lowest 2 MiB hold a few scattered pages of boot data: to clear
 * all of it would cost more than the rest of the launcher's start.
 */
static void wish_for_huge_pages(const struct guest_memory *memory, uint64_t size)
{
	madvise(memory->base, HUGE_PAGE, MADV_NOHUGEPAGE);
	if (size > HUGE_PAGE)
		madvise(memory->base + HUGE_PAGE, size - HUGE_PAGE, MADV_HUGEPAGE);
}

int guest_memory_create(struct guest_memory *memory, uint64_t size)
{
	memset(memory, 0, sizeof(*memory));
	if (!map_between_gaps(memory, size)) {
		int err = errno;

		guest_memory_destroy(memory);
		return error_set("--memory: %" PRIu64 " MiB cannot be had (%s); give less",
				 size / MIB, strerror(err));
	}
	memory->low_size = min_u64(size, LOW_RAM_MAX);
	memory->high_size = size - memory->low_size;
	wish_for_huge_pages(memory, size);
	/* A helper (storage.h) would share it, and each write here copy a page. */
	madvise(memory->base, size, MADV_DONTFORK);
	return 0;
}

void guest_memory_destroy(struct guest_memory *memory)
{
	if (memory->mapping)
		munmap(memory->mapping, memory->mapping_size);
	memory->mapping = NULL;
	memory->base = NULL;
}

void *guest_ptr(const struct guest_memory *memory, uint64_t gpa, uint64_t len)
{
	if (gpa < memory->low_size)
		return len <= memory->low_size - gpa ? memory->base + gpa : NULL;
	if (gpa < HIGH_RAM_BASE)
		return NULL;
	gpa -= HIGH_RAM_BASE;
	if (gpa > memory->high_size || len > memory->high_size - gpa)
		return NULL;
	return memory->base + memory->low_size + gpa;
}

static const struct claim *find_overlap(const struct guest_memory *memory, uint64_t start,
					uint64_t end)
{
	for (unsigned int i = 0; i < memory->nr_claims; i++)
		if (start < memory->claims[i].end && memory->claims[i].start < end)
			return &memory->claims[i];
	return NULL;
}

static int add_claim(struct guest_memory *memory, uint64_t start, uint64_t end, const char *what,
		     const char *path)
{
	if (memory->nr_claims == CLAIMS_MAX)
		return error_set("%s: more than %d pieces to load; link it with fewer segments, or give fewer modules",
				 path ? path : what, CLAIMS_MAX);
	memory->claims[memory->nr_claims++] = (struct claim){ start, end, what };
	return 0;
}

int guest_claim(struct guest_memory *memory, uint64_t gpa, uint64_t len, const char *what,
		const char *path)
{
	const struct claim *other;
	uint64_t end;

	if (!path)
		path = what;
	if (__builtin_add_overflow(gpa, len, &end))
		return error_set("%s: wants to be at 0x%" PRIx64 ", beyond any address; it is damaged",
				 path, gpa);
	if (!guest_ptr(memory, gpa, len))
		return error_set("%s: needs memory from 0x%" PRIx64 " to 0x%" PRIx64 ", the guest has less; give more --memory",
				 path, gpa, end);
	other = find_overlap(memory, gpa, end);
	if (other)
		return error_set("%s: %s at 0x%" PRIx64 " would overlap %s at 0x%" PRIx64 "; link it elsewhere",
				 path, what, gpa, other->what, other->start);
	return add_claim(memory, gpa, end, what, path);
}

int guest_place(struct guest_memory *memory, uint64_t len, uint64_t limit, const char *what,
		const char *path, uint64_t *gpa)
{
	uint64_t end = align_down(min_u64(limit, memory->low_size), GUEST_PAGE);

	/* Walks down from the top, below each claim that is in the way. */
	while (end >= BIOS_END && end - BIOS_END >= len) {
		uint64_t start = align_down(end - len, GUEST_PAGE);
		const struct claim *other = find_overlap(memory, start, end);

		if (!other) {
			*gpa = start;
			return add_claim(memory, start, start + len, what, path);
		}
		end = align_down(other->start, GUEST_PAGE);
	}
	return error_set("%s: this %s of %" PRIu64 " KiB does not fit beside the kernel into the guest's memory; give more --memory",
			 path, what, (len + KIB - 1) / KIB);
}

static struct claim *claim_at(struct guest_memory *memory, uint64_t start)
{
	for (unsigned int i = 0; i < memory->nr_claims; i++)
		if (memory->claims[i].start == start)
			return &memory->claims[i];
	return NULL;
}

/* The @nth free place of @len bytes, or past their end how many there are. */
static uint64_t find_place(const struct guest_memory *memory, uint64_t len, uint64_t least,
			   uint64_t align, uint64_t nth, uint64_t *place)
{
	uint64_t count = 0;

	for (*place = align_up(least, align);
	     *place <= memory->low_size && len <= memory->low_size - *place; *place += align)
		if (!find_overlap(memory, *place, *place + len) && count++ == nth)
			break;
	return count;
}

uint64_t guest_move(struct guest_memory *memory, uint64_t from, uint64_t least, uint64_t align,
		    uint64_t number)
{
	struct claim *claim = claim_at(memory, from), old;
	uint64_t count, place;

	if (!claim)
		return from;
	old = *claim;
	claim->start = claim->end = 0;	/* its own place is one, too */
	count = find_place(memory, old.end - old.start, least, align, UINT64_MAX, &place);
	if (count)
		find_place(memory, old.end - old.start, least, align, number % count, &place);
	else
		place = from;
	claim->start = place;
	claim->end = place + (old.end - old.start);
	return place;
}

unsigned int guest_memory_map(const struct guest_memory *memory, struct map_entry *map)
{
	unsigned int count = 0;

	map[count++] = (struct map_entry){ 0, EBDA_BASE, MAP_RAM };
	map[count++] = (struct map_entry){ EBDA_BASE, BIOS_END - EBDA_BASE, MAP_RESERVED };
	map[count++] = (struct map_entry){ BIOS_END, memory->low_size - BIOS_END, MAP_RAM };
	map[count++] = (struct map_entry){ PCI_MMCONFIG, PCI_MMCONFIG_SIZE, MAP_RESERVED };
	if (memory->high_size)
		map[count++] = (struct map_entry){ HIGH_RAM_BASE, memory->high_size, MAP_RAM };
	return count;
}
