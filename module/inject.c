// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exceptions raised on the guest's behalf: by an instruction that exited, by
 * the emulator, or once more after its delivery was cut short by an exit. What
 * is queued here, the backend hands to the hardware with the next entry.
 */
#include <linux/bits.h>
#include <linux/bitops.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>
#include <uapi/asm/debugreg.h>

#include "compat.h"
#include "hw.h"
#include "state.h"
#include "vcpu.h"

/* SDM vol. 3 table 6-5: what two exceptions in a row make. */
enum exception_class {
	BENIGN,
	CONTRIBUTORY,
	PAGE_FAULT,
	DOUBLE_FAULT,
};

static enum exception_class class_of(u8 vector)
{
	switch (vector) {
	case X86_TRAP_DE:
	case X86_TRAP_TS:
	case X86_TRAP_NP:
	case X86_TRAP_SS:
	case X86_TRAP_GP:
	case X86_TRAP_CP:
		return CONTRIBUTORY;
	case X86_TRAP_PF:
	case X86_TRAP_VE:
		return PAGE_FAULT;
	case X86_TRAP_DF:
		return DOUBLE_FAULT;
	default:
		return BENIGN;
	}
}

static bool makes_double_fault(u8 first, u8 second)
{
	enum exception_class a = class_of(first), b = class_of(second);

	return (a == CONTRIBUTORY && b == CONTRIBUTORY) ||
	       (a == PAGE_FAULT && (b == CONTRIBUTORY || b == PAGE_FAULT));
}

/*
 * Faults push RFLAGS with RF set, so that an instruction breakpoint does not
 * hit twice (SDM vol. 3 §17.3.1.1). Hardware does that for its own exceptions
 * only. #DB is none of these: as raised here it is a trap.
 */
#define FAULTS								\
	(BIT(X86_TRAP_DE) | BIT(X86_TRAP_BR) | BIT(X86_TRAP_UD) |	\
	 BIT(X86_TRAP_NM) | BIT(X86_TRAP_TS) | BIT(X86_TRAP_NP) |	\
	 BIT(X86_TRAP_SS) | BIT(X86_TRAP_GP) | BIT(X86_TRAP_PF) |	\
	 BIT(X86_TRAP_MF) | BIT(X86_TRAP_AC) | BIT(X86_TRAP_XF) |	\
	 BIT(X86_TRAP_VE) | BIT(X86_TRAP_CP))

static void raise(struct kiln_vcpu *vcpu, u8 vector, bool has_error, u32 error)
{
	vcpu->exception = (struct kiln_event) {
		.pending = true,
		.vector = vector,
		/* Real mode has no error codes (SDM vol. 3 §20.1.4). */
		.has_error = has_error && (vcpu->cr0 & X86_CR0_PE),
		.error = error,
	};
	if (FAULTS & BIT(vector))
		kiln_reg_write(vcpu, KILN_RFLAGS,
			       kiln_reg_read(vcpu, KILN_RFLAGS) | X86_EFLAGS_RF);
	set_bit(KILN_REQ_EVENT, &vcpu->requests);
}

void kiln_queue_exception(struct kiln_vcpu *vcpu, u8 vector, bool has_error,
			  u32 error)
{
	struct kiln_event *first = &vcpu->exception;

	if (!first->pending && !first->injected) {
		raise(vcpu, vector, has_error, error);
	} else if (class_of(first->vector) == DOUBLE_FAULT &&
		   class_of(vector) != BENIGN) {
		*first = (struct kiln_event) {};
		vcpu->triple_fault = true;
		set_bit(KILN_REQ_SHUTDOWN, &vcpu->requests);
	} else if (makes_double_fault(first->vector, vector)) {
		raise(vcpu, X86_TRAP_DF, true, 0);
	} else {
		/*
		 * Serial: the second is delivered, the first comes back when
		 * the instruction that caused it is restarted.
		 */
		raise(vcpu, vector, has_error, error);
	}
}

KILN_EXPORT_FOR_KUNIT(kiln_queue_exception);

void kiln_inject_gp(struct kiln_vcpu *vcpu, u32 error)
{
	kiln_queue_exception(vcpu, X86_TRAP_GP, true, error);
}

KILN_EXPORT_FOR_KUNIT(kiln_inject_gp);

void kiln_inject_ud(struct kiln_vcpu *vcpu)
{
	kiln_queue_exception(vcpu, X86_TRAP_UD, false, 0);
}

KILN_EXPORT_FOR_KUNIT(kiln_inject_ud);

void kiln_inject_pf(struct kiln_vcpu *vcpu, u32 error, u64 cr2)
{
	vcpu->cr2 = cr2;
	kiln_queue_exception(vcpu, X86_TRAP_PF, true, error);
}

KILN_EXPORT_FOR_KUNIT(kiln_inject_pf);

#define DR7_GD	BIT_ULL(13)

/* Delivering #DB clears GD, but not if it is injected (SDM vol. 3 §26.6.1.1). */
void kiln_inject_db(struct kiln_vcpu *vcpu, u64 dr6)
{
	vcpu->dr6 = (vcpu->dr6 & ~(u64)DR_TRAP_BITS) | dr6;
	if (vcpu->dr7 & DR7_GD) {
		vcpu->dr7 &= ~DR7_GD;
		kiln_hw->refresh(vcpu, KILN_REFRESH_DR7);
	}
	kiln_queue_exception(vcpu, X86_TRAP_DB, false, 0);
}
