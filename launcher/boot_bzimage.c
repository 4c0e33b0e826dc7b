// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux bzImage by the 64-bit boot protocol (kernel documentation,
 * arch/x86/boot.rst, "64-bit Boot Protocol"): the kernel goes to its preferred
 * address or another, the zero page says where everything is, and the CPU
 * enters it in long mode, identity-mapped.
 *
 * Most of such a boot is the decompressor that the file brings along, so it is
 * left out where the launcher can do its work: unpack the kernel (unpacked.h),
 * choose its addresses at random unless the command line forbids it, load and
 * relocate it (vmlinux.h). Else the compressed kernel is entered 0x200 behind
 * where it was loaded and does all of that itself.
 */
#include <errno.h>
#include <linux/const.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "boot.h"
#include "bzimage.h"
#include "error.h"
#include "say.h"
#include "vmlinux.h"

#define VERSION_MIN	0x020c		/* the first with xloadflags */
#define VERSION_UNPACK	0x020f		/* Linux 5.5: older ones are not known to take it */
#define ENTRY64		0x200ULL
#define LOADER_UNDEFINED 0xff
#define KERNEL_IMAGE_SIZE GIB		/* virtual addresses of a kernel that moves */
#define ALIGN_MIN	(2 * MIB)

#define PTE_PRESENT	1ULL
#define PTE_WRITE	2ULL
#define PTE_HUGE	0x80ULL
#define DIRECTORIES_MAX	4

/* linux/edd.h and friends make struct boot_params exactly one page. */
_Static_assert(sizeof(struct boot_params) == GUEST_PAGE, "the zero page is a page");
_Static_assert(sizeof(struct setup_header) <= BOOT_HEAD - BZIMAGE_HEADER_OFFSET, "head holds the header");

static int probe(const struct image *image, const uint8_t *head, uint64_t len)
{
	struct setup_header hdr;

	if (!bzimage_recognize(head, len, &hdr))
		return 0;
	if (hdr.version < VERSION_MIN || !(hdr.xloadflags & XLF_KERNEL_64))
		return error_set("%s: a bzImage without the 64-bit entry; give an x86-64 kernel of Linux 3.8 or later",
				 image->path);
	return 1;
}

/*
 * Claims init_size at the preferred address or, where memory ends before and
 * the kernel can move, at the lowest aligned one.
 */
static int claim_kernel(struct guest_memory *memory, const struct image *image,
			const struct setup_header *hdr, uint64_t room, uint64_t *load)
{
	uint64_t align = hdr->kernel_alignment;

	*load = hdr->pref_address;
	if (hdr->relocatable_kernel && !guest_ptr(memory, *load, room)) {
		if (!align || align & (align - 1))
			return error_set("%s: a damaged bzImage: its alignment is no power of two; build or fetch it again",
					 image->path);
		*load = align_up(BIOS_END, align);
	}
	if (*load < BIOS_END)
		return error_set("%s: a damaged bzImage: it wants to be below 1 MiB; build or fetch it again",
				 image->path);
	if (*load + room > DIRECTORIES_MAX * GIB)
		return error_set("%s: wants to be above 4 GiB; give a kernel with a lower CONFIG_PHYSICAL_START",
				 image->path);
	return guest_claim(memory, *load, room, "the kernel", image->path);
}

static int set_command_line(struct guest_memory *memory, const struct boot_request *request,
			    struct boot_params *params)
{
	uint64_t used = 0, gpa;

	if (strlen(request->append) > params->hdr.cmdline_size)
		return error_set("--append: %zu characters, this kernel takes %u; shorten it",
				 strlen(request->append), params->hdr.cmdline_size);
	if (boot_string(memory, "--append", request->append, "", &used, &gpa))
		return -1;
	params->hdr.cmd_line_ptr = (uint32_t)gpa;
	return 0;
}

static int set_initrd(struct guest_memory *memory, const struct boot_request *request,
		      struct boot_params *params)
{
	uint64_t gpa, size;

