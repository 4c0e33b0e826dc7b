// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux bzImage by the 64-bit boot protocol (kernel documentation,
 * arch/x86/boot.rst, "64-bit Boot Protocol"): the compressed kernel goes to
 * its preferred address, the zero page says where everything is, and the CPU
 * enters 0x200 behind the load address in long mode, identity-mapped.
 */
#include <asm/bootparam.h>
#include <linux/const.h>
#include <stdlib.h>
#include <string.h>

#include "boot.h"
#include "error.h"

#define HEADER_OFFSET	0x1f1
#define BOOT_FLAG	0xaa55
#define HDRS		0x53726448	/* "HdrS" */
#define VERSION_MIN	0x020c		/* the first with xloadflags */
#define SECTOR		512ULL
#define ENTRY64		0x200ULL
#define LOADER_UNDEFINED 0xff

#define PTE_PRESENT	1ULL
#define PTE_WRITE	2ULL
#define PTE_HUGE	0x80ULL
#define DIRECTORIES_MAX	4

/* linux/edd.h and friends make struct boot_params exactly one page. */
_Static_assert(sizeof(struct boot_params) == GUEST_PAGE, "the zero page is a page");
_Static_assert(sizeof(struct setup_header) <= BOOT_HEAD - HEADER_OFFSET, "head holds the header");

static void get_header(struct setup_header *hdr, const uint8_t *head, uint64_t len)
{
	memset(hdr, 0, sizeof(*hdr));
	if (len > HEADER_OFFSET)
		memcpy(hdr, head + HEADER_OFFSET, min_u64(len - HEADER_OFFSET, sizeof(*hdr)));
}

static int probe(const struct image *image, const uint8_t *head, uint64_t len)
{
	struct setup_header hdr;

	get_header(&hdr, head, len);
	if (hdr.boot_flag != BOOT_FLAG || hdr.header != HDRS)
		return 0;
	if (hdr.version < VERSION_MIN || !(hdr.xloadflags & XLF_KERNEL_64))
		return error_set("%s: a bzImage without the 64-bit entry; give an x86-64 kernel of Linux 3.8 or later",
				 image->path);
	return 1;
}

/* The payload's place in the file. */
static int locate(const struct image *image, const struct setup_header *hdr, uint64_t *offset,
		  uint64_t *size)
{
	*offset = ((hdr->setup_sects ? hdr->setup_sects : 4) + 1) * SECTOR;
	*size = (uint64_t)hdr->syssize * 16;
	if (*size <= ENTRY64)
		return error_set("%s: a damaged bzImage: it says it has no content; build or fetch it again",
				 image->path);
	if (*offset > image->size || *size > image->size - *offset)
		return error_set("%s: truncated: %llu bytes of %llu are there; build or fetch it again",
				 image->path, (unsigned long long)image->size,
				 (unsigned long long)(*offset + *size));
	return 0;
}

/*
 * Claims init_size at the preferred address or, where memory ends before and
 * the kernel can move, at the lowest aligned one.
 */
static int claim_kernel(struct guest_memory *memory, const struct image *image,
			const struct setup_header *hdr, uint64_t size, uint64_t *load)
{
	uint64_t room = hdr->init_size > size ? hdr->init_size : size;
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

static int load(struct guest_memory *memory, const struct image *image,
		const struct boot_request *request, struct boot_state *state)
{
	struct setup_header hdr;
	uint8_t head[HEADER_OFFSET + sizeof(hdr)];
	uint64_t offset, size, address;

	if (boot_refuse_modules(request, "a bzImage"))
		return -1;
	if (image_read(image, 0, head, sizeof(head)))
		return -1;
	get_header(&hdr, head, sizeof(head));
	if (locate(image, &hdr, &offset, &size) ||
	    claim_kernel(memory, image, &hdr, size, &address) ||
	    fill_zero_page(memory, &hdr, request) ||
	    image_read(image, offset, guest_ptr(memory, address, size), size))
		return -1;
	state->long_mode = true;
	state->cr3 = build_page_tables(memory, address + hdr.init_size);
	state->rip = address + ENTRY64;
	state->rsi = BOOT_INFO;
	return 0;
}

const struct boot_format boot_format_bzimage = { "bzImage", probe, load };
