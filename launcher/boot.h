/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Booting a kernel without firmware. boot_load() tells the kernel's format
 * from its content, puts it and what it wants to know into guest memory, and
 * says in which state the first CPU has to start. What takes long and leaves
 * something in a cache, the unpacking of a bzImage, is boot_unpack()'s.
 *
 * Below 64 KiB the launcher keeps what the boot needs; a kernel may overwrite
 * it once it runs, but no segment is loaded there.
 */
#ifndef KILN_BOOT_H
#define KILN_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "bzimage.h"
#include "image.h"
#include "memory.h"
#include "unpacked.h"

#define BOOT_GDT		0x0500ULL
#define BOOT_PAGE_TABLES	0x1000ULL	/* PML4, PDPT, up to 4 page directories */
#define BOOT_INFO		0x7000ULL	/* zero page, PVH start info or Multiboot info */
#define BOOT_LISTS		0x8000ULL	/* memory map, then the module list */
#define BOOT_MODULE_LIST	0x9000ULL
#define BOOT_STRINGS		0xa000ULL	/* command line, module strings */
#define BOOT_END		0x10000ULL

#define BOOT_STRINGS_SIZE	(BOOT_END - BOOT_STRINGS)
#define BOOT_MODULES_MAX	32

/* Selectors of the GDT at BOOT_GDT, where the Linux boot protocol wants them. */
#define BOOT_CS			0x10
#define BOOT_DS			0x18
#define BOOT_TSS		0x20

struct boot_module {
	const char *path;
	const char *args;	/* "" for none */
};

struct boot_request {
	const char *kernel;
	const char *initrd;	/* NULL for none */
	const char *append;
	struct boot_module modules[BOOT_MODULES_MAX];
	unsigned int nr_modules;
	struct unpack_config unpack;	/* of a bzImage */
	uint64_t rsdp;		/* guest address of the ACPI root pointer */
};

/* What the first CPU starts with; everything not named is zero or flat. */
struct boot_state {
	const char *format;	/* in words */
	bool long_mode;		/* with cr3, else protected mode without paging */
	uint64_t rip, rax, rbx, rsi;
	uint64_t cr3;
	/* A bzImage that boot_unpack() has still to put where there is room for it. */
	struct boot_packed {
		struct image image;	/* .path NULL: none */
		struct bzimage bz;
		uint64_t base, room;
	} packed;
};

/*
 * All that costs little: whatever can be refused is refused here. -1 with a
 * sentence that names the file and the remedy. After 0 boot_unpack() has to
 * follow, or boot_close() where nothing is to be booted after all.
 */
int boot_load(struct guest_memory *memory, const struct boot_request *request,
	      struct boot_state *state);

/* The rest, with the same @request; closes what is open. -1 with a sentence. */
int boot_unpack(struct guest_memory *memory, const struct boot_request *request,
		struct boot_state *state);
void boot_close(struct boot_state *state);

/*
 * The formats, one file each. probe() looks at the first bytes: 1 for "mine",
 * 0 for "not mine", -1 with a sentence for "mine, and damaged".
 */
struct boot_format {
	const char *name;
	int (*probe)(const struct image *image, const uint8_t *head, uint64_t len);
	int (*load)(struct guest_memory *memory, const struct image *image,
		    const struct boot_request *request, struct boot_state *state);
};

/* How much of the file probe() sees: a Multiboot header lies in the first 8 KiB. */
#define BOOT_HEAD 8192

extern const struct boot_format boot_format_bzimage;
extern const struct boot_format boot_format_pvh;
extern const struct boot_format boot_format_multiboot;

/* Reads a whole file to the top of low memory, below @limit. */
int boot_place_file(struct guest_memory *memory, const char *what, const char *path,
		    uint64_t limit, uint64_t *gpa, uint64_t *size);

/*
 * Appends @text, a blank and @more to the strings at BOOT_STRINGS (only @text
 * where @more is ""), NUL included, and says where it went. @used counts the
 * bytes there. -1 with a sentence naming @name.
 */
int boot_string(struct guest_memory *memory, const char *name, const char *text, const char *more,
		uint64_t *used, uint64_t *gpa);

/* boot_unpack() for @state->packed. */
int boot_unpack_bzimage(struct guest_memory *memory, const struct boot_request *request,
			struct boot_state *state);

/* Refuses what this format has no place for. */
int boot_refuse_modules(const struct boot_request *request, const char *format);

#endif
