// SPDX-License-Identifier: GPL-2.0-only
#include "boot.h"

#include <stdio.h>
#include <string.h>

#include "error.h"
#include "say.h"

/* Asked in this order: an ELF with both headers is booted by PVH, which passes the ACPI tables. */
static const struct boot_format *const formats[] = {
	&boot_format_bzimage,
	&boot_format_pvh,
	&boot_format_multiboot,
};

int boot_place_file(struct guest_memory *memory, const char *what, const char *path,
		    uint64_t limit, uint64_t *gpa, uint64_t *size)
{
	struct image image;
	int ret = -1;

	if (image_open(&image, what, path))
		return -1;
	*size = image.size;
	if (!guest_place(memory, image.size, limit, what, path, gpa))
		ret = image_read(&image, 0, guest_ptr(memory, *gpa, image.size), image.size);
	image_close(&image);
	if (!ret)
		say("%s %s: %llu KiB at 0x%llx", what, path,
		    (unsigned long long)((*size + KIB - 1) / KIB), (unsigned long long)*gpa);
	return ret;
}

int boot_string(struct guest_memory *memory, const char *name, const char *text, const char *more,
		uint64_t *used, uint64_t *gpa)
{
	const char *blank = *more ? " " : "";
	uint64_t len = strlen(text) + strlen(blank) + strlen(more) + 1;

	if (len > BOOT_STRINGS_SIZE - *used)
		return error_set("%s: too long; all strings together may have %llu bytes", name,
				 (unsigned long long)BOOT_STRINGS_SIZE);
	*gpa = BOOT_STRINGS + *used;
	snprintf(guest_ptr(memory, *gpa, len), len, "%s%s%s", text, blank, more);
	*used += len;
	return 0;
}

int boot_refuse_modules(const struct boot_request *request, const char *format)
{
	if (!request->nr_modules)
		return 0;
	return error_set("--module %s: only Multiboot kernels take modules, %s is %s; leave it out or use --initrd",
			 request->modules[0].path, request->kernel, format);
}

static int load_as(const struct boot_format *format, struct guest_memory *memory,
		   const struct image *image, const struct boot_request *request,
		   struct boot_state *state)
{
	state->format = format->name;
	if (guest_claim(memory, BOOT_GDT, BOOT_END - BOOT_GDT, "the boot data", NULL) ||
	    guest_claim(memory, EBDA_BASE, BIOS_END - EBDA_BASE, "the firmware area", NULL))
		return -1;
	return format->load(memory, image, request, state);
}

static int load_image(struct guest_memory *memory, const struct image *image,
		      const struct boot_request *request, struct boot_state *state)
{
	uint8_t head[BOOT_HEAD];
	int64_t len = image_read_some(image, 0, head, sizeof(head));

	if (len < 0)
		return -1;
	for (unsigned int i = 0; i < ARRAY_SIZE(formats); i++) {
		int mine = formats[i]->probe(image, head, (uint64_t)len);

		if (mine < 0)
			return -1;
		if (mine)
			return load_as(formats[i], memory, image, request, state);
	}
	return error_set("%s: of no known kernel format; give a bzImage (vmlinuz), an ELF with a PVH note, or a Multiboot 1 ELF",
			 image->path);
}

int boot_load(struct guest_memory *memory, const struct boot_request *request,
	      struct boot_state *state)
{
	struct image image;
	int ret;

	memset(state, 0, sizeof(*state));
	if (image_open(&image, "kernel", request->kernel))
		return -1;
	ret = load_image(memory, &image, request, state);
	if (ret || state->packed.image.path != image.path)
		image_close(&image);
	return ret;
}

int boot_unpack(struct guest_memory *memory, const struct boot_request *request,
		struct boot_state *state)
{
	int ret = 0;

	if (state->packed.image.path)
		ret = boot_unpack_bzimage(memory, request, state);
	boot_close(state);
	if (!ret)
		say("kernel %s: %s, starts at 0x%llx", request->kernel, state->format,
		    (unsigned long long)state->rip);
	return ret;
}

void boot_close(struct boot_state *state)
{
	if (state->packed.image.path)
		image_close(&state->packed.image);
	state->packed.image.path = NULL;
}
