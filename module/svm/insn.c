// SPDX-License-Identifier: GPL-2.0-only
/*
 * The instruction that exited: how long it is and which registers it names.
 * Processors with next-RIP saving and decode assists tell (§15.7.1, §15.10.2,
 * §15.33); for the others its bytes are decoded.
 */
#include <linux/sched.h>
#include <asm/debugreg.h>

#include "compat.h"
#include "hw.h"
#include "io.h"
#include "state.h"
#include "svm.h"

/*
 * Lengths without prefixes, for where the guest has changed or unmapped the
 * bytes since they were executed: nobody can tell any more.
 */
unsigned int svm_plain_length(u32 code)
{
	switch (code) {
	case SVM_EXIT_HLT:
	case SVM_EXIT_ICEBP:
		return 1;
	case SVM_EXIT_READ_CR0 ... SVM_EXIT_WRITE_DR7:
	case SVM_EXIT_VMMCALL:
	case SVM_EXIT_XSETBV:
		return 3;
	default:
		return 2;
	}
}

KILN_EXPORT_FOR_KUNIT(svm_plain_length);

static bool long_code(struct kiln_vcpu *vcpu)
{
	return (vcpu->efer & EFER_LMA) &&
	       (svm_get_cs_flags(vcpu) & KILN_CS_L);
}

/* Code that is not 64-bit wraps at 4 GiB. */
static void set_next_rip(struct svm_vcpu *svm, u64 next)
{
	svm->next_rip = long_code(&svm->vcpu) ? next : (u32)next;
}

/* @len bytes of instruction are behind svm->exit_rip. */
void svm_set_next(struct svm_vcpu *svm, unsigned int len)
{
	set_next_rip(svm, svm->exit_rip + len);
}

KILN_EXPORT_FOR_KUNIT(svm_set_next);

/**
 * svm_next_rip_io() - the next RIP after a port access
 * @svm: vCPU that just exited for one
 *
 * It comes with the exit on every processor (§15.10.2). TCG does not wrap it.
 */
void svm_next_rip_io(struct svm_vcpu *svm)
{
	set_next_rip(svm, svm->vmcb->control.exit_info_2);
}

/**
 * svm_next_rip_fast() - find the next RIP without sleeping
 * @svm: vCPU that just exited for an instruction
 *
 * Return: true if svm_skip_insn() knows it now.
 * Context: IRQs off.
 */
bool svm_next_rip_fast(struct svm_vcpu *svm)
{
	unsigned int len;

	if (svm_caps.nrips && svm->vmcb->control.next_rip) {
		svm->next_rip = svm->vmcb->control.next_rip;
		return true;
	}
	len = kiln_insn_known(&svm->vcpu);
	if (!len)
		return false;
	svm->next_rip = svm->exit_rip + len;
	return true;
}

/**
 * svm_decode() - decode the instruction that exited
 * @svm: vCPU
 * @insn: out
 * @r: out, with false: what the handler shall return: the guest gets the fault
 *	that the fetch met, or that was the end of it
 *
 * Return: true; or false where its bytes are not to be had or are none it knows.
 * Context: may sleep.
 */
bool svm_decode(struct svm_vcpu *svm, struct kiln_insn *insn, int *r)
{
	enum emulate_result result;
	struct kiln_emul e;

	kiln_emul_init(&e, &svm->vcpu);
	result = kiln_emul_fetch(&e);
	if (result != EMU_DONE) {
		*r = kiln_emul_failed(&e, result);
		return false;
	}
	*insn = e.ctxt.insn;
	svm_set_next(svm, insn->length);
	return true;
}

/*
 * Out of line: else the compiler clears all of @e, which is 320 bytes, before
 * it looks whether there is something to decode.
 */
static noinline void decode_next(struct svm_vcpu *svm)
{
	struct kiln_emul e;

	kiln_emul_init(&e, &svm->vcpu);
	svm_set_next(svm, kiln_emul_fetch(&e) == EMU_DONE ?
			  e.ctxt.insn.length : svm_plain_length(svm->exit_code));
}

/**
 * svm_skip_insn() - the instruction that exited is done
 * @vcpu: the vCPU
 *
 * As the processor does at the end of an instruction: RIP moves on, the
 * shadow of STI and MOV SS ends, TF raises #DB.
 *
 * Context: may sleep, unless svm_next_rip_fast() said yes.
 */
void svm_skip_insn(struct kiln_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	if (!svm->next_rip && !svm_next_rip_fast(svm))
		decode_next(svm);
	kiln_reg_write(vcpu, KILN_RIP, svm->next_rip);
	svm->vmcb->control.int_state &= ~SVM_INTERRUPT_SHADOW_MASK;
	if (unlikely(svm->step))
		svm_step_done(svm);
	if (unlikely(kiln_reg_read(vcpu, KILN_RFLAGS) & X86_EFLAGS_TF))
		kiln_inject_db(vcpu, DR_STEP);
}
