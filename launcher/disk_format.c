// SPDX-License-Identifier: GPL-2.0-only
#include "disk_format.h"

#include <string.h>
#include <strings.h>
#include <sys/types.h>
#include <unistd.h>

#include "util.h"

#define MAGIC_MAX 24

/* @offset below 0: from the end. */
struct magic {
	off_t offset;
	size_t len;
	const char *bytes;
};

struct disk_format {
	const char *name;
	const char *suffixes[2];
	struct magic magics[3];
};

#define BYTES(text) sizeof(text) - 1, text

static const struct disk_format formats[] = {
	/* Their magic is the same, a version follows. */
	{ "qcow2", { ".qcow2" }, { { 0, BYTES("QFI\xfb\0\0\0\2") }, { 0, BYTES("QFI\xfb\0\0\0\3") } } },
	{ "qcow", { ".qcow" }, { { 0, BYTES("QFI\xfb\0\0\0\1") } } },
	{ "qed", { ".qed" }, { { 0, BYTES("QED\0") } } },
	{ "vmdk", { ".vmdk" }, { { 0, BYTES("KDMV") }, { 0, BYTES("COWD") }, { 0, BYTES("# Disk DescriptorFile") } } },
	{ "vdi", { ".vdi" }, { { 64, BYTES("\x7f\x10\xda\xbe") } } },
	{ "vhdx", { ".vhdx" }, { { 0, BYTES("vhdxfile") } } },
	/* One of fixed size has only a footer. */
	{ "vpc", { ".vhd", ".vpc" }, { { 0, BYTES("conectix") }, { -512, BYTES("conectix") } } },
};

const struct disk_format *disk_format_named(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(formats); i++)
		if (!strcmp(formats[i].name, name))
			return &formats[i];
	return NULL;
}

static bool ends_like(const char *path, const char *suffix)
{
	size_t len = strlen(path), tail;

	if (!suffix)
		return false;
	tail = strlen(suffix);
	return len > tail && !strcasecmp(path + len - tail, suffix);
}

const struct disk_format *disk_format_of_name(const char *path)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(formats); i++)
		for (unsigned int k = 0; k < ARRAY_SIZE(formats[i].suffixes); k++)
			if (ends_like(path, formats[i].suffixes[k]))
				return &formats[i];
	return NULL;
}

static bool is_there(int fd, const struct magic *magic)
{
	off_t base = magic->offset < 0 ? lseek(fd, 0, SEEK_END) : 0;
	char bytes[MAGIC_MAX];
	ssize_t n;

	if (!magic->bytes || base + magic->offset < 0)
		return false;
	n = pread(fd, bytes, magic->len, base + magic->offset);
	return n == (ssize_t)magic->len && !memcmp(bytes, magic->bytes, magic->len);
}

const struct disk_format *disk_format_of_content(int fd)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(formats); i++)
		for (unsigned int k = 0; k < ARRAY_SIZE(formats[i].magics); k++)
			if (is_there(fd, &formats[i].magics[k]))
				return &formats[i];
	return NULL;
}

const char *disk_format_name(const struct disk_format *format)
{
	return format->name;
}
