/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupt controllers in the kernel: local APICs, I/O APIC, PIC pair, PIT;
 * GSI routing, MSI, irqfd, ioeventfd; and the bus that finds kernel devices by
 * port or physical address. This is the room's only public header.
 *
 * What comes in: lines (KVM_IRQ_LINE, irqfds, the PIT), messages (MSI, IPIs),
 * guest accesses to the chips' registers. What goes out: bits in a vCPU's
 * posted bitmap plus KILN_REQ_EVENT, NMIs through kiln_vcpu_nmi(), INIT and
 * SIPI as events the vCPU thread takes, eventfd signals.
 *
 * "vCPU thread" below means: the holder of vcpu->mutex, with the vCPU out of
 * guest mode. "Any context" includes hard interrupts and IRQs off.
 */
#ifndef KILN_IRQCHIP_H
#define KILN_IRQCHIP_H

#include <linux/compiler.h>
#include <linux/hashtable.h>
#include <linux/hrtimer.h>
#include <linux/kvm.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/ratelimit.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

struct kiln_bus_dev;
struct kiln_bus_table;
struct kiln_ioapic;
struct kiln_ioeventfds;
struct kiln_pic;
struct kiln_pit;
struct kiln_routing;
struct kiln_vcpu;
struct kiln_vm;

/* No guest timer that restarts itself may fire more often than this. */
#define KILN_MIN_TIMER_PERIOD_NS	100000

/* GSIs are below this: the size of KVM_CAP_IRQ_ROUTING. */
#define KILN_MAX_GSIS			4096

/* ioeventfds per bus of one VM. */
#define KILN_MAX_IOEVENTFDS		1000

/* Resample irqfds of one GSI, all of which an EOI signals with IRQs off. */
#define KILN_MAX_RESAMPLERS		64

/* Of a VM's table of irqfds; there is one for each eventfd at most. */
#define KILN_IRQFD_BITS			8

enum kiln_bus {
	KILN_BUS_PIO,
	KILN_BUS_MMIO,
	KILN_NR_BUSES
};

/* Who drives a line. A pin is asserted while any source asserts it. */
enum kiln_irq_source {
	KILN_IRQ_USER,		/* KVM_IRQ_LINE and edge irqfds */
	KILN_IRQ_RESAMPLE,	/* irqfds with KVM_IRQFD_FLAG_RESAMPLE */
	KILN_IRQ_PIT,
	KILN_NR_IRQ_SOURCES
};

/**
 * struct kiln_irqchip - the interrupt side of a VM, embedded as vm->irq
 * @present: KVM_CREATE_IRQCHIP was done: [c] once true, see
 *	kiln_irqchip_present()
 * @pic: [c] once @present
 * @ioapic: [c] once @present
 * @pit: written under vm->lock, once; read by any
 * @lock: serialises changes of the RCU-published tables below
 * @bus: [RCU, @lock] kernel devices by address
 * @ioeventfds: [RCU, @lock] guest writes that signal an eventfd
 * @routing: [RCU, @lock] what a GSI is connected to; NULL until @present
 * @lingering_gp: [@lock] when the last old @routing was left to be freed
 * @lingering: [@lock] how many are, at most
 * @hurry: how many grace periods may be expedited
 * @resamplers: [RCU, @lock] by GSI: irqfds that want to know of EOIs
 * @irqfd_lock: guards @irqfds and @dying; taken with the eventfd's wait-queue
 *	lock held
 * @irqfds: attached irqfds, by eventfd; more to come also takes @lock
 * @dying: irqfds to be torn down by irqfd_reap()
 * @reap: tears down @dying when an eventfd is closed under its irqfd
 *
 * Initialised by kiln_irqchip_init() unless said otherwise.
 */
struct kiln_irqchip {
	bool present;
	struct kiln_pic *pic;
	struct kiln_ioapic *ioapic;
	struct kiln_pit *pit;
	struct mutex lock;		/* tables below */
	struct kiln_bus_table __rcu *bus[KILN_NR_BUSES];
	struct kiln_ioeventfds __rcu *ioeventfds[KILN_NR_BUSES];
	struct kiln_routing __rcu *routing;
	unsigned long lingering_gp;
	unsigned int lingering;
	struct ratelimit_state hurry;
	struct xarray resamplers;
	spinlock_t irqfd_lock;		/* lists below */
	DECLARE_HASHTABLE(irqfds, KILN_IRQFD_BITS);
	struct hlist_head dying;
	struct work_struct reap;
};