	if (!request->initrd)
		return 0;
	if (boot_place_file(memory, "initrd", request->initrd,
			    (uint64_t)params->hdr.initrd_addr_max + 1, &gpa, &size))
		return -1;
	params->hdr.ramdisk_image = (uint32_t)gpa;
	params->hdr.ramdisk_size = (uint32_t)size;
	return 0;
}

static void set_memory_map(const struct guest_memory *memory, struct boot_params *params)
{
	struct map_entry map[MAP_ENTRIES];
	unsigned int count = guest_memory_map(memory, map);

	for (unsigned int i = 0; i < count; i++) {
		params->e820_table[i].addr = map[i].base;
		params->e820_table[i].size = map[i].size;
		params->e820_table[i].type = map[i].type;
	}
	params->e820_entries = (uint8_t)count;
}

/* Identity-maps [0, end) with 2 MiB pages. */
static uint64_t build_page_tables(struct guest_memory *memory, uint64_t end)
{
	uint64_t pages = (end + 2 * MIB - 1) / (2 * MIB);
	uint64_t *pml4 = guest_ptr(memory, BOOT_PAGE_TABLES, 2 * GUEST_PAGE);
	uint64_t *pdpt = pml4 + 512, *pd;
	uint64_t directories = (pages + 511) / 512;

	pd = guest_ptr(memory, BOOT_PAGE_TABLES + 2 * GUEST_PAGE, directories * GUEST_PAGE);
	pml4[0] = (BOOT_PAGE_TABLES + GUEST_PAGE) | PTE_PRESENT | PTE_WRITE;
	for (uint64_t i = 0; i < directories; i++)
		pdpt[i] = (BOOT_PAGE_TABLES + (2 + i) * GUEST_PAGE) | PTE_PRESENT | PTE_WRITE;
	for (uint64_t i = 0; i < pages; i++)
		pd[i] = i * 2 * MIB | PTE_PRESENT | PTE_WRITE | PTE_HUGE;
	return BOOT_PAGE_TABLES;
}

static int fill_zero_page(struct guest_memory *memory, const struct setup_header *hdr,
			  const struct boot_request *request)
{
	struct boot_params *params = guest_ptr(memory, BOOT_INFO, sizeof(*params));

	params->hdr = *hdr;
	params->hdr.type_of_loader = LOADER_UNDEFINED;
	params->hdr.setup_data = 0;
	params->hdr.ramdisk_image = 0;
	params->hdr.ramdisk_size = 0;
	params->acpi_rsdp_addr = request->rsdp;
	set_memory_map(memory, params);
	if (set_command_line(memory, request, params))
		return -1;
	return set_initrd(memory, request, params);
}

/* ---- unpacked ---- */

/* Whether a word of the command line begins with @option; with @whole that is the word. */
static bool has_option(const char *line, const char *option, bool whole)
{
	size_t len = strlen(option);

	for (const char *at = line; (at = strstr(at, option)); at += len)
		if ((at == line || at[-1] == ' ' || at[-1] == '\t' || at[-1] == '\n') &&
		    (!whole || !at[len] || strchr(" \t\n", at[len])))
			return true;
	return false;
}

/* Early in a host's life the numbers may be guessed, but nobody waits for them. */
static int random_numbers(uint64_t numbers[2])
{
	size_t size = 2 * sizeof(numbers[0]);

	if (getrandom(numbers, size, GRND_INSECURE) == (ssize_t)size ||
	    getrandom(numbers, size, 0) == (ssize_t)size)
		return 0;
	return error_set("no random numbers: %s; use nokaslr", strerror(errno));
}

/* Where a kernel is put in @room, and how far above its virtual addresses it runs. */
struct placing {
	uint64_t room, base, delta;
};

/* As the kernel's decompressor would: both at random, independent of each other. */
static int randomize(struct guest_memory *memory, const struct vmlinux *kernel,
		     const char *append, struct setup_header *hdr, struct placing *placing)
{
	uint64_t align = hdr->kernel_alignment, top = kernel->linked + placing->room;
	uint64_t numbers[2];

	if (!kernel->nr_lists || has_option(append, "nokaslr", true))
		return 0;
	if (random_numbers(numbers))
		return -1;
	hdr->loadflags |= KASLR_FLAG;
	if (top <= KERNEL_IMAGE_SIZE)
		placing->delta = numbers[0] % (1 + (KERNEL_IMAGE_SIZE - top) / align) * align;
	/* What these exclude is not for the kernel, either. */
	if (!has_option(append, "mem=", false) && !has_option(append, "memmap=", false))
		placing->base = guest_move(memory, placing->base,
					   min_u64(placing->base, KERNEL_IMAGE_SIZE / 2), align,
					   numbers[1]);
	return 0;
}

