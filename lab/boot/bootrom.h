/* SPDX-License-Identifier: GPL-2.0-only */
/* What bootrom.S and the header of a boot image (header.S) agree on. */
#ifndef LAB_BOOTROM_H
#define LAB_BOOTROM_H

#define ROM_BASE	0xd0000
#define ROM_SIZE	1024

/* The unit in which Bochs hands out memory: "mem block size" in its log. */
#define BLOCK		0x20000
#define LEAD		16
#define LOAD_ADDR	0x800000
#define PAYLOAD		0x1000000
#define HEADER		(PAYLOAD - BLOCK)

#define LEAD_MAGIC	0x4b4c4541	/* "AELK" in memory: KLEA */
#define HEADER_MAGIC	0x4b484452
#define END_MAGIC	0x4b454e44

/* The header block */
#define H_MAGIC		0
#define H_SIZE		4
#define H_ENTRY		8
#define H_INITRD	12
#define H_INITRD_SIZE	16
#define H_CMDLINE	20

#endif
