/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of this room share with each other and with nobody else.
 *
 * Locks, outermost first; a lock is only taken under those above it:
 *
 *   vm->lock             creation of the chips
 *   irq->lock            changes of routing, bus, ioeventfds, irqfds
 *   an eventfd's wait-queue lock (IRQs off from here on)
 *   irq->irqfd_lock
 *   pit->lock, pic->lock, ioapic->lock: never two of them at once
 *
 * Delivery to a local APIC takes no lock. An eventfd is never signalled with
 * a chip's lock held: an irqfd may hang on it and come back for that lock.
 */
#ifndef KILN_IRQCHIP_PRIVATE_H
#define KILN_IRQCHIP_PRIVATE_H

#include <linux/bitops.h>
#include <linux/eventfd.h>
#include <linux/kvm.h>
#include <linux/nospec.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <asm/apicdef.h>

#include "../clock.h"
#include "../compat.h"
#include "../run.h"
#include "../vcpu.h"
#include "../vm.h"
#include "irqchip.h"

/* ------------------------------------------------------------- local APIC */

#define LAPIC_NR_REGS		64	/* 16 bytes apart */
#define X2APIC_NR_MSRS		256	/* a page of registers */
#define LAPIC_NR_VECTORS	256
#define LAPIC_FIRST_VECTOR	16	/* lower ones are illegal (§10.5.2) */
#define LAPIC_LVT_TSCDEADLINE	BIT(18)
#define APIC_DFR_BITS		GENMASK(31, 28)

#define LAPIC_VERSION		(0x14 | 5 << 16 | APIC_LVR_DIRECTED_EOI)

/* Reserved in the x2APIC ICR. Bit 12 is tolerated: it was Delivery Status. */
#define X2APIC_ICR_RESERVED	(GENMASK(31, 20) | GENMASK(17, 16) | BIT(13))

/**
 * struct lapic_msg - an interrupt message on its way to local APICs
 * @dest: destination field
 * @vector: 0 to 255
 * @mode: delivery mode, one of APIC_DM_*
 * @logical: @dest is a logical destination
 * @level: level-triggered
 * @x2apic: @dest has 32 bits (x2APIC IPIs), else 8
 */
struct lapic_msg {
	u32 dest;
	u8 vector;
	u16 mode;
	bool logical;
	bool level;
	bool x2apic;
};

static inline u32 lapic_reg(const struct kiln_lapic *lapic, u32 offset)
{
	return READ_ONCE(*(const u32 *)(lapic->page + offset));
}

static inline void lapic_set_reg(struct kiln_lapic *lapic, u32 offset, u32 val)
{
	WRITE_ONCE(*(u32 *)(lapic->page + offset), val);
}

/* IRR, ISR and TMR: 256 bits, 32 in each of eight registers. */
static inline u32 *lapic_vec_reg(const struct kiln_lapic *lapic, u32 array,
				 u8 vector)
{
	return lapic->page + array + (vector / 32) * 16;
}

static inline bool lapic_vec_test(const struct kiln_lapic *lapic, u32 array,
				  u8 vector)
{
	return READ_ONCE(*lapic_vec_reg(lapic, array, vector)) &
	       BIT(vector % 32);
}

static inline void lapic_vec_set(struct kiln_lapic *lapic, u32 array,
				 u8 vector)
{
	*lapic_vec_reg(lapic, array, vector) |= BIT(vector % 32);
}

static inline void lapic_vec_clear(struct kiln_lapic *lapic, u32 array,
				   u8 vector)
{
	*lapic_vec_reg(lapic, array, vector) &= ~BIT(vector % 32);
}

/* The vCPU's own thread has something to look at: no kick needed. */
static inline void lapic_self_event(struct kiln_lapic *lapic)
{
	set_bit(KILN_REQ_EVENT, &lapic->vcpu->requests);
}

/* Bits of a register software can write; 0 for read-only and reserved ones. */
u32 lapic_writable_bits(u32 offset);