/* -------------------------------------------------------------- VM level */

/**
 * kiln_irqchip_init() - prepare vm->irq
 * @vm: a new VM
 *
 * Allocates nothing; kiln_irqchip_destroy() undoes it.
 *
 * Return: 0.
 */
int kiln_irqchip_init(struct kiln_vm *vm);

/**
 * kiln_irqchip_release() - the VM's fd was closed
 * @vm: the VM; vCPU fds may still be open
 *
 * Detaches irqfds and ioeventfds, so that the eventfds do not outlive the fd
 * that attached them.
 *
 * Context: process; may sleep.
 */
void kiln_irqchip_release(struct kiln_vm *vm);

/**
 * kiln_irqchip_destroy() - give everything back
 * @vm: a VM without references: no vCPU runs, none will. The vCPUs' local
 *	APICs may be freed before or after.
 *
 * Context: process; may sleep.
 */
void kiln_irqchip_destroy(struct kiln_vm *vm);

/**
 * kiln_irqchip_create() - KVM_CREATE_IRQCHIP (api.rst 4.24)
 * @vm: the VM
 *
 * Creates PIC and I/O APIC and the default routing: GSI 0 to 15 go to both,
 * 16 to 23 to the I/O APIC only, pin number = GSI. vCPUs created from now on
 * shall get a local APIC (lapic_create()).
 *
 * Return: 0, -EEXIST if there is one, -EINVAL if vCPUs exist, -ENOMEM.
 * Context: process, vm->lock held.
 */
int kiln_irqchip_create(struct kiln_vm *vm);

/* True once KVM_CREATE_IRQCHIP succeeded. Any context. */
static inline bool kiln_irqchip_present(const struct kiln_irqchip *irq)
{
	/* Pairs with kiln_irqchip_create(). */
	return smp_load_acquire(&irq->present);
}

/**
 * kiln_pit_create() - KVM_CREATE_PIT2 (api.rst 4.71)
 * @vm: the VM
 * @config: flags: KVM_PIT_SPEAKER_DUMMY puts port 0x61 on the bus too
 *
 * Return: 0, -ENOENT without an irqchip, -EEXIST if there is a PIT, -EINVAL
 * for unknown flags, -ENOMEM.
 * Context: process, vm->lock held.
 */
int kiln_pit_create(struct kiln_vm *vm, const struct kvm_pit_config *config);

/**
 * kiln_irq_line() - KVM_IRQ_LINE and KVM_IRQ_LINE_STATUS (api.rst 4.25)
 * @vm: the VM
 * @irq: GSI and level
 * @status: NULL, or where the status of KVM_IRQ_LINE_STATUS goes: negative
 *	if ignored (masked, not routed), 0 if it merged with one already
 *	pending, else the number of vCPUs it reached
 *
 * Return: 0, -ENXIO without an irqchip.
 * Context: any.
 */
int kiln_irq_line(struct kiln_vm *vm, const struct kvm_irq_level *irq,
		  s32 *status);

/**
 * kiln_irq_set() - drive a GSI
 * @vm: the VM
 * @source: enum kiln_irq_source, who drives
 * @gsi: any value; one without a route is ignored
 * @level: 0 or not
 *
 * A GSI routed to an MSI sends it when @level is not 0.
 *
 * Return: the status described at kiln_irq_line().
 * Context: any. Takes the PIC's and the I/O APIC's lock, one at a time.
 */
int kiln_irq_set(struct kiln_vm *vm, int source, u32 gsi, int level);

/**
 * kiln_irq_pulse() - raise a GSI and lower it
 * @vm: the VM
 * @source: enum kiln_irq_source, who drives
 * @gsi: any value; one without a route is ignored
 *
 * Both by the same routes, whatever becomes of the table meanwhile. An MSI is
 * sent once.
 *
 * Return: the status described at kiln_irq_line(), of the raise.
 * Context: any. Takes the PIC's and the I/O APIC's lock, one at a time.
 */
int kiln_irq_pulse(struct kiln_vm *vm, int source, u32 gsi);

