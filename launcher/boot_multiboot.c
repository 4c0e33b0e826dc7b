// SPDX-License-Identifier: GPL-2.0-only
/*
 * Multiboot 1 (GNU Multiboot Specification 0.6.96): an ELF file with a header
 * in its first 8 KiB. The kernel gets a magic number in EAX and an information
 * structure in EBX. Only ELF is loaded, not the address fields of §3.1.3.
 */
#include <string.h>

#include "boot.h"
#include "elf.h"
#include "error.h"

#define HEADER_MAGIC		0x1badb002
#define LOADED_MAGIC		0x2badb002
#define HEADER_PAGE_ALIGN	0x0001
#define HEADER_MEMORY_INFO	0x0002
#define HEADER_REQUIRED		0xffff	/* bits 0-15: refuse what you do not know */

#define INFO_MEMORY		0x0001
#define INFO_COMMAND_LINE	0x0004
#define INFO_MODULES		0x0008
#define INFO_MEMORY_MAP		0x0040
#define INFO_LOADER_NAME	0x0200

/* §3.3, up to the last field we fill. */
struct info {
	uint32_t flags;
	uint32_t mem_lower, mem_upper;	/* KiB below and above 1 MiB */
	uint32_t boot_device;
	uint32_t cmdline;
	uint32_t mods_count, mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length, mmap_addr;
	uint32_t drives_length, drives_addr;
	uint32_t config_table;
	uint32_t boot_loader_name;
};

struct module {
	uint32_t start, end;
	uint32_t string;
	uint32_t reserved;
};

struct mmap {
	uint32_t size;	/* of what follows */
	uint64_t base, length;
	uint32_t type;
} __attribute__((packed));

/* The header's flags; -1 where there is no header. */
static int64_t find_header(const uint8_t *head, uint64_t len)
{
	uint32_t field[3];	/* magic, flags, checksum */

	for (uint64_t at = 0; at + sizeof(field) <= len; at += 4) {
		memcpy(field, head + at, sizeof(field));
		if (field[0] == HEADER_MAGIC && field[0] + field[1] + field[2] == 0)
			return field[1];
	}
	return -1;
}

static int probe(const struct image *image, const uint8_t *head, uint64_t len)
{
	int64_t flags = find_header(head, len);
	uint32_t unknown;

	if (flags < 0)
		return 0;
	if (!elf_recognize(head, len))
		return error_set("%s: a Multiboot kernel that is not ELF; link it as ELF",
				 image->path);
	unknown = (uint32_t)flags & HEADER_REQUIRED & ~(HEADER_PAGE_ALIGN | HEADER_MEMORY_INFO);
	if (unknown)
		return error_set("%s: its Multiboot header requires 0x%x, which is not there (0x4 is a video mode); clear these flags",
				 image->path, unknown);
	return 1;
}

static int load_module(struct guest_memory *memory, const struct boot_module *from,
		       struct module *to, uint64_t *strings)
{
	uint64_t gpa, size, string;

	if (boot_place_file(memory, "module", from->path, LOW_RAM_MAX, &gpa, &size))
		return -1;
	if (boot_string(memory, from->path, from->path, from->args, strings, &string))
		return -1;
	*to = (struct module){ (uint32_t)gpa, (uint32_t)(gpa + size), (uint32_t)string, 0 };
	return 0;
}

static int load_modules(struct guest_memory *memory, const struct boot_request *request,
			struct info *info, uint64_t *strings)
{
	struct module *list = guest_ptr(memory, BOOT_MODULE_LIST, BOOT_MODULES_MAX * sizeof(*list));

	if (request->initrd)
		return error_set("--initrd %s: %s is a Multiboot kernel; use --module",
				 request->initrd, request->kernel);
	for (unsigned int i = 0; i < request->nr_modules; i++)
		if (load_module(memory, &request->modules[i], &list[i], strings))
			return -1;
	info->flags |= INFO_MODULES;
	info->mods_count = request->nr_modules;
	info->mods_addr = BOOT_MODULE_LIST;
	return 0;
}

static void set_memory(struct guest_memory *memory, struct info *info)
{
	struct map_entry map[MAP_ENTRIES];
	unsigned int count = guest_memory_map(memory, map);
	struct mmap *entry = guest_ptr(memory, BOOT_LISTS, count * sizeof(*entry));

	for (unsigned int i = 0; i < count; i++)
		entry[i] = (struct mmap){ sizeof(*entry) - sizeof(entry->size), map[i].base,
					  map[i].size, map[i].type };
	info->flags |= INFO_MEMORY | INFO_MEMORY_MAP;
	info->mem_lower = (uint32_t)(EBDA_BASE / KIB);
	info->mem_upper = (uint32_t)((memory->low_size - BIOS_END) / KIB);
	info->mmap_addr = BOOT_LISTS;
	info->mmap_length = (uint32_t)(count * sizeof(*entry));
}

static int set_strings(struct guest_memory *memory, const struct boot_request *request,
		       struct info *info, uint64_t *strings)
{
	uint64_t gpa;

	/* By custom the first word is the kernel's name. */
	if (boot_string(memory, "--append", request->kernel, request->append, strings, &gpa))
		return -1;
	info->cmdline = (uint32_t)gpa;
	if (boot_string(memory, "the loader's name", "kiln", "", strings, &gpa))
		return -1;
	info->boot_loader_name = (uint32_t)gpa;
	info->flags |= INFO_COMMAND_LINE | INFO_LOADER_NAME;
	return 0;
}

static int load(struct guest_memory *memory, const struct image *image,
		const struct boot_request *request, struct boot_state *state)
{
	struct info *info = guest_ptr(memory, BOOT_INFO, sizeof(*info));
	struct elf elf;
	uint64_t strings = 0;

	if (elf_parse(image, &elf) || elf_load(image, &elf, memory))
		return -1;
	if (!elf_contains(&elf, elf.entry))
		return error_set("%s: its entry point 0x%llx is in no segment; link it with physical addresses",
				 image->path, (unsigned long long)elf.entry);
	if (set_strings(memory, request, info, &strings) ||
	    load_modules(memory, request, info, &strings))
		return -1;
	set_memory(memory, info);
	state->rip = elf.entry;
	state->rax = LOADED_MAGIC;
	state->rbx = BOOT_INFO;
	return 0;
}

const struct boot_format boot_format_multiboot = { "Multiboot 1 ELF", probe, load };
