// SPDX-License-Identifier: GPL-2.0-only
#include "bzimage.h"

#include <string.h>

#include "error.h"
#include "util.h"

#define BOOT_FLAG	0xaa55
#define HDRS		0x53726448	/* "HdrS" */
#define SECTOR		512ULL
#define ENTRY64		0x200ULL
#define SIZE_FIELD	4ULL

bool bzimage_recognize(const uint8_t *head, uint64_t len, struct setup_header *hdr)
{
	memset(hdr, 0, sizeof(*hdr));
	if (len > BZIMAGE_HEADER_OFFSET)
		memcpy(hdr, head + BZIMAGE_HEADER_OFFSET,
		       min_u64(len - BZIMAGE_HEADER_OFFSET, sizeof(*hdr)));
	return hdr->boot_flag == BOOT_FLAG && hdr->header == HDRS;
}

static int locate(const struct image *image, struct bzimage *bz)
{
	const struct setup_header *hdr = &bz->hdr;

	bz->offset = ((hdr->setup_sects ? hdr->setup_sects : 4) + 1) * SECTOR;
	bz->size = (uint64_t)hdr->syssize * 16;
	if (bz->size <= ENTRY64)
		return error_set("%s: a damaged bzImage: it says it has no content; build or fetch it again",
				 image->path);
	if (bz->offset > image->size || bz->size > image->size - bz->offset)
		return error_set("%s: truncated: %llu bytes of %llu are there; build or fetch it again",
				 image->path, (unsigned long long)image->size,
				 (unsigned long long)(bz->offset + bz->size));
	return 0;
}

int bzimage_parse(const struct image *image, struct bzimage *bz)
{
	uint8_t head[BZIMAGE_HEADER_OFFSET + sizeof(bz->hdr)];

	if (image_read(image, 0, head, sizeof(head)))
		return -1;
	if (!bzimage_recognize(head, sizeof(head), &bz->hdr))
		return error_set("%s: not a bzImage; give a kernel's vmlinuz", image->path);
	return locate(image, bz);
}

int bzimage_payload(const struct image *image, const struct bzimage *bz, uint64_t *offset,
		    uint64_t *size, uint64_t *unpacked)
{
	uint64_t from = bz->hdr.payload_offset, len = bz->hdr.payload_length;
	uint8_t field[SIZE_FIELD];

	if (len <= SIZE_FIELD || from > bz->size || len > bz->size - from)
		return error_set("%s: its payload lies outside of it; build or fetch it again",
				 image->path);
	if (image_read(image, bz->offset + from + len - SIZE_FIELD, field, sizeof(field)))
		return -1;
	*offset = bz->offset + from;
	*size = len;
	*unpacked = (uint64_t)field[0] | (uint64_t)field[1] << 8 | (uint64_t)field[2] << 16 |
		    (uint64_t)field[3] << 24;
	if (!*unpacked || *unpacked > bz->hdr.init_size)
		return error_set("%s: its payload says it has %llu bytes unpacked, and the kernel asks for memory for %u; build or fetch it again",
				 image->path, (unsigned long long)*unpacked, bz->hdr.init_size);
	return 0;
}