/* Write ID and, in x2APIC mode, LDR into the page as the mode has them. */
void lapic_set_ids(struct kiln_lapic *lapic);

/* Note an error for the ESR and raise the LVT error interrupt. Any context. */
void lapic_error(struct kiln_lapic *lapic, u32 esr_bit);

/*
 * Post a vector. Any context. Returns 1, 0 if it was pending already, -1 if
 * the APIC does not accept it (disabled, illegal vector).
 */
int lapic_post(struct kiln_lapic *lapic, u8 vector, bool level);

/* The same from the vCPU's own thread, edge only: straight into the IRR. */
int lapic_post_self(struct kiln_lapic *lapic, u8 vector);

bool lapic_matches(const struct kiln_lapic *lapic, const struct lapic_msg *msg);

/*
 * Deliver to all that match, or to one of them for lowest priority. Any
 * context, no lock. Returns the number of APICs that accepted it newly, or -1
 * if there is none that accepts it.
 */
int lapic_deliver(struct kiln_vm *vm, const struct lapic_msg *msg);

/* Send what the interrupt command register says; dest is ICR bits 63:32. */
void lapic_send_ipi(struct kiln_lapic *src, u32 icr, u32 dest);

/* WRMSR of the x2APIC ICR: 0, or 1 for #GP. vCPU thread, IRQs may be off. */
int x2apic_write_icr(struct kiln_lapic *lapic, u64 val);

/* A device writes to the APICs' address range. Status as lapic_deliver(). */
int lapic_msi(struct kiln_vm *vm, u32 address, u32 data);

/* vCPU thread, like everything below. */
void lapic_timer_init(struct kiln_lapic *lapic);
void lapic_timer_stop(struct kiln_lapic *lapic);
void lapic_timer_write_lvt(struct kiln_lapic *lapic, u32 val);
void lapic_timer_write_initial(struct kiln_lapic *lapic, u32 val);
void lapic_timer_write_divide(struct kiln_lapic *lapic, u32 val);
u32 lapic_timer_current(struct kiln_lapic *lapic);
void lapic_timer_resume(struct kiln_lapic *lapic, u32 current_count);

static inline bool lapic_timer_is_tscdeadline(const struct kiln_lapic *lapic)
{
	return lapic_reg(lapic, APIC_LVTT) & LAPIC_LVT_TSCDEADLINE;
}

/* True if the vCPU listens to the PIC. Any context. */
bool lapic_listens_to_pic(const struct kiln_lapic *lapic);

/* ------------------------------------------------------- PIC and I/O APIC */

#define PIC_NR_PINS	16
#define IOAPIC_NR_PINS	KVM_IOAPIC_NUM_PINS
#define IOAPIC_BASE	0xfec00000ull
#define IOAPIC_LEN	0x100

/**
 * struct pic_chip - one 8259A
 * @line: inputs that are asserted
 * @irr: requests
 * @imr: masked
 * @isr: in service
 * @elcr: level-triggered inputs
 * @base: ICW2, the vector of input 0
 * @first: input of the highest priority
 * @icw: next initialisation word expected at the odd port: 2, 3 or 4; 0: none
 * @icw1: as written
 * @read_isr: OCW3: the even port reads ISR, not IRR
 * @poll: OCW3: the next read is a poll
 * @special_mask: OCW3: masked inputs in service do not block lower ones
 * @nested: ICW4: special fully nested mode
 * @auto_eoi: ICW4
 * @rotate: OCW2: rotate priorities at automatic EOI
 * @sources: who asserts each input, a bit per enum kiln_irq_source
 */
struct pic_chip {
	u8 line;
	u8 irr;
	u8 imr;
	u8 isr;
	u8 elcr;
	u8 base;
	u8 first;
	u8 icw;
	u8 icw1;
	bool read_isr;
	bool poll;
	bool special_mask;
	bool nested;
	bool auto_eoi;
	bool rotate;
	u8 sources[8];
};

