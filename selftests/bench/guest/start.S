/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the devices' guest begins: a Multiboot 1 program in 32-bit protected mode without paging. It asks for no
 * more than its command line, and has one interrupt handler for all vectors.
 */
	.section .text.start, "ax"
	.balign 4
	.long	0x1badb002, 0, -0x1badb002

	.global _start
_start:
	cli
	mov	$stack_end, %esp
	lgdt	gdt_pointer
	ljmp	$8, $1f
1:	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	push	%ebx
	call	guest_main
2:	cli
	hlt
	jmp	2b

	/* A message of a device. */
	.global interrupt
interrupt:
	pusha
	call	take_interrupt
	popa
	iret

	/* An exception: nobody expects one. */
	.global exception
exception:
	call	take_exception

	.section .rodata
	.balign 8
gdt:	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt

	.section .bss
	.balign 16
	.skip	16384
stack_end:

	.section .note.GNU-stack, "", @progbits
