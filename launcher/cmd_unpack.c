// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>

#include "cmd.h"
#include "error.h"
#include "opts.h"
#include "status.h"
#include "unpacked.h"

static int set_kernel_cache(void *config, const char *value)
{
	return unpacked_parse_cache(config, value);
}

static const struct opt options[] = {
	{ "kernel-cache", "DIR", "where unpacked kernels are kept", set_kernel_cache },
	{ NULL, NULL, NULL, NULL },
};

void cmd_unpack_help(FILE *out)
{
	fprintf(out, "Usage: kiln unpack [OPTION] FILE\n\n"
		     "Unpacks a bzImage (vmlinuz) into the cache of `kiln run`, so that its first run there\n"
		     "is as quick as the later ones, and prints the name of what is kept.\n\n");
	opts_print(options, out);
}

int cmd_unpack(int argc, char **argv)
{
	struct unpack_config config = { .where = UNPACK_CACHE };
	const char *path = NULL;
	struct image image;
	struct bzimage bz;
	char *entry;
	int ret;

	if (opts_parse_operands(options, &config, argc, argv, &path, 1))
		return -1;
	if (!path)
		return error_set("a kernel is missing; give the file to unpack");
	if (image_open(&image, "kernel", path))
		return -1;
	ret = bzimage_parse(&image, &bz);
	if (!ret)
		ret = unpacked_keep(&image, &bz, config.cache, &entry);
	image_close(&image);
	if (ret)
		return -1;
	puts(entry);
	free(entry);
	return STATUS_OFF;
}