/* All under @lock, but @output, @irr, @imr, @isr and @elcr are read without. */
struct kiln_pic {
	spinlock_t lock;		/* chips and output */
	struct kiln_vm *vm;		/* [c] */
	struct kiln_bus_dev dev;	/* [c] */
	bool output;			/* INT of the master */
	struct pic_chip chip[2];	/* master, slave */
};

int pic_create(struct kiln_vm *vm);
void pic_destroy(struct kiln_vm *vm);

/* Drive an input. Any context. Returns a status as kiln_irq_set(). */
int pic_set_irq(struct kiln_pic *pic, int pin, int source, bool level);

/* INTA cycle: the vector. Not in hard interrupts. */
u8 pic_ack(struct kiln_pic *pic);

/* Redirection table entry (82093AA §3.2.4). */
#define IOAPIC_VECTOR		0xffull
#define IOAPIC_MODE_SHIFT	8
#define IOAPIC_LOGICAL		BIT_ULL(11)
#define IOAPIC_STATUS		BIT_ULL(12)
#define IOAPIC_REMOTE_IRR	BIT_ULL(14)
#define IOAPIC_LEVEL		BIT_ULL(15)
#define IOAPIC_MASKED		BIT_ULL(16)
#define IOAPIC_DEST_SHIFT	56

/**
 * struct kiln_ioapic - the I/O APIC
 * @lock: guards everything that is not [c]
 * @vm: [c]
 * @dev: [c] on the MMIO bus
 * @regsel: IOREGSEL
 * @id: bits 27:24 of the ID register
 * @irr: a bit per pin: asserted
 * @redir: redirection table
 * @sources: who asserts each pin, a bit per enum kiln_irq_source
 */
struct kiln_ioapic {
	spinlock_t lock;		/* table and lines */
	struct kiln_vm *vm;
	struct kiln_bus_dev dev;
	u8 regsel;
	u32 id;
	u32 irr;
	u64 redir[IOAPIC_NR_PINS];
	u8 sources[IOAPIC_NR_PINS];
};

int ioapic_create(struct kiln_vm *vm);
void ioapic_destroy(struct kiln_vm *vm);

/* Drive a pin. Any context. Returns a status as kiln_irq_set(). */
int ioapic_set_irq(struct kiln_ioapic *ioapic, int pin, int source, bool level);

/* EOI message for a vector. Not in hard interrupts. */
void ioapic_eoi(struct kiln_ioapic *ioapic, u8 vector);

/*
 * Add the vectors whose EOI by this APIC matters. Returns true if one of them
 * is of an edge-triggered pin.
 */
bool ioapic_eoi_map(struct kiln_ioapic *ioapic, const struct kiln_lapic *lapic,
		    u64 map[4]);

/* -------------------------------------------------------------------- PIT */

#define PIT_NR_CHANNELS	3

/* Control word (8254 data sheet, "Control Word Format"). */
#define PIT_RW_LSB	1
#define PIT_RW_MSB	2
#define PIT_RW_BOTH	3

/**
 * struct pit_channel - one counter of the 8254
 * @reload: 1 to 0x10000, or 10000 in BCD; what is counted down from
 * @start: CLOCK_MONOTONIC ns when the count was (re)loaded
 * @mode: 0 to 5
 * @bcd: counts in BCD
 * @rw: PIT_RW_*
 * @gate: GATE input
 * @null_count: a mode was set, no count written yet
 * @write_msb: the next write is the high byte
 * @read_msb: the next read is the high byte
 * @write_lsb: low byte, waiting for the high one
 * @count_latched: bytes of @count_latch still to be read
 * @count_latch: latched count
 * @status_latched: @status_latch waits to be read
 * @status_latch: latched status
 */
struct pit_channel {
	u32 reload;
	u64 start;
	u8 mode;
	bool bcd;
	u8 rw;
	bool gate;
	bool null_count;
	bool write_msb;
	bool read_msb;
	u8 write_lsb;
	u8 count_latched;
	u16 count_latch;
	bool status_latched;
	u8 status_latch;
};