/**
 * kiln_msi_send() - KVM_SIGNAL_MSI (api.rst 4.71), SDM vol. 3 §10.11
 * @vm: the VM
 * @msi: the message; its address_hi is ignored
 *
 * Return: the number of vCPUs it reached, 0 if the guest blocks it (no such
 * APIC, or disabled), -EINVAL without an irqchip or for flags.
 * Context: any; lock-free.
 */
int kiln_msi_send(struct kiln_vm *vm, const struct kvm_msi *msi);

/**
 * kiln_routing_set() - KVM_SET_GSI_ROUTING (api.rst 4.52)
 * @vm: the VM
 * @routing: in user memory, entries included
 *
 * Return: 0 and the table is in force; -EINVAL without an irqchip, for flags,
 * too many entries, GSIs from KILN_MAX_GSIS on, unknown types, chips and
 * pins, a GSI twice on one chip or both on a chip and an MSI; -EFAULT;
 * -ENOMEM. After an error the old table stays.
 * Context: process; may sleep.
 */
int kiln_routing_set(struct kiln_vm *vm,
		     const struct kvm_irq_routing __user *routing);

/**
 * kiln_irqfd() - KVM_IRQFD (api.rst 4.75)
 * @vm: the VM
 * @args: from user space
 *
 * Return: 0; -EINVAL without an irqchip, for unknown flags or if an fd is not
 * an eventfd; -EBADF; -EBUSY if the eventfd is attached already; -ENOMEM.
 * Removing what is not attached succeeds, as in KVM.
 * Context: process; may sleep.
 */
int kiln_irqfd(struct kiln_vm *vm, const struct kvm_irqfd *args);

/**
 * kiln_ioeventfd() - KVM_IOEVENTFD (api.rst 4.59)
 * @vm: the VM
 * @args: from user space
 *
 * Return: 0; -EINVAL for unknown flags, a length that is not 0, 1, 2, 4 or 8,
 * an address range that wraps or leaves the port space, length 0 together
 * with datamatch, or an fd that is not an eventfd; -EBADF; -EEXIST if a write
 * could match another one too; -ENOSPC from KILN_MAX_IOEVENTFDS on; -ENOENT
 * when removing what is not there; -ENOMEM. Once a removal returned, the
 * eventfd is not signalled any more.
 * Context: process; may sleep.
 */
int kiln_ioeventfd(struct kiln_vm *vm, const struct kvm_ioeventfd *args);

/**
 * kiln_ioeventfd_fast() - signal the ioeventfd a guest write matches
 * @vm: the VM
 * @bus: where the write went
 * @vcpu: the writer; may be NULL in tests
 * @addr: port or guest physical address
 * @len: bytes written; 0 if unknown (an EPT misconfiguration that is not
 *	decoded): only ioeventfds of length 0 match then
 * @val: the value, zero-extended; ignored if @len is 0
 *
 * Return: true if there was one and the write is done with.
 * Context: any, IRQs may be off. Always false on PREEMPT_RT, where waking
 * with IRQs off is not allowed; kiln_bus_write() does it there.
 */
bool kiln_ioeventfd_fast(struct kiln_vm *vm, enum kiln_bus bus,
			 struct kiln_vcpu *vcpu, u64 addr, int len, u64 val);

/**
 * struct kiln_doorbell - told of guest writes to an address; embedded in whose
 *	it is
 * @ring: what to do. @vcpu is the writer, or NULL where that is not known.
 *	Called under rcu_read_lock(), IRQs may be off: must not sleep.
 */
struct kiln_doorbell {
	void (*ring)(struct kiln_doorbell *bell, struct kiln_vcpu *vcpu);
};

/**
 * kiln_doorbell_add() - a guest's writes to an address ring a bell
 * @vm: the VM
 * @bus: which
 * @addr: port or guest physical address; writes of any length and value count
 * @bell: must live until it is removed
 *
 * Return: 0; -EEXIST if the address has a doorbell or an ioeventfd; -ENOSPC;
 * -ENOMEM.
 * Context: process; may sleep.
 */
int kiln_doorbell_add(struct kiln_vm *vm, enum kiln_bus bus, u64 addr,
		      struct kiln_doorbell *bell);

/**
 * kiln_doorbell_remove() - take a bell off a bus, all addresses of it
 * @vm: the VM
 * @bus: which
 * @bell: is not rung any more once this returned
 *
 * Context: process; may sleep (waits for an RCU grace period).
 */
