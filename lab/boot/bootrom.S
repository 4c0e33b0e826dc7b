/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The option ROM that starts a kernel in Bochs without a boot loader.
 *
 * Loading through the emulated CD-ROM and decompressing a kernel costs more
 * emulated instructions than everything Linux does until init. Bochs can place
 * a file in guest memory before the first instruction (optramimage), so this
 * ROM only has to find it and enter the kernel by its PVH entry point.
 *
 * Why "find": Bochs hands out its memory in blocks in the order of first
 * touch, and reads an image with one read() into the block of its first byte.
 * What lies beyond that block lands in memory that belongs to the blocks
 * touched next. So the image starts with LEAD marked blocks that absorb what
 * the BIOS touched before us; touching fresh blocks in ascending order until
 * the mark of the last lead block appears tells where the order stands, and
 * from there on touching is placing: header, then kernel and initrd.
 *
 * Image: LEAD lead blocks { LEAD_MAGIC, index }, a header block, the payload,
 * which begins at PAYLOAD and ends with END_MAGIC.
 */
#include "bootrom.h"

#define COM1	0x3f8
#define E820	0x8200		/* memory map, 24 bytes per entry */
#define INFO	0x8100		/* struct hvm_start_info */
#define MODLIST	0x8180		/* struct hvm_modlist_entry */

	.code16
	.globl	_start
_start:
	.byte	0x55, 0xaa, ROM_SIZE / 512
	cli
	cld
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	$0x7c00, %sp
	movw	$INFO, %di
	movw	$(E820 + 64 * 24 - INFO), %cx
	rep stosb

	/* INT 15h AX=E820h: 20 bytes an entry, PVH wants them 24 apart. */
	movw	$E820, %di
	xorl	%ebx, %ebx
next_range:
	movl	$0xe820, %eax
	movl	$0x534d4150, %edx
	movl	$20, %ecx
	int	$0x15
	jc	ranges_done
	addw	$24, %di
	testl	%ebx, %ebx
	jnz	next_range
ranges_done:
	cli
	movw	%di, %si		/* end of the map, for start32 */
	inb	$0x92, %al
	orb	$2, %al			/* A20 */
	outb	%al, $0x92
	lgdtl	%cs:(gdt_ptr - _start)
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$8, $start32

	.code32
start32:
	movw	$16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$0x7c00, %esp
	movzwl	%si, %ebp

	movl	$(LOAD_ADDR + BLOCK), %esi
find_lead:
	cmpl	$LEAD_MAGIC, (%esi)
	jne	1f
	cmpl	$(LEAD - 1), 4(%esi)
	je	place
1:	addl	$BLOCK, %esi
	cmpl	$HEADER, %esi
	jb	find_lead
	jmp	fail

place:
	cmpl	$HEADER_MAGIC, HEADER + H_MAGIC
	jne	fail
	movl	HEADER + H_SIZE, %ecx	/* bytes of payload, whole blocks */
	movl	$PAYLOAD, %esi
1:	movl	(%esi), %eax
	addl	$BLOCK, %esi
	subl	$BLOCK, %ecx
	ja	1b
	cmpl	$END_MAGIC, -4(%esi)
	jne	fail
	/* After a reset the image is gone: never start it twice. */
	movl	$0, HEADER + H_MAGIC

	/* include/xen/interface/hvm/start_info.h, version 1 */
	movl	$0x336ec578, INFO
	movl	$1, INFO + 4
	movl	$1, INFO + 12		/* nr_modules */
	movl	$MODLIST, INFO + 16
	movl	$(HEADER + H_CMDLINE), INFO + 24
	movl	$E820, INFO + 40
	subl	$E820, %ebp
	movl	%ebp, %eax
	xorl	%edx, %edx
	movl	$24, %ecx
	divl	%ecx
	movl	%eax, INFO + 48
	movl	HEADER + H_INITRD, %eax
	movl	%eax, MODLIST
	movl	HEADER + H_INITRD_SIZE, %eax
	movl	%eax, MODLIST + 8

	movl	$INFO, %ebx
	movl	HEADER + H_ENTRY, %eax
	jmp	*%eax

fail:
	movl	$message, %esi
1:	movw	$(COM1 + 5), %dx
	inb	%dx, %al
	testb	$0x40, %al		/* the last byte has left */
	jz	1b
	lodsb
	testb	%al, %al
	jz	stop
	movw	$COM1, %dx
	outb	%al, %dx
	jmp	1b
	/* Bochs ends when "Shutdown" is written to this port. */
stop:
	movw	$0x8900, %dx
	movl	$shutdown, %esi
	movl	$8, %ecx
	rep outsb
1:	hlt
	jmp	1b

message:
	.asciz	"\r\nlab: the machine was reset\r\n"
shutdown:
	.ascii	"Shutdown"
	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
gdt_ptr:
	.word	gdt_ptr - gdt - 1
	.long	gdt
