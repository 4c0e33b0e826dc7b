// SPDX-License-Identifier: GPL-2.0-only
/*
 * From messages to local APICs: who a destination means (SDM vol. 3 §10.6.2,
 * §10.12.10), and how an interrupt is handed to a vCPU that may be running.
 *
 * The sender sets the vector's bit in the posted bitmap, then ON; whoever
 * turns ON from 0 to 1 kicks. The receiver clears ON, then collects the
 * bitmap. So a bit set is either collected or leaves ON set and a kick on its
 * way. Nothing here takes a lock or allocates, and IRQs may be off.
 *
 * An APIC's id is its vCPU's id for good (the ID register is read-only, as
 * §10.4.6 allows), and the x2APIC logical id follows from it, so the vCPU
 * table is the destination map; only xAPIC logical destinations and broadcasts
 * walk all vCPUs.
 */
#include "private.h"

#define BROADCAST_XAPIC		0xffu
#define BROADCAST_X2APIC	0xffffffffu

static u32 lapic_broadcast(const struct lapic_msg *msg)
{
	return msg->x2apic ? BROADCAST_X2APIC : BROADCAST_XAPIC;
}

static struct kiln_lapic *lapic_by_id(struct kiln_vm *vm, u32 id)
{
	struct kiln_vcpu *vcpu = kiln_vm_vcpu_by_id(vm, id);

	return vcpu ? vcpu->lapic : NULL;
}

/* The TMR bit says at EOI time how the vector came (§10.8.4). */
static inline void lapic_set_trigger(struct kiln_lapic *lapic, u8 vector,
				     bool level)
{
	unsigned long *word = (void *)lapic_vec_reg(lapic, APIC_TMR, vector);

	if (lapic_vec_test(lapic, APIC_TMR, vector) == level)
		return;
	if (level)
		set_bit(vector % 32, word);
	else
		clear_bit(vector % 32, word);
}

static bool lapic_accepts(struct kiln_lapic *lapic, u8 vector)
{
	if (!READ_ONCE(lapic->sw_enabled) ||
	    !(READ_ONCE(lapic->base) & KILN_APIC_BASE_EN))
		return false;
	if (likely(vector >= LAPIC_FIRST_VECTOR))
		return true;
	lapic_error(lapic, APIC_ESR_RECVILL);
	return false;
}

int lapic_post(struct kiln_lapic *lapic, u8 vector, bool level)
{
	bool merged;

	if (!lapic_accepts(lapic, vector))
		return -1;
	lapic_set_trigger(lapic, vector, level);
	merged = lapic_vec_test(lapic, APIC_IRR, vector);
	merged |= test_and_set_bit(vector, lapic->pi.pir);
	if (!test_and_set_bit(KILN_PI_ON, &lapic->pi.control))
		kiln_vcpu_request(lapic->vcpu, KILN_REQ_EVENT);
	return !merged;
}

KILN_EXPORT_FOR_KUNIT(lapic_post);

int lapic_post_self(struct kiln_lapic *lapic, u8 vector)
{
	bool merged;

	if (!lapic_accepts(lapic, vector))
		return -1;
	lapic_set_trigger(lapic, vector, false);
	merged = lapic_vec_test(lapic, APIC_IRR, vector);
	lapic_vec_set(lapic, APIC_IRR, vector);
	lapic->irr_maybe = true;
	lapic_self_event(lapic);
	return !merged;
}

static bool match_xapic_logical(const struct kiln_lapic *lapic, u8 mda)
{
	u8 ldr = lapic_reg(lapic, APIC_LDR) >> 24;

	switch (lapic_reg(lapic, APIC_DFR) >> 28) {
	case 0xf:	/* flat */
		return ldr & mda;
	case 0:		/* cluster; cluster 15 is all of them */
		return (ldr & mda & 0xf) &&
		       (mda >> 4 == 0xf || mda >> 4 == ldr >> 4);
	default:
		return false;
	}
}

static bool match_x2apic_logical(const struct kiln_lapic *lapic, u32 mda)
{
	u32 ldr = lapic_reg(lapic, APIC_LDR);

	return ldr >> 16 == mda >> 16 && (ldr & mda & 0xffff);
}

/**
 * lapic_matches() - is an APIC a destination of a message?
 * @lapic: the APIC
 * @msg: the message
 *
 * An 8-bit destination 0xff is a broadcast to APICs in x2APIC mode too: it is
 * how a message from a device reaches them all without interrupt remapping
 * (api.rst 7.7, KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK absent).
 *
 * Return: true if it is.
 * Context: any. The registers belong to another vCPU and may change any time.
 */
bool lapic_matches(const struct kiln_lapic *lapic, const struct lapic_msg *msg)
{
	u64 base = READ_ONCE(lapic->base);

	if (!(base & KILN_APIC_BASE_EN))
		return false;
	if (msg->dest == lapic_broadcast(msg))
		return true;
	if (!msg->logical)
		return lapic->vcpu->id == msg->dest;
	if (base & KILN_APIC_BASE_EXTD)
		return match_x2apic_logical(lapic, msg->dest);
	return !msg->x2apic && match_xapic_logical(lapic, msg->dest);
}