void kiln_doorbell_remove(struct kiln_vm *vm, enum kiln_bus bus,
			  struct kiln_doorbell *bell);

/**
 * struct kiln_bus_ops - what a kernel device does with guest accesses
 * @read: fill @len bytes (1, 2, 4 or 8) at @val; 0 or -EOPNOTSUPP to let the
 *	access go to user space
 * @write: the same for writes
 *
 * Called under rcu_read_lock(), preemptible otherwise: must not sleep.
 */
struct kiln_bus_ops {
	int (*read)(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu,
		    u64 addr, int len, void *val);
	int (*write)(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu,
		     u64 addr, int len, const void *val);
};

/**
 * struct kiln_bus_dev - a kernel device on a bus, embedded in the device
 * @ops: what it does
 */
struct kiln_bus_dev {
	const struct kiln_bus_ops *ops;
};

/**
 * kiln_bus_add() - put a device on a bus
 * @vm: the VM
 * @bus: which
 * @addr: first port or guest physical address
 * @len: bytes, at least 1; an access belongs to @dev if it lies inside
 * @dev: must live until it is removed or the VM is destroyed
 *
 * Return: 0, -EEXIST if the range overlaps another device's, -ENOMEM.
 * Context: process; may sleep.
 */
int kiln_bus_add(struct kiln_vm *vm, enum kiln_bus bus, u64 addr, u32 len,
		 struct kiln_bus_dev *dev);

/**
 * kiln_bus_remove() - take a device off a bus, all ranges of it
 * @vm: the VM
 * @bus: which
 * @dev: may be freed once this returned
 *
 * Context: process; may sleep (waits for an RCU grace period).
 */
void kiln_bus_remove(struct kiln_vm *vm, enum kiln_bus bus,
		     struct kiln_bus_dev *dev);

/**
 * kiln_bus_read() - a guest reads a port or device memory
 * @vm: the VM
 * @bus: which
 * @vcpu: the reader, for devices that care; may be NULL in tests
 * @addr: port or guest physical address
 * @len: 1, 2, 4 or 8
 * @val: @len bytes, untouched unless handled
 *
 * Return: 0 if a kernel device answered, else -EOPNOTSUPP.
 * Context: any but hard interrupts.
 */
int kiln_bus_read(struct kiln_vm *vm, enum kiln_bus bus, struct kiln_vcpu *vcpu,
		  u64 addr, int len, void *val);

/**
 * kiln_bus_write() - a guest writes a port or device memory
 * @vm: the VM
 * @bus: which
 * @vcpu: the writer, for devices that care; may be NULL in tests
 * @addr: port or guest physical address
 * @len: 1, 2, 4 or 8
 * @val: @len bytes
 *
 * Looks for an ioeventfd first, then for a device.
 *
 * Return: 0 if handled, else -EOPNOTSUPP.
 * Context: any but hard interrupts.
 */
int kiln_bus_write(struct kiln_vm *vm, enum kiln_bus bus,
		   struct kiln_vcpu *vcpu, u64 addr, int len, const void *val);

/* ------------------------------------------------------------ vCPU level */

#define KILN_APIC_BASE_DEFAULT	0xfee00000ull
#define KILN_APIC_BASE_BSP	BIT_ULL(8)
#define KILN_APIC_BASE_EXTD	BIT_ULL(10)	/* x2APIC mode */
#define KILN_APIC_BASE_EN	BIT_ULL(11)

/* lapic_take_init_sipi() */
#define KILN_LAPIC_INIT		BIT(0)
#define KILN_LAPIC_SIPI		BIT(1)

/**
 * struct kiln_pi_desc - interrupts posted to a vCPU, not yet in its IRR
 * @pir: one bit per vector, set by senders with locked operations
 * @control: bit 0, ON: @pir may hold bits; the sender that sets it kicks.
 *	The rest belongs to a backend that uses hardware posting.
 * @pad: up to 64 bytes
 *
 * This is the posted-interrupt descriptor of SDM vol. 3 §30.6, so a backend
 * may hand its address to the hardware.
 */
struct kiln_pi_desc {
	unsigned long pir[4];
	unsigned long control;
	unsigned long pad[3];
} __aligned(64);

#define KILN_PI_ON		0	/* bit number in control */

