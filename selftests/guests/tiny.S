/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A Multiboot 1 guest that says on the serial port when it began: its TSC at its first instruction, and what KVM's
 * paravirtual clock makes of a TSC (msr.rst), as lines of hexadecimal words:
 *
 *	tsc (low, high), clock page (8 words), wall clock (3 words)
 *
 * Then it ends the run through the debug-exit port. A bench or a test turns that into a time of the host.
 */
	.section .text
	.code32
	.balign 4
	.long	0x1badb002, 0, -0x1badb002

	.global _start
_start:
	rdtsc
	mov	$stack_end, %esp
	mov	%eax, words
	mov	%edx, words + 4

	mov	$0x4b564d01, %ecx		/* the system time, with bit 0: enabled */
	mov	$page + 1, %eax
	xor	%edx, %edx
	wrmsr
	mov	$0x4b564d00, %ecx		/* the wall clock, written once */
	mov	$wall, %eax
	xor	%edx, %edx
	wrmsr
	cpuid					/* an exit, so that the page is filled on the way back in */

	mov	$page, %esi
	mov	$words + 8, %edi
	mov	$8, %ecx
	rep movsl
	mov	$wall, %esi
	mov	$3, %ecx
	rep movsl

	mov	$words, %esi
	mov	$13, %ebp
1:	lodsl
	call	print
	dec	%ebp
	jnz	1b
	xor	%eax, %eax
	out	%eax, $0xf4
2:	hlt
	jmp	2b

/* EAX as eight digits and a newline. */
print:	mov	%eax, %ebx
	mov	$8, %ecx
3:	rol	$4, %ebx
	mov	%ebx, %eax
	and	$15, %eax
	mov	digits(%eax), %al
	call	putc
	loop	3b
	mov	$10, %al
putc:	mov	%al, %ah
	mov	$0x3fd, %dx
4:	in	%dx, %al
	test	$0x20, %al
	jz	4b
	mov	%ah, %al
	mov	$0x3f8, %dx
	out	%al, %dx
	ret

digits:	.ascii	"0123456789abcdef"

	.section .bss
	.balign 64
page:	.skip	64
wall:	.skip	64
words:	.skip	64
	.skip	1024
stack_end:

	.section .note.GNU-stack, "", @progbits