static int load_unpacked(struct guest_memory *memory, const struct image *unpacked,
			 const char *append, struct setup_header *hdr, struct placing *placing,
			 uint64_t *entry)
{
	struct vmlinux kernel;
	int ret;

	if (vmlinux_open(&kernel, unpacked, hdr->pref_address, placing->room))
		return -1;
	ret = randomize(memory, &kernel, append, hdr, placing);
	if (!ret)
		ret = vmlinux_load(&kernel, memory, placing->base, placing->delta);
	*entry = placing->base + (kernel.elf.entry - kernel.linked);
	vmlinux_close(&kernel);
	return ret;
}

/* -1 with a sentence where the kernel has to unpack itself. */
static int try_unpacked(struct guest_memory *memory, const struct boot_packed *packed,
			const struct boot_request *request, struct placing *placing,
			uint64_t *entry)
{
	struct boot_params *params = guest_ptr(memory, BOOT_INFO, sizeof(*params));
	const struct image *image = &packed->image;
	const struct setup_header *hdr = &packed->bz.hdr;
	uint64_t align = hdr->kernel_alignment;
	struct image unpacked;
	int ret;

	if (request->unpack.where == UNPACK_GUEST)
		return error_set("--unpack guest");
	if (hdr->version < VERSION_UNPACK || align < ALIGN_MIN || align & (align - 1) ||
	    !hdr->relocatable_kernel)
		return error_set("%s: not known to start unpacked; build one of Linux 5.5 or later",
				 image->path);
	if (unpacked_open(&unpacked, image, &packed->bz, &request->unpack))
		return -1;
	ret = load_unpacked(memory, &unpacked, request->append, &params->hdr, placing, entry);
	image_close(&unpacked);
	if (!ret)
		say("kernel %s: at 0x%llx, 0x%llx above the addresses it was linked for",
		    image->path, (unsigned long long)placing->base,
		    (unsigned long long)placing->delta);
	return ret;
}

/* The decompressor is entered as ever; it sets loadflags itself. */
static int load_packed(struct guest_memory *memory, const struct boot_packed *packed,
		       const struct placing *placing, uint64_t *entry)
{
	const struct bzimage *bz = &packed->bz;

	say("kernel %s: unpacks itself (%s)", packed->image.path, error_text());
	*entry = placing->base + ENTRY64;
	return image_read(&packed->image, bz->offset, guest_ptr(memory, placing->base, bz->size),
			  bz->size);
}

int boot_unpack_bzimage(struct guest_memory *memory, const struct boot_request *request,
			struct boot_state *state)
{
	const struct boot_packed *packed = &state->packed;
	struct placing placing = { .base = packed->base, .room = packed->room };

	if (try_unpacked(memory, packed, request, &placing, &state->rip) &&
	    load_packed(memory, packed, &placing, &state->rip))
		return -1;
	state->cr3 = build_page_tables(memory, placing.base + placing.room);
	return 0;
}

static int load(struct guest_memory *memory, const struct image *image,
		const struct boot_request *request, struct boot_state *state)
{
	struct boot_packed *packed = &state->packed;
	struct bzimage *bz = &packed->bz;

	if (boot_refuse_modules(request, "a bzImage") || bzimage_parse(image, bz))
		return -1;
	packed->room = max_u64(bz->hdr.init_size, bz->size);
	if (claim_kernel(memory, image, &bz->hdr, packed->room, &packed->base) ||
	    fill_zero_page(memory, &bz->hdr, request))
		return -1;
	packed->image = *image;
	state->long_mode = true;
	state->rsi = BOOT_INFO;
	return 0;
}

const struct boot_format boot_format_bzimage = { "bzImage", probe, load };