/**
 * struct kiln_lapic_timer - the timer of a local APIC
 * @hrtimer: expires at @expires, unless @hw
 * @expires: CLOCK_MONOTONIC ns of the next expiry; 0: not armed
 * @period: ns, 0 unless periodic
 * @deadline: IA32_TSC_DEADLINE: guest TSC; 0: not armed. Cleared by expiry.
 * @hw: the backend watches the deadline, @hrtimer is off
 * @clamped: a too short period was reported
 *
 * All of [t], but the hrtimer callback, which runs only while the vCPU
 * thread does not touch the timer (it cancels first), writes @expires and
 * @deadline.
 */
struct kiln_lapic_timer {
	struct hrtimer hrtimer;
	u64 expires;
	u64 period;
	u64 deadline;
	bool hw;
	bool clamped;
};

/**
 * struct kiln_lapic - a local APIC
 * @pi: posted interrupts [a]
 * @page: the registers, laid out as the xAPIC page: the virtual-APIC page of
 *	SDM vol. 3 §30.1. In x2APIC mode the ICR is one 64-bit value at 0x300
 *	and the ID and LDR have their 32-bit form. [t]; hardware while in guest
 *	mode; TMR bits are set and cleared by senders with locked operations.
 * @vcpu: whose [c]
 * @base: IA32_APIC_BASE; written by [t], read by any
 * @hw_vid: [t] hardware delivers virtual interrupts: it sets bits in the IRR
 *	for self-IPIs, moves them to the ISR and clears them there at EOI. Set
 *	by the backend.
 * @irr_maybe: [t] IRR may have bits set; meaningless while @hw_vid
 * @isr_maybe: [t] ISR may have bits set; likewise
 * @sw_enabled: SVR bit 8; written by [t], read by any
 * @events: [a] KILN_LAPIC_INIT, KILN_LAPIC_SIPI pending
 * @sipi_vector: of the last SIPI; valid while that is pending
 * @errors: [a] ESR bits seen since the last write to the ESR
 * @eoi_map: [t] vectors whose EOI concerns the I/O APIC
 * @eoi_edge: [t] and some of those are of edge-triggered pins
 * @timer: the timer
 *
 * Created and initialised by lapic_create().
 */
struct kiln_lapic {
	struct kiln_pi_desc pi;
	void *page;
	struct kiln_vcpu *vcpu;
	u64 base;
	bool hw_vid;
	bool irr_maybe;
	bool isr_maybe;
	bool sw_enabled;
	bool eoi_edge;
	u8 sipi_vector;
	atomic_t events;
	atomic_t errors;
	u64 eoi_map[4];
	struct kiln_lapic_timer timer;
};

/* Cheap check before lapic_sync(): were interrupts posted since the last? */
static inline bool lapic_posted(const struct kiln_lapic *lapic)
{
	return READ_ONCE(lapic->pi.control) & BIT(KILN_PI_ON);
}

static inline bool lapic_x2apic_mode(const struct kiln_lapic *lapic)
{
	return READ_ONCE(lapic->base) & KILN_APIC_BASE_EXTD;
}

/**
 * lapic_create() - give a vCPU its local APIC, in the state after RESET
 * @vcpu: a vCPU not yet published; vcpu->id is the APIC id
 *
 * Sets vcpu->lapic. The vCPU with id 0 is the bootstrap processor; its LINT0
 * is ExtINT as firmware leaves it (virtual wire mode).
 *
 * Return: 0, -ENOMEM.
 */
int lapic_create(struct kiln_vcpu *vcpu);

/**
 * lapic_free() - undo lapic_create()
 * @vcpu: unpublished or its VM without references; without an APIC: no-op
 *
 * Context: process.
 */
void lapic_free(struct kiln_vcpu *vcpu);

/**
 * lapic_reset() - RESET or INIT (SDM vol. 3 §10.4.7.1, §10.4.7.3, §10.12.5.1)
 * @vcpu: the vCPU
 * @init: INIT: the base MSR, hence mode and address, stays
 *
 * Pending INIT and SIPI events stay: INIT is one of them.
 *
 * Context: vCPU thread.
 */
void lapic_reset(struct kiln_vcpu *vcpu, bool init);

/**
 * lapic_sync() - move posted interrupts into the IRR
 * @vcpu: the vCPU
 *
 * Return: the highest vector in the IRR, or -1.
 * Context: vCPU thread; IRQs may be off. Two loads if there is nothing.
 */
