/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A Multiboot 1 guest that never rests, for being killed in whatever it does: processor 0 touches memory from 2 to
 * 32 MiB, reads ports and the local APIC, and halts for its timer now and then; the others, if there are any, are
 * started and spin in real mode with CPUID and a port. Between its exits each also runs for a while, as guests do.
 */
	.section .text
	.code32
	.balign 4
	.long	0x1badb002, 0, -0x1badb002

	.equ	APIC, 0xfee00000

	.global _start
_start:
	mov	$stack_end, %esp
	mov	$ap, %esi			/* the second processor's code, to a page a start-up IPI can name */
	mov	$0x8000, %edi
	mov	$ap_end - ap, %ecx
	rep movsb
	movl	$0x1ff, APIC + 0xf0
	movl	$0x000c4500, APIC + 0x300	/* INIT, then start-up, to all others */
	mov	$10000, %ecx
1:	pause
	loop	1b
	movl	$0x000c4608, APIC + 0x300
	lgdt	gdtr
	ljmp	$8, $2f
2:	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$timer, %eax			/* one gate: the timer's */
	mov	%ax, idt + 8 * 0x40
	movw	$8, idt + 8 * 0x40 + 2
	movw	$0x8e00, idt + 8 * 0x40 + 4
	shr	$16, %eax
	mov	%ax, idt + 8 * 0x40 + 6
	lidt	idtr
	movb	$0xff, %al			/* nothing of the PIC */
	out	%al, $0x21
	out	%al, $0xa1
	movl	$0xb, APIC + 0x3e0
	movl	$0x40, APIC + 0x320

round:	mov	$0x200000, %edi
3:	incl	(%edi)
	mov	APIC + 0x20, %eax
	in	$0x61, %al
	xor	%eax, %eax
	cpuid
	mov	$2000, %ecx
4:	loop	4b
	add	$4096, %edi
	cmp	$0x2000000, %edi
	jb	3b
	movl	$10000, APIC + 0x380
	sti
	hlt
	cli
	jmp	round

timer:	movl	$0, APIC + 0xb0
	iret

	.code16
ap:	xor	%eax, %eax
	cpuid
	out	%al, $0x80
	mov	$4000, %cx
5:	loop	5b
	jmp	ap
ap_end:

	.code32
	.section .data
	.balign 8
gdt:	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:	.word	23
	.long	gdt
idtr:	.word	8 * 256 - 1
	.long	idt

	.section .bss
	.balign 8
idt:	.skip	8 * 256
	.skip	1024
stack_end:

	.section .note.GNU-stack, "", @progbits
