// SPDX-License-Identifier: GPL-2.0-only
#include <linux/kernel.h>

#include "death.h"
#include "hw.h"
#include "io.h"
#include "state.h"
#include "trace.h"

__printf(3, 0)
static void record(struct kiln_vcpu *vcpu, u32 kind, const char *fmt,
		   va_list args)
{
	struct kiln_death *d = &vcpu->death;

	memset(d, 0, sizeof(*d));
	d->kind = kind;
	kiln_hw->death(vcpu, d);
	kiln_regs_get(vcpu, &d->regs);
	kiln_sregs_get(vcpu, &d->sregs);
	d->insn_len = kiln_insn_bytes(vcpu, d->insn);
	vsnprintf(d->cause, sizeof(d->cause), fmt, args);
	trace_kiln_death(vcpu->id, kind, d->cause);
}

/*
 * KVM's report of a failed emulation carries the instruction in words 2 and 3
 * (api.rst §5, emulation_failure); flags say that it is there.
 */
static void report_emulation(struct kiln_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run->emulation_failure.ndata = 3;
	run->emulation_failure.flags =
		KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
	run->emulation_failure.insn_size = vcpu->death.insn_len;
	memset(run->emulation_failure.insn_bytes, 0x90,
	       sizeof(run->emulation_failure.insn_bytes));
	memcpy(run->emulation_failure.insn_bytes, vcpu->death.insn,
	       vcpu->death.insn_len);
}

static void report_unexpected(struct kiln_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON;
	run->internal.ndata = 2;
	run->internal.data[0] = vcpu->death.exit_reason;
	run->internal.data[1] = vcpu->cpu;
}

int kiln_die(struct kiln_vcpu *vcpu, u32 kind, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	record(vcpu, kind, fmt, args);
	va_end(args);

	switch (kind) {
	case KILN_DEATH_TRIPLE_FAULT:
		vcpu->run->exit_reason = KVM_EXIT_SHUTDOWN;
		break;
	case KILN_DEATH_EMULATION:
		report_emulation(vcpu);
		break;
	default:
		report_unexpected(vcpu);
		break;
	}
	return KILN_EXIT_USER;
}

int kiln_die_memory(struct kiln_vcpu *vcpu, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	record(vcpu, KILN_DEATH_MEMORY, fmt, args);
	va_end(args);
	return err;
}
