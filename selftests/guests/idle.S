/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A Multiboot 1 guest that says "up" on the serial port and halts: a VM that costs what a VM costs, and no more.
 */
	.section .text
	.code32
	.balign 4
	.long	0x1badb002, 0, -0x1badb002

	.global _start
_start:
	mov	$0x3f8, %dx
	mov	$'u', %al
	out	%al, %dx
	mov	$'p', %al
	out	%al, %dx
	mov	$10, %al
	out	%al, %dx
	cli
1:	hlt
	jmp	1b

	.section .note.GNU-stack, "", @progbits