KILN_EXPORT_FOR_KUNIT(lapic_matches);

/* INIT cancels a SIPI before it; a SIPI after it stays (§10.6.1). */
static int lapic_post_init(struct kiln_lapic *lapic)
{
	atomic_set_release(&lapic->events, KILN_LAPIC_INIT);
	kiln_vcpu_request(lapic->vcpu, KILN_REQ_EVENT);
	return 1;
}

static int lapic_post_sipi(struct kiln_lapic *lapic, u8 vector)
{
	WRITE_ONCE(lapic->sipi_vector, vector);
	smp_mb__before_atomic();	/* the vector before its bit */
	atomic_or(KILN_LAPIC_SIPI, &lapic->events);
	kiln_vcpu_request(lapic->vcpu, KILN_REQ_EVENT);
	return 1;
}

/*
 * There is no system management mode, nothing to read remotely, and ExtINT
 * comes from the PIC, not in a message: those modes reach nobody.
 */
static int lapic_deliver_one(struct kiln_lapic *src, struct kiln_lapic *lapic,
			     const struct lapic_msg *msg)
{
	switch (msg->mode) {
	case APIC_DM_FIXED:
	case APIC_DM_LOWEST:
		if (lapic == src)
			return lapic_post_self(lapic, msg->vector);
		return lapic_post(lapic, msg->vector, msg->level);
	case APIC_DM_NMI:
		kiln_vcpu_nmi(lapic->vcpu);
		return 1;
	case APIC_DM_INIT:
		return lapic_post_init(lapic);
	case APIC_DM_STARTUP:
		return lapic_post_sipi(lapic, msg->vector);
	default:
		return -1;
	}
}

static int lapic_add_status(int sum, int status)
{
	if (status < 0)
		return sum;
	return max(sum, 0) + status;
}

/* Up to 16 APICs, found by id. */
static int lapic_deliver_cluster(struct kiln_vm *vm, struct kiln_lapic *src,
				 const struct lapic_msg *msg)
{
	unsigned long members = msg->dest & 0xffff;
	u32 first_id = (msg->dest >> 16) << 4;
	struct kiln_lapic *lapic;
	int bit, status = -1;

	for_each_set_bit(bit, &members, 16) {
		lapic = lapic_by_id(vm, first_id + bit);
		if (lapic && lapic_matches(lapic, msg))
			status = lapic_add_status(status,
						  lapic_deliver_one(src, lapic,
								    msg));
	}
	return status;
}

static int lapic_deliver_scan(struct kiln_vm *vm, struct kiln_lapic *src,
			      const struct lapic_msg *msg)
{
	struct kiln_vcpu *vcpu;
	int i, status = -1;

	kiln_for_each_vcpu(i, vcpu, vm) {
		if (lapic_matches(vcpu->lapic, msg))
			status = lapic_add_status(status,
						  lapic_deliver_one(src,
								    vcpu->lapic,
								    msg));
	}
	return status;
}

/*
 * Lowest priority: one of the matching, enabled APICs, picked by the vector.
 * That is the "vector hashing" of server chipsets: no state shared by the
 * senders, and a device's interrupt stays on one CPU.
 */
static int lapic_deliver_lowest(struct kiln_vm *vm, struct kiln_lapic *src,
				const struct lapic_msg *msg)
{
	struct kiln_lapic *pick = NULL;
	struct kiln_vcpu *vcpu;
	int i, count = 0, nth;

	kiln_for_each_vcpu(i, vcpu, vm)
		count += lapic_matches(vcpu->lapic, msg) &&
			 READ_ONCE(vcpu->lapic->sw_enabled);
	if (!count)
		return -1;
	nth = msg->vector % count;
	kiln_for_each_vcpu(i, vcpu, vm) {
		if (!lapic_matches(vcpu->lapic, msg) ||
		    !READ_ONCE(vcpu->lapic->sw_enabled))
			continue;
		pick = vcpu->lapic;
		if (!nth--)
			break;
	}
	return pick ? lapic_deliver_one(src, pick, msg) : -1;
}

/* Out of line, for the way to a single one to save no registers. */
static noinline int lapic_deliver_some(struct kiln_vm *vm,
				       struct kiln_lapic *src,
				       const struct lapic_msg *msg)
{
	if (msg->mode == APIC_DM_LOWEST)
		return lapic_deliver_lowest(vm, src, msg);
	if (msg->dest != lapic_broadcast(msg) && msg->x2apic)
		return lapic_deliver_cluster(vm, src, msg);
	return lapic_deliver_scan(vm, src, msg);
}