int lapic_sync(struct kiln_vcpu *vcpu);

/**
 * lapic_pending() - the interrupt to deliver now
 * @vcpu: the vCPU
 *
 * Does lapic_sync(), compares with the PPR, updates the PPR register.
 *
 * Return: the vector, or -1 if none has priority over what the guest does
 * (SDM vol. 3 §10.8.3.1) or the APIC is disabled in the base MSR.
 * Context: vCPU thread; IRQs may be off.
 */
int lapic_pending(struct kiln_vcpu *vcpu);

/**
 * lapic_accept() - the CPU takes a vector: IRR to ISR
 * @vcpu: the vCPU
 * @vector: what lapic_pending() returned
 *
 * Context: vCPU thread; IRQs may be off.
 */
void lapic_accept(struct kiln_vcpu *vcpu, int vector);

/**
 * lapic_eoi() - EOI of the highest vector in service
 * @vcpu: the vCPU
 *
 * Context: vCPU thread; takes the I/O APIC's lock if that is concerned.
 */
void lapic_eoi(struct kiln_vcpu *vcpu);

/**
 * lapic_eoi_induced() - EOI-induced exit (SDM vol. 3 §30.1.4)
 * @vcpu: the vCPU
 * @vector: hardware removed it from the ISR
 *
 * Context: vCPU thread; takes the I/O APIC's lock.
 */
void lapic_eoi_induced(struct kiln_vcpu *vcpu, u8 vector);

/**
 * lapic_set_hw_vid() - who delivers interrupts from now on?
 * @vcpu: the vCPU
 * @on: hardware, from the register page; else the run loop
 *
 * Context: vCPU thread.
 */
void lapic_set_hw_vid(struct kiln_vcpu *vcpu, bool on);

/**
 * lapic_max_isr() - highest vector in service
 * @vcpu: the vCPU
 *
 * Return: the vector, or -1.
 * Context: vCPU thread.
 */
int lapic_max_isr(struct kiln_vcpu *vcpu);

/**
 * lapic_eoi_exit_map() - vectors whose EOI must be seen by software
 * @vcpu: the vCPU
 * @map: filled; the EOI-exit bitmap of SDM vol. 3 §24.6.8
 *
 * Also refreshes what lapic_eoi() goes by: call it for KILN_REQ_EOI_MAP
 * whether or not hardware uses the map.
 *
 * Context: vCPU thread; takes the I/O APIC's lock.
 */
void lapic_eoi_exit_map(struct kiln_vcpu *vcpu, u64 map[4]);

/**
 * lapic_mmio_active() - does an address hit this vCPU's xAPIC page?
 * @vcpu: the vCPU
 * @gpa: guest physical address
 *
 * Return: true in xAPIC mode, for the page of the base MSR.
 */
bool lapic_mmio_active(struct kiln_vcpu *vcpu, u64 gpa);

/**
 * lapic_mmio_read() - read an xAPIC register (SDM vol. 3 table 10-1)
 * @vcpu: the vCPU
 * @offset: in the page, multiple of 4; reserved ones read 0 and are noted
 *	in the ESR
 * @val: the value
 *
 * Context: vCPU thread.
 */
void lapic_mmio_read(struct kiln_vcpu *vcpu, u32 offset, u32 *val);

/**
 * lapic_mmio_write() - write an xAPIC register, with all it causes
 * @vcpu: the vCPU
 * @offset: in the page, multiple of 4
 * @val: the value; reserved bits are dropped
 *
 * Context: vCPU thread.
 */
void lapic_mmio_write(struct kiln_vcpu *vcpu, u32 offset, u32 val);

/**
 * lapic_write_trap() - hardware wrote a register into the page
 * @vcpu: the vCPU
 * @offset: of an APIC-write exit (SDM vol. 3 §30.4.3.3)
 *
 * Drops reserved bits and does what the write causes.
 *
 * Context: vCPU thread.
 */
void lapic_write_trap(struct kiln_vcpu *vcpu, u32 offset);

/**
 * lapic_x2apic_read() - RDMSR of 0x800 to 0x8ff (SDM vol. 3 §10.12.1.2)
 * @vcpu: the vCPU
 * @msr: the MSR
 * @val: the value
 *
 * Return: 0, or 1 for #GP.
 * Context: vCPU thread; IRQs may be off.
 */
