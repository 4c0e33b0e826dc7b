/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The blocks in front of the payload of a boot image, see bootrom.S.
 * SIZE, ENTRY, INITRD, INITRD_SIZE and CMDLINE come from the command line.
 */
#include "bootrom.h"

	.set	index, 0
	.rept	LEAD
	.long	LEAD_MAGIC, index
	.org	(index + 1) * BLOCK
	.set	index, index + 1
	.endr

	.long	HEADER_MAGIC, SIZE, ENTRY, INITRD, INITRD_SIZE
	.asciz	CMDLINE
	.org	(LEAD + 1) * BLOCK
