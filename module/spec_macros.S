/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Speculation around entry and exit, for the backends' entry.S to include.
 * What the host kernel has not switched on costs a jump or nothing: everything
 * here is an alternative of the kernel's own features.
 */
#include <asm/alternative.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>

#include "spec_offsets.h"

/*
 * The guest's IA32_SPEC_CTRL, unless the VMCB has it, to which the processor
 * adds what the MSR has: the host's. Clobbers RAX, RCX, RDX and flags.
 */
.macro SPEC_CTRL_TO_GUEST vcpu:req
	ALTERNATIVE_2 "jmp .Lguest_done_\@", \
		      "", X86_FEATURE_MSR_SPEC_CTRL, \
		      "jmp .Lguest_done_\@", X86_FEATURE_V_SPEC_CTRL
	mov	SPEC_GUEST(\vcpu), %eax
	cmp	SPEC_HOST(\vcpu), %eax
	je	.Lguest_done_\@
	xor	%edx, %edx
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	wrmsr
.Lguest_done_\@:
.endm

/*
 * The host's again. A guest that may write it without an exit is asked what it
 * has now. Legacy IBRS is a barrier only if it is written, so then it is, whatever
 * it was; each path around the write is closed to speculation. Clobbers RAX,
 * RCX, RDX and flags.
 */
.macro SPEC_CTRL_TO_HOST vcpu:req
	ALTERNATIVE_2 "jmp .Lhost_done_\@", \
		      "", X86_FEATURE_MSR_SPEC_CTRL, \
		      "jmp .Lhost_done_\@", X86_FEATURE_V_SPEC_CTRL
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	cmpb	$0, SPEC_LIVE(\vcpu)
	je	.Lasked_\@
	rdmsr
	mov	%eax, SPEC_GUEST(\vcpu)
.Lasked_\@:
	mov	SPEC_HOST(\vcpu), %eax
	ALTERNATIVE "cmp SPEC_GUEST_OFFSET(\vcpu), %eax; je .Lhost_done_\@", "", \
		    X86_FEATURE_KERNEL_IBRS
	xor	%edx, %edx
	wrmsr
.Lhost_done_\@:
	ALTERNATIVE_2 "", "lfence", X86_FEATURE_MSR_SPEC_CTRL, \
		      "", X86_FEATURE_V_SPEC_CTRL
.endm

/* cpp does not look into strings. */
.set SPEC_GUEST_OFFSET, SPEC_GUEST

/*
 * The guest has filled the return stack buffer, and on some processors trained
 * what predicts returns: before the first RET. Clobbers \reg and flags.
 */
.macro RETURNS_AFTER_EXIT reg:req
	FILL_RETURN_BUFFER \reg, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, \
			   X86_FEATURE_RSB_VMEXIT_LITE
.endm

/* Zen predicts returns from what the guest has trained. May clobber RAX, RCX, RDX. */
.macro UNTRAIN_AFTER_EXIT
#ifdef UNTRAIN_RET_VM
	UNTRAIN_RET_VM
#else
	UNTRAIN_RET
	ALTERNATIVE "", "call entry_ibpb", X86_FEATURE_IBPB_ON_VMEXIT
#endif
.endm