int lapic_x2apic_read(struct kiln_vcpu *vcpu, u32 msr, u64 *val);

/* May hardware answer RDMSR of 0x800 to 0x8ff from the page? Mode-independent. */
bool lapic_x2apic_in_page(u32 msr);

/**
 * lapic_x2apic_write() - WRMSR of 0x800 to 0x8ff
 * @vcpu: the vCPU
 * @msr: the MSR
 * @val: the value
 *
 * Return: 0, or 1 for #GP: not in x2APIC mode, no such register, read-only,
 * reserved bits.
 * Context: vCPU thread.
 */
int lapic_x2apic_write(struct kiln_vcpu *vcpu, u32 msr, u64 val);

/**
 * lapic_x2apic_icr_fast() - WRMSR of the x2APIC ICR, common cases
 * @vcpu: the sender
 * @val: the value
 *
 * Handles fixed-mode IPIs to itself, to one id and to one cluster.
 *
 * Return: 0 if the IPI is sent, 1 if lapic_x2apic_write() has to decide.
 * Context: vCPU thread, IRQs may be off; takes no lock, allocates nothing.
 */
int lapic_x2apic_icr_fast(struct kiln_vcpu *vcpu, u64 val);

/* IA32_APIC_BASE. Any context. */
u64 lapic_base(struct kiln_vcpu *vcpu);

/**
 * lapic_set_base() - write IA32_APIC_BASE (SDM vol. 3 §10.4.4, §10.12.5)
 * @vcpu: the vCPU
 * @val: the value. Whether CPUID offers x2APIC is the caller's to check.
 * @host: user space writes: any legal state may be entered from any other
 *
 * A change of mode or address posts KILN_REQ_APIC_MODE and, since x2APIC
 * changes who matches a destination, KILN_REQ_EOI_MAP.
 *
 * Return: 0, or 1 for #GP: reserved bits, illegal state or transition.
 * Context: vCPU thread.
 */
int lapic_set_base(struct kiln_vcpu *vcpu, u64 val, bool host);

/* CR8 as the TPR says: 0 to 15. vCPU thread. */
u64 lapic_get_cr8(struct kiln_vcpu *vcpu);

/**
 * lapic_set_cr8() - write the TPR through CR8
 * @vcpu: the vCPU
 * @cr8: 0 to 15
 *
 * Context: vCPU thread.
 */
void lapic_set_cr8(struct kiln_vcpu *vcpu, u64 cr8);

/**
 * lapic_tpr_threshold() - when to leave the guest because the TPR fell
 * @vcpu: the vCPU
 *
 * Return: the VMX TPR threshold (SDM vol. 3 §24.6.8): the priority class of
 * the highest vector in the IRR if it is the TPR that masks it, else 0.
 * Context: vCPU thread, after lapic_sync().
 */
u32 lapic_tpr_threshold(struct kiln_vcpu *vcpu);

/**
 * lapic_take_init_sipi() - take pending INIT and SIPI
 * @vcpu: the vCPU
 * @vector: start-up page number, if a SIPI is returned
 *
 * An INIT sent after a SIPI removes the SIPI, so where both bits come back
 * the INIT goes first. Whether a SIPI counts (only in wait-for-SIPI state) is
 * the caller's to know.
 *
 * Return: KILN_LAPIC_INIT and KILN_LAPIC_SIPI bits, 0 if none.
 * Context: vCPU thread.
 */
int lapic_take_init_sipi(struct kiln_vcpu *vcpu, u8 *vector);

/* Would lapic_take_init_sipi() return anything? */
static inline int lapic_init_sipi_pending(const struct kiln_lapic *lapic)
{
	return atomic_read(&lapic->events);
}

/**
 * lapic_get_state() - KVM_GET_LAPIC (api.rst 4.57), ID in xAPIC format
 * @vcpu: the vCPU
 * @state: filled
 *
 * Context: vCPU thread.
 */
void lapic_get_state(struct kiln_vcpu *vcpu, struct kvm_lapic_state *state);

/**
 * lapic_set_state() - KVM_SET_LAPIC (api.rst 4.58)
 * @vcpu: the vCPU
 * @state: from user space: reserved bits are dropped, the version is ours.
 *	The timer continues from the current count given.
 *
 * Return: 0, -EINVAL if the ID is not this vCPU's (it is read-only here).
 * Context: vCPU thread.
 */