/**
 * struct kiln_pit - the 8254 and port 0x61
 * @lock: guards everything that is not [c] or [a]
 * @vm: [c]
 * @dev: [c] on the port bus
 * @channel: counters 0 (IRQ 0), 1 (once memory refresh), 2 (speaker)
 * @speaker: bit 1 of port 0x61
 * @timer: expires when OUT of channel 0 rises
 * @armed: @timer shall be running
 * @period: ns, 0 unless channel 0 is periodic
 * @clamped: a too short period was reported
 * @may_inject: [a] the guest has acknowledged the last tick
 * @missed: [a] ticks that came before that
 */
struct kiln_pit {
	spinlock_t lock;		/* counters and timer */
	struct kiln_vm *vm;
	struct kiln_bus_dev dev;
	struct pit_channel channel[PIT_NR_CHANNELS];
	bool speaker;
	struct hrtimer timer;
	bool armed;
	u64 period;
	bool clamped;
	atomic_t may_inject;
	atomic_t missed;
};

/* The GSI of channel 0. */
#define PIT_GSI		0

void pit_destroy(struct kiln_vm *vm);

/* The guest has acknowledged a tick. Not with a chip's lock held. */
void pit_ack(struct kiln_pit *pit);

/* Read-only views for tests: time is a parameter. Under pit->lock. */
u32 pit_count_at(const struct pit_channel *ch, u64 now);
bool pit_out_at(const struct pit_channel *ch, u64 now);

/* ---------------------------------------------------- routing and eventfds */

/*
 * Wait until nobody reads what was replaced. Context: process; sleeps, for
 * some ten milliseconds if the VM has asked often.
 */
void irqchip_synchronize(struct kiln_vm *vm);
bool irqchip_may_hurry(struct kiln_irqchip *irq);

/* Old tables that a VM leaves to be freed after a grace period. */
#define ROUTING_LINGERING_MAX	64

int routing_set_default(struct kiln_vm *vm);
void routing_destroy(struct kiln_vm *vm);
int routing_install(struct kiln_vm *vm,
		    const struct kvm_irq_routing_entry *entries, u32 nr);

/*
 * A chip's pin got an EOI: tell the PIT and the resamplers of its GSI. Not
 * with a chip's lock held; not in hard interrupts.
 */
void kiln_irq_ack(struct kiln_vm *vm, u32 chip, u32 pin);

/* Does anybody want kiln_irq_ack() for this pin? Any context. */
bool kiln_irq_wants_ack(struct kiln_vm *vm, u32 chip, u32 pin);

/* Level down and resample eventfds signalled, for the irqfds of a GSI. */
void irqfd_resample(struct kiln_vm *vm, u32 gsi);
bool irqfd_wants_ack(struct kiln_vm *vm, u32 gsi);

void irqfd_init(struct kiln_vm *vm);
void irqfd_release(struct kiln_vm *vm);
void ioeventfd_release(struct kiln_vm *vm);
void bus_destroy(struct kiln_vm *vm);

/* A hint, as one may come at any moment. */
static inline bool ioeventfds_exist(struct kiln_vm *vm, enum kiln_bus bus)
{
	return rcu_access_pointer(vm->irq.ioeventfds[bus]);
}

/* kiln_ioeventfd_fast() that works on every kernel, but not with IRQs off. */
bool ioeventfd_signal(struct kiln_vm *vm, enum kiln_bus bus,
		      struct kiln_vcpu *vcpu, u64 addr, int len, u64 val);

/* Bus entry points, called directly where retpolines would cost. */
int pic_bus_read(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu, u64 addr,
		 int len, void *val);
int pic_bus_write(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu, u64 addr,
		  int len, const void *val);
int pit_bus_read(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu, u64 addr,
		 int len, void *val);
int pit_bus_write(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu, u64 addr,
		  int len, const void *val);
int ioapic_bus_read(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu, u64 addr,
		    int len, void *val);
int ioapic_bus_write(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu,
		     u64 addr, int len, const void *val);

#endif /* KILN_IRQCHIP_PRIVATE_H */
