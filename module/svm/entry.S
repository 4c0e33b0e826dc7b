/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Into the guest and back (APM vol. 2 §15.5, §15.6).
 *
 * VMRUN exchanges RAX, RSP, RIP, RFLAGS and what VMCB and host save area hold;
 * the other general registers are ours to exchange. So is the base of GS: what
 * VMLOAD loads stays in the CPU from one exit to the next, and of that the
 * host's code needs GS only, for as long as GIF is clear.
 */
#include <linux/linkage.h>
#include <asm/alternative.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>

#include "../spec_macros.S"

/* struct kiln_vcpu starts with regs[], in the order of the ModRM encoding. */
#define REG(n)	((n) * 8)
#define RCX	1
#define RDX	2
#define RBX	3
#define RBP	5
#define RSI	6
#define RDI	7

/* cpp does not look into strings. */
.set GS_BASE_MSR, MSR_GS_BASE

/* Both clobber RAX, RCX and RDX where there is no instruction for it. */
.macro GSBASE_TO_R8
	ALTERNATIVE "mov $GS_BASE_MSR, %ecx; rdmsr; shl $32, %rdx; lea (%rax,%rdx), %r8", \
		    "rdgsbase %r8", X86_FEATURE_FSGSBASE
.endm

.macro R9_TO_GSBASE
	ALTERNATIVE "mov $GS_BASE_MSR, %ecx; mov %r9d, %eax; mov %r9, %rdx; shr $32, %rdx; wrmsr", \
		    "wrgsbase %r9", X86_FEATURE_FSGSBASE
.endm

.section .noinstr.text, "ax"

/*
 * void svm_vmload_keep_gs(u64 vmcb_pa)
 *
 * VMLOAD of a guest's state, but for the base of GS.
 */
SYM_FUNC_START(svm_vmload_keep_gs)
	GSBASE_TO_R8
	mov	%rdi, %rax
	vmload	%rax
	mov	%r8, %r9
	R9_TO_GSBASE
	RET
SYM_FUNC_END(svm_vmload_keep_gs)

/*
 * void svm_enter_guest(struct svm_vcpu *svm, u64 vmcb_pa, u64 *gs_base)
 *
 * GIF is clear. IF is set while the guest runs, so that what the host's local
 * APIC has for us ends the stay (V_INTR_MASKING, §15.21.1).
 */
SYM_FUNC_START(svm_enter_guest)
	push	%rbp
	mov	%rsp, %rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
	push	%rdx
	push	%rdi

	mov	(%rdx), %r9
	GSBASE_TO_R8
	push	%r8
	R9_TO_GSBASE
	SPEC_CTRL_TO_GUEST %rdi

	/* Well before VMRUN: TCG would take the shadow of STI along. */
	sti
	mov	%rsi, %rax
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

	VM_CLEAR_CPU_BUFFERS
	vmrun	%rax
	cli

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

	mov	%rax, %rdi
	RETURNS_AFTER_EXIT %rcx
	SPEC_CTRL_TO_HOST %rdi
	UNTRAIN_AFTER_EXIT

	GSBASE_TO_R8
	pop	%r9
	R9_TO_GSBASE
	pop	%rdi
	pop	%rdx
	mov	%r8, (%rdx)

	/*
	 * Guest values must not steer speculation in the host. RSP and RIP
	 * are the host's, RBX, RBP and R12 to R15 are popped below.
	 */
	xor	%eax, %eax
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d

	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET
SYM_FUNC_END(svm_enter_guest)
