/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Into the guest and back (SDM vol. 3 ch. 27 and 28).
 *
 * VM entry loads RIP, RSP, RFLAGS and everything else the VMCS holds; the
 * other general registers are ours to exchange. On VM exit the processor
 * loads RSP and RIP from the host-state area, so it arrives at
 * vmx_exit_landing with the stack as it was at VMLAUNCH or VMRESUME.
 */
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/nospec-branch.h>
#include <asm/unwind_hints.h>

#include "../spec_macros.S"

/* struct kiln_vcpu starts with regs[], in the order of the ModRM encoding. */
#define REG(n)	((n) * 8)
#define RAX	0
#define RCX	1
#define RDX	2
#define RBX	3
#define RBP	5
#define RSI	6
#define RDI	7

#define HOST_RSP 0x6c14

.section .noinstr.text, "ax"

/*
 * int vmx_enter_guest(struct vmx_vcpu *vmx, bool launched, u64 *host_rsp)
 *
 * Returns 0 after a VM exit, 1 if VMLAUNCH or VMRESUME failed. @host_rsp is
 * what the VMCS holds in HOST_RSP, rewritten only when the stack has moved.
 */
SYM_FUNC_START(vmx_enter_guest)
	push	%rbp
	mov	%rsp, %rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
	push	%rdi

	cmp	%rsp, (%rdx)
	je	1f
	mov	$HOST_RSP, %eax
.Lstack:
	vmwrite	%rsp, %rax
	mov	%rsp, (%rdx)
1:
	SPEC_CTRL_TO_GUEST %rdi
	/* Neither MOV nor VERW touches CF. */
	bt	$0, %esi

	mov	REG(RAX)(%rdi), %rax
	mov	REG(RCX)(%rdi), %rcx
	mov	REG(RDX)(%rdi), %rdx
	mov	REG(RBX)(%rdi), %rbx
	mov	REG(RBP)(%rdi), %rbp
	mov	REG(RSI)(%rdi), %rsi
	mov	REG(8)(%rdi), %r8
	mov	REG(9)(%rdi), %r9
	mov	REG(10)(%rdi), %r10
	mov	REG(11)(%rdi), %r11
	mov	REG(12)(%rdi), %r12
	mov	REG(13)(%rdi), %r13
	mov	REG(14)(%rdi), %r14
	mov	REG(15)(%rdi), %r15
	mov	REG(RDI)(%rdi), %rdi

	CLEAR_CPU_BUFFERS
	jnc	.Llaunch

	/* The landing is reached with the unwind state of here. */
	UNWIND_HINT_SAVE
.Lresume:
	vmresume
	jmp	.Lfail
.Llaunch:
	vmlaunch
	jmp	.Lfail

	/* Faults: a reboot took VMX away. */
	_ASM_EXTABLE(.Lstack, .Lfail)
	_ASM_EXTABLE(.Lresume, .Lfail)
	_ASM_EXTABLE(.Llaunch, .Lfail)

SYM_INNER_LABEL(vmx_exit_landing, SYM_L_GLOBAL)
	UNWIND_HINT_RESTORE
	ENDBR

	push	%rax
	mov	8(%rsp), %rax
	mov	%rcx, REG(RCX)(%rax)
	mov	%rdx, REG(RDX)(%rax)
	mov	%rbx, REG(RBX)(%rax)
	mov	%rbp, REG(RBP)(%rax)
	mov	%rsi, REG(RSI)(%rax)
	mov	%rdi, REG(RDI)(%rax)
	mov	%r8,  REG(8)(%rax)
	mov	%r9,  REG(9)(%rax)
	mov	%r10, REG(10)(%rax)
	mov	%r11, REG(11)(%rax)
	mov	%r12, REG(12)(%rax)
	mov	%r13, REG(13)(%rax)
	mov	%r14, REG(14)(%rax)
	mov	%r15, REG(15)(%rax)
	pop	REG(RAX)(%rax)

	mov	%rax, %rdi
	RETURNS_AFTER_EXIT %rcx
	SPEC_CTRL_TO_HOST %rdi
	CLEAR_BRANCH_HISTORY_VMEXIT

	xor	%eax, %eax
.Lclear:
	/*
	 * Guest values must not steer speculation in the host. RSP and RIP
	 * are the host's, RBX, RBP and R12 to R15 are popped below.
	 */
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d

	add	$8, %rsp
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET

.Lfail:
	mov	(%rsp), %rdi
	SPEC_CTRL_TO_HOST %rdi
	mov	$1, %eax
	jmp	.Lclear
SYM_FUNC_END(vmx_enter_guest)
