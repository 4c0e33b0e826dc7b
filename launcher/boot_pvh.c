// SPDX-License-Identifier: GPL-2.0-only
/*
 * PVH: an ELF file whose Xen note names a 32-bit entry point. The kernel gets
 * a start info page in EBX (Xen's documentation, docs/misc/pvh.pandoc and
 * public/arch-x86/hvm/start_info.h describe it; written down here from there).
 */
#include <string.h>

#include "boot.h"
#include "elf.h"
#include "error.h"

#define XEN_ELFNOTE_PHYS32_ENTRY 18

#define START_INFO_MAGIC	0x336ec578
#define START_INFO_VERSION	1

struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t module_list;
	uint64_t command_line;
	uint64_t rsdp;
	uint64_t memory_map;
	uint32_t memory_map_entries;
	uint32_t reserved;
};

struct start_module {
	uint64_t address;
	uint64_t size;
	uint64_t command_line;
	uint64_t reserved;
};

struct start_map_entry {
	uint64_t address;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};

/* 1 and the entry point, 0 where there is no such note, -1 with a sentence. */
static int find_entry(const struct image *image, const struct elf *elf, uint64_t *entry)
{
	int len;

	*entry = 0;	/* the note has 4 or 8 bytes, little-endian */
	len = elf_find_note(image, elf, "Xen", XEN_ELFNOTE_PHYS32_ENTRY, entry, sizeof(*entry));
	if (len <= 0)
		return len;
	if (len != 4 && len != 8)
		return error_set("%s: its PVH note has %d bytes, not 4 or 8; build it again",
				 image->path, len);
	return 1;
}

static int probe(const struct image *image, const uint8_t *head, uint64_t len)
{
	struct elf elf;
	uint64_t entry;

	if (!elf_recognize(head, len))
		return 0;
	if (elf_parse(image, &elf))
		return -1;
	return find_entry(image, &elf, &entry);
}

static int set_initrd(struct guest_memory *memory, const struct boot_request *request,
		      struct start_info *info)
{
	struct start_module *module = guest_ptr(memory, BOOT_MODULE_LIST, sizeof(*module));

	if (!request->initrd)
		return 0;
	if (boot_place_file(memory, "initrd", request->initrd, LOW_RAM_MAX, &module->address,
			    &module->size))
		return -1;
	info->nr_modules = 1;
	info->module_list = BOOT_MODULE_LIST;
	return 0;
}

static void set_memory_map(struct guest_memory *memory, struct start_info *info)
{
	struct map_entry map[MAP_ENTRIES];
	unsigned int count = guest_memory_map(memory, map);
	struct start_map_entry *entry = guest_ptr(memory, BOOT_LISTS, count * sizeof(*entry));

	for (unsigned int i = 0; i < count; i++) {
		entry[i].address = map[i].base;
		entry[i].size = map[i].size;
		entry[i].type = map[i].type;
	}
	info->memory_map = BOOT_LISTS;
	info->memory_map_entries = count;
}

static int load(struct guest_memory *memory, const struct image *image,
		const struct boot_request *request, struct boot_state *state)
{
	struct start_info *info = guest_ptr(memory, BOOT_INFO, sizeof(*info));
	struct elf elf;
	uint64_t used = 0;

	if (boot_refuse_modules(request, "a PVH kernel"))
		return -1;
	if (elf_parse(image, &elf) || find_entry(image, &elf, &state->rip) < 0 ||
	    elf_load(image, &elf, memory))
		return -1;
	if (!elf_contains(&elf, state->rip))
		return error_set("%s: its PVH entry point 0x%llx is in no segment; build it again",
				 image->path, (unsigned long long)state->rip);
	info->magic = START_INFO_MAGIC;
	info->version = START_INFO_VERSION;
	info->rsdp = request->rsdp;
	set_memory_map(memory, info);
	if (boot_string(memory, "--append", request->append, "", &used, &info->command_line) ||
	    set_initrd(memory, request, info))
		return -1;
	state->rbx = BOOT_INFO;
	return 0;
}

const struct boot_format boot_format_pvh = { "ELF with a PVH note", probe, load };