static int lapic_deliver_from(struct kiln_vm *vm, struct kiln_lapic *src,
			      const struct lapic_msg *msg)
{
	struct kiln_lapic *lapic;

	if (msg->logical || msg->dest == lapic_broadcast(msg))
		return lapic_deliver_some(vm, src, msg);
	/* Its id is that for good: no need to ask lapic_matches(). */
	lapic = lapic_by_id(vm, msg->dest);
	if (!lapic || !(READ_ONCE(lapic->base) & KILN_APIC_BASE_EN))
		return -1;
	return lapic_deliver_one(src, lapic, msg);
}

int lapic_deliver(struct kiln_vm *vm, const struct lapic_msg *msg)
{
	return lapic_deliver_from(vm, NULL, msg);
}

KILN_EXPORT_FOR_KUNIT(lapic_deliver);

static void lapic_send_to_all(struct kiln_lapic *src,
			      const struct lapic_msg *msg, bool self)
{
	struct kiln_vcpu *vcpu;
	int i;

	kiln_for_each_vcpu(i, vcpu, src->vcpu->vm) {
		if (vcpu->lapic == src && !self)
			continue;
		if (READ_ONCE(vcpu->lapic->base) & KILN_APIC_BASE_EN)
			lapic_deliver_one(src, vcpu->lapic, msg);
	}
}

/* SDM vol. 3 §10.6.1; IPIs are edge-triggered whatever bit 15 says. */
void lapic_send_ipi(struct kiln_lapic *src, u32 icr, u32 dest)
{
	struct lapic_msg msg = {
		.dest = dest,
		.vector = icr & APIC_VECTOR_MASK,
		.mode = icr & APIC_MODE_MASK,
		.logical = icr & APIC_DEST_LOGICAL,
		.x2apic = lapic_x2apic_mode(src),
	};

	if ((msg.mode == APIC_DM_FIXED || msg.mode == APIC_DM_LOWEST) &&
	    msg.vector < LAPIC_FIRST_VECTOR) {
		lapic_error(src, APIC_ESR_SENDILL);
		return;
	}
	/* INIT level de-assert once synchronised arbitration ids. */
	if (msg.mode == APIC_DM_INIT &&
	    (icr & APIC_INT_LEVELTRIG) && !(icr & APIC_INT_ASSERT))
		return;

	switch (icr & APIC_DEST_ALLBUT) {
	case APIC_DEST_SELF:
		lapic_deliver_one(src, src, &msg);
		break;
	case APIC_DEST_ALLINC:
		lapic_send_to_all(src, &msg, true);
		break;
	case APIC_DEST_ALLBUT:
		lapic_send_to_all(src, &msg, false);
		break;
	default:
		lapic_deliver_from(src->vcpu->vm, src, &msg);
	}
}

KILN_EXPORT_FOR_KUNIT(lapic_send_ipi);

/* In x2APIC mode the ICR is one 64-bit register (§10.12.9). */
int x2apic_write_icr(struct kiln_lapic *lapic, u64 val)
{
	if (val & X2APIC_ICR_RESERVED)
		return 1;
	WRITE_ONCE(*(u64 *)(lapic->page + APIC_ICR), val & ~APIC_ICR_BUSY);
	lapic_send_ipi(lapic, val, val >> 32);
	return 0;
}

int lapic_x2apic_icr_fast(struct kiln_vcpu *vcpu, u64 val)
{
	struct kiln_lapic *lapic = vcpu->lapic;

	if (!lapic || !lapic_x2apic_mode(lapic) ||
	    (val & (APIC_MODE_MASK | APIC_DEST_ALLINC)) ||
	    (!(val & APIC_DEST_SELF) && val >> 32 == BROADCAST_X2APIC))
		return 1;
	return x2apic_write_icr(lapic, val);
}

KILN_EXPORT_FOR_KUNIT(lapic_x2apic_icr_fast);

/* SDM vol. 3 §10.11: what a device's write to 0xfeexxxxx means. */
int lapic_msi(struct kiln_vm *vm, u32 address, u32 data)
{
	struct lapic_msg msg = {
		.dest = (address >> 12) & 0xff,
		.vector = data & APIC_VECTOR_MASK,
		.mode = data & APIC_MODE_MASK,
		.logical = address & BIT(2),
		.level = data & APIC_INT_LEVELTRIG,
	};

	if (address >> 20 != 0xfee)
		return -1;
	if (msg.level && !(data & APIC_INT_ASSERT))
		return -1;
	atomic64_inc(&vm->stats.msi);
	/* The redirection hint asks for one of a logical destination's. */
	if (msg.logical && (address & BIT(3)) && msg.mode == APIC_DM_FIXED)
		msg.mode = APIC_DM_LOWEST;
	return lapic_deliver(vm, &msg);
}

int kiln_msi_send(struct kiln_vm *vm, const struct kvm_msi *msi)
{
	if (!kiln_irqchip_present(&vm->irq) || msi->flags)
		return -EINVAL;
	return max(lapic_msi(vm, msi->address_lo, msi->data), 0);
}

KILN_EXPORT_FOR_KUNIT(kiln_msi_send);