int lapic_set_state(struct kiln_vcpu *vcpu,
		    const struct kvm_lapic_state *state);

/* Timer (SDM vol. 3 §10.5.4). One tick of its clock is one nanosecond. */

/**
 * lapic_get_tscdeadline() - IA32_TSC_DEADLINE
 * @vcpu: the vCPU
 *
 * Return: the deadline; 0 if disarmed, expired or in another mode.
 * Context: vCPU thread.
 */
u64 lapic_get_tscdeadline(struct kiln_vcpu *vcpu);

/**
 * lapic_set_tscdeadline() - write IA32_TSC_DEADLINE
 * @vcpu: the vCPU
 * @tsc: guest TSC, 0 disarms; ignored in another mode
 *
 * Context: vCPU thread; IRQs may be off, which may spin for an expiry that
 * is being handled on another CPU.
 */
void lapic_set_tscdeadline(struct kiln_vcpu *vcpu, u64 tsc);

/**
 * lapic_timer_deadline() - when the timer expires next
 * @vcpu: the vCPU
 *
 * Return: guest TSC, at least 1; 0 if it is not armed.
 * Context: vCPU thread; IRQs may be off.
 */
u64 lapic_timer_deadline(struct kiln_vcpu *vcpu);

/**
 * lapic_timer_use_hw() - who watches the deadline
 * @vcpu: the vCPU
 * @hw: true: the backend, which calls lapic_timer_expire() at or after
 *	lapic_timer_deadline(); the hrtimer is stopped. false: the hrtimer;
 *	call it before the vCPU blocks or its thread leaves the CPU.
 *
 * Cheap if nothing changes. A later write to the timer's registers keeps to
 * the choice.
 *
 * Context: vCPU thread; IRQs may be off.
 */
void lapic_timer_use_hw(struct kiln_vcpu *vcpu, bool hw);

/**
 * lapic_timer_expire() - the backend's timer hit the deadline
 * @vcpu: the vCPU
 * @lead: guest TSC ticks that a TSC deadline may still be away; the caller sees
 *	to it that the guest is not entered before it
 *
 * Delivers the LVT timer interrupt if the deadline has passed indeed, and
 * rearms a periodic timer.
 *
 * Context: vCPU thread; IRQs may be off.
 */
void lapic_timer_expire(struct kiln_vcpu *vcpu, u64 lead);

/**
 * lapic_timer_migrate() - the vCPU came to another CPU: bring the hrtimer
 * @vcpu: the vCPU
 *
 * Context: vCPU thread, preemption disabled.
 */
void lapic_timer_migrate(struct kiln_vcpu *vcpu);

/**
 * lapic_timer_tsc_changed() - the guest's TSC jumped or changed its rate
 * @vcpu: the vCPU
 *
 * Computes again when a TSC deadline is due.
 *
 * Context: vCPU thread.
 */
void lapic_timer_tsc_changed(struct kiln_vcpu *vcpu);

/**
 * lapic_local_deliver() - raise a local interrupt
 * @vcpu: the vCPU
 * @lvt: register offset, e.g. APIC_LVTPC
 *
 * Return: 1 if it was delivered, 0 if the entry is masked.
 * Context: any.
 */
int lapic_local_deliver(struct kiln_vcpu *vcpu, u32 lvt);

/* ExtINT: the PIC's output, where a vCPU listens to it. */

/**
 * kiln_extint_pending() - does the PIC interrupt this vCPU?
 * @vcpu: the vCPU, which has an APIC
 *
 * A vCPU listens if its LINT0 is ExtINT and not masked, or its APIC is
 * disabled in the base MSR (SDM vol. 3 §10.4.3).
 *
 * Return: 1 or 0. Context: any.
 */
int kiln_extint_pending(struct kiln_vcpu *vcpu);

/**
 * kiln_extint_ack() - INTA cycle
 * @vcpu: the vCPU
 *
 * Return: the vector, that of a spurious IRQ 7 if the request went away.
 * Context: vCPU thread; takes the PIC's lock, and with automatic EOI signals
 * resample eventfds.
 */
int kiln_extint_ack(struct kiln_vcpu *vcpu);

#endif /* KILN_IRQCHIP_H */
