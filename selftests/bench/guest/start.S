/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the devices' guest begins: a Multiboot 1 program, which is entered in 32-bit protected mode without paging and
 * goes on to 64-bit mode, where Linux runs. The first 4 GiB, where devices are, too, are mapped one to one. It asks
 * for no more than its command line, and has one interrupt handler for all vectors.
 */
#define MSR_EFER	0xc0000080
#define EFER_LME	0x100
#define CR4_PAE		0x20
#define CR0_PG		0x80000000

#define PRESENT_WRITABLE	0x3
#define LARGE			0x80

	.section .text.start, "ax"
	.balign 4
	.long	0x1badb002, 0, -0x1badb002

	.code32
	.global _start
_start:
	cli
	cld

	/* Pages of 2 MiB, until the address overflows. The upper halves of all entries are zero. */
	mov	$directories, %edi
	mov	$PRESENT_WRITABLE | LARGE, %eax
1:	mov	%eax, (%edi)
	add	$8, %edi
	add	$0x200000, %eax
	jnc	1b
	movl	$directories + PRESENT_WRITABLE, directory_pointers
	movl	$directories + 0x1000 + PRESENT_WRITABLE, directory_pointers + 8
	movl	$directories + 0x2000 + PRESENT_WRITABLE, directory_pointers + 16
	movl	$directories + 0x3000 + PRESENT_WRITABLE, directory_pointers + 24
	movl	$directory_pointers + PRESENT_WRITABLE, level4

	mov	%cr4, %eax
	or	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$level4, %eax
	mov	%eax, %cr3
	mov	$MSR_EFER, %ecx
	rdmsr
	or	$EFER_LME, %eax
	wrmsr
	mov	%cr0, %eax
	or	$CR0_PG, %eax
	mov	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$8, $1f

	.code64
1:	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$stack_end, %esp
	mov	%ebx, %edi
	call	guest_main
2:	cli
	hlt
	jmp	2b

	/*
	 * A message of a device. The CPU aligns the stack to 16 before it pushes its five words; with the nine of here it
	 * is aligned again, as the ABI asks of a call.
	 */
	.global interrupt
interrupt:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	call	take_interrupt
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rax
	iretq

	/* An exception: nobody expects one. Some push an error code. */
	.global exception
exception:
	and	$-16, %rsp
	call	take_exception

	/* Code of 64 bits, data. */
	.section .rodata
	.balign 8
gdt:	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt

	.section .bss
	.balign 4096
level4:
	.skip	4096
directory_pointers:
	.skip	4096
directories:
	.skip	4 * 4096
	.skip	16384
stack_end:

	.section .note.GNU-stack, "", @progbits
