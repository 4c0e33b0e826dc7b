/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guests' entries that C cannot express: 256 interrupt gates, and the way of an application processor from real
 * mode to 64-bit mode.
 */
	.section guest_text, "ax", @progbits

/* Gate N is at guest_gates + 16 * N. Vectors 8, 10-14, 17, 21, 29, 30 push an error code; the others get a 0. */
	.global guest_gates
	.balign 16
guest_gates:
	vector = 0
	.rept 256
	.balign 16
	.if !((vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || \
	      (vector == 29) || (vector == 30))
	pushq	$0
	.endif
	pushq	$vector
	jmp	common
	vector = vector + 1
	.endr

/* The order of the pushes is that of struct trap. */
common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	cld
	mov	%rsp, %rdi
	mov	%rsp, %rbp
	and	$-16, %rsp
	call	guest_trap
	mov	%rbp, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

/*
 * Copied to AP_PAGE. A start-up IPI with vector 0x0f sets CS to 0x0f00 and IP to 0; the page tables, GDT and IDT are
 * those vm.c built, and each processor takes the stack of its APIC id.
 */
	.section .rodata
	.global ap_start, ap_start_end
	.balign 16
ap_start:
	.code16
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	(ap_gdtr - ap_start)
	lidtl	(ap_idtr - ap_start)
	mov	$0x1000, %eax
	mov	%eax, %cr3
	mov	$0x620, %eax			/* PAE, OSFXSR, OSXMMEXCPT */
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx
	mov	$0x100, %eax			/* EFER.LME */
	xor	%edx, %edx
	wrmsr
	mov	$0x80010033, %eax		/* PG, WP, NE, ET, MP, PE */
	mov	%eax, %cr0
	ljmpl	$0x08, $(0xf000 + ap_long - ap_start)
	.code64
ap_long:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	mov	$1, %eax
	cpuid
	shr	$24, %ebx
	mov	%ebx, %edi
	inc	%ebx
	shl	$14, %ebx
	lea	0x20000(%rbx), %esp
	sub	$8, %rsp
	jmp	*ap_entry
	.balign 8
ap_gdtr:
	.word	0x3f
	.long	0x7000
ap_idtr:
	.word	0xfff
	.long	0x8000
ap_start_end:

	.section .note.GNU-stack, "", @progbits
