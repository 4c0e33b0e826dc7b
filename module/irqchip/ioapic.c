// SPDX-License-Identifier: GPL-2.0-only
/*
 * The I/O APIC (82093AA, with the EOI register of later ones: version 0x20).
 * Lines come in through ioapic_set_irq(), messages go out through
 * lapic_deliver(), EOIs come back through ioapic_eoi().
 *
 * A level-triggered pin is sent once; Remote IRR then holds it back until the
 * EOI for its vector, after which it is sent again if still asserted. An
 * edge-triggered pin is sent when its line rises; an edge on a masked pin is
 * lost (82093AA §3.2.4).
 */
#include "private.h"

#define IOAPIC_VERSION		(0x20 | (IOAPIC_NR_PINS - 1) << 16)

/* Index registers, and what IOREGSEL selects (82093AA §3.1, §3.2). */
#define IOREGSEL		0x00
#define IOWIN			0x10
#define IOEOI			0x40

#define IOAPICID		0
#define IOAPICVER		1
#define IOAPICARB		2
#define IOREDTBL		0x10

#define IOAPIC_ID_BITS		GENMASK(27, 24)
#define IOAPIC_READ_ONLY	(IOAPIC_STATUS | IOAPIC_REMOTE_IRR)
/* Bits 17 to 55 are reserved. */
#define IOAPIC_WRITABLE		(GENMASK_ULL(63, 56) | \
				 (GENMASK_ULL(16, 0) & ~IOAPIC_READ_ONLY))

static struct lapic_msg ioapic_msg(u64 entry)
{
	return (struct lapic_msg) {
		.dest = entry >> IOAPIC_DEST_SHIFT,
		.vector = entry & IOAPIC_VECTOR,
		.mode = entry & APIC_MODE_MASK,
		.logical = entry & IOAPIC_LOGICAL,
		.level = entry & IOAPIC_LEVEL,
	};
}

/* Send a pin's message, if nothing holds it back. */
static int ioapic_send(struct kiln_ioapic *ioapic, int pin)
{
	u64 *entry = &ioapic->redir[pin];
	struct lapic_msg msg = ioapic_msg(*entry);
	int status;

	lockdep_assert_held(&ioapic->lock);
	if (*entry & IOAPIC_MASKED)
		return -1;
	if (msg.level && (*entry & IOAPIC_REMOTE_IRR))
		return 0;
	status = lapic_deliver(ioapic->vm, &msg);
	if (msg.level && status >= 0)
		*entry |= IOAPIC_REMOTE_IRR;
	return status;
}

static int __ioapic_set_irq(struct kiln_ioapic *ioapic, int pin, int source,
			    bool level)
{
	bool was = ioapic->irr & BIT(pin);

	if (level)
		ioapic->sources[pin] |= BIT(source);
	else
		ioapic->sources[pin] &= ~BIT(source);

	if (!ioapic->sources[pin]) {
		ioapic->irr &= ~BIT(pin);
		return 1;
	}
	ioapic->irr |= BIT(pin);
	if (was && !(ioapic->redir[pin] & IOAPIC_LEVEL))
		return 0;
	return ioapic_send(ioapic, pin);
}

int ioapic_set_irq(struct kiln_ioapic *ioapic, int pin, int source, bool level)
{
	unsigned long flags;
	int status;

	spin_lock_irqsave(&ioapic->lock, flags);
	status = __ioapic_set_irq(ioapic, pin, source, level);
	spin_unlock_irqrestore(&ioapic->lock, flags);
	return status;
}

KILN_EXPORT_FOR_KUNIT(ioapic_set_irq);

static unsigned long ioapic_end(struct kiln_ioapic *ioapic, u8 vector)
{
	unsigned long flags, pins = 0;
	int i;

	spin_lock_irqsave(&ioapic->lock, flags);
	for (i = 0; i < IOAPIC_NR_PINS; i++) {
		if ((ioapic->redir[i] & IOAPIC_VECTOR) != vector)
			continue;
		ioapic->redir[i] &= ~IOAPIC_REMOTE_IRR;
		pins |= BIT(i);
	}
	spin_unlock_irqrestore(&ioapic->lock, flags);
	return pins;
}

/*
 * The resamplers hear of it before the line is looked at again: theirs may be
 * the source that goes away.
 */
void ioapic_eoi(struct kiln_ioapic *ioapic, u8 vector)
{
	unsigned long flags, pins = ioapic_end(ioapic, vector);
	int pin;

	if (!pins)
		return;
	for_each_set_bit(pin, &pins, IOAPIC_NR_PINS)
		kiln_irq_ack(ioapic->vm, KVM_IRQCHIP_IOAPIC, pin);

	spin_lock_irqsave(&ioapic->lock, flags);
	for_each_set_bit(pin, &pins, IOAPIC_NR_PINS) {
		if ((ioapic->redir[pin] & IOAPIC_LEVEL) &&
		    (ioapic->irr & BIT(pin)))
			ioapic_send(ioapic, pin);
	}
	spin_unlock_irqrestore(&ioapic->lock, flags);
}

KILN_EXPORT_FOR_KUNIT(ioapic_eoi);

static bool ioapic_eoi_matters(struct kiln_ioapic *ioapic, int pin)
{
	return (ioapic->redir[pin] & IOAPIC_LEVEL) ||
	       kiln_irq_wants_ack(ioapic->vm, KVM_IRQCHIP_IOAPIC, pin);
}

bool ioapic_eoi_map(struct kiln_ioapic *ioapic, const struct kiln_lapic *lapic,
		    u64 map[4])
{
	struct lapic_msg msg;
	unsigned long flags;
	bool edge = false;
	int i;

	spin_lock_irqsave(&ioapic->lock, flags);
	for (i = 0; i < IOAPIC_NR_PINS; i++) {
		msg = ioapic_msg(ioapic->redir[i]);
		if (msg.vector < LAPIC_FIRST_VECTOR ||
		    !ioapic_eoi_matters(ioapic, i) ||
		    !lapic_matches(lapic, &msg))
			continue;
		map[msg.vector / 64] |= BIT_ULL(msg.vector % 64);
		edge |= !msg.level;
	}
	spin_unlock_irqrestore(&ioapic->lock, flags);
	return edge;
}

KILN_EXPORT_FOR_KUNIT(ioapic_eoi_map);

/*
 * Remote IRR survives a write, except that making the pin edge-triggered
 * clears it, which is how software gets rid of a stuck one. Returns true if
 * the EOI maps of the vCPUs are out of date.
 */
static bool ioapic_write_entry(struct kiln_ioapic *ioapic, int pin, u64 val)
{
	u64 old = ioapic->redir[pin];
	bool mattered = ioapic_eoi_matters(ioapic, pin);
	u64 new = (val & IOAPIC_WRITABLE) | (old & IOAPIC_READ_ONLY);

	if (!(new & IOAPIC_LEVEL))
		new &= ~IOAPIC_REMOTE_IRR;
	ioapic->redir[pin] = new;
	if ((new & IOAPIC_LEVEL) && (ioapic->irr & BIT(pin)))
		ioapic_send(ioapic, pin);

	if (!((old ^ new) & ~(IOAPIC_MASKED | IOAPIC_READ_ONLY)))
		return false;
	return mattered || ioapic_eoi_matters(ioapic, pin);
}

static bool ioapic_write_window(struct kiln_ioapic *ioapic, u32 val)
{
	u32 reg = ioapic->regsel;
	int pin = (reg - IOREDTBL) / 2;
	u64 entry;

	if (reg == IOAPICID)
		ioapic->id = val & IOAPIC_ID_BITS;
	if (reg < IOREDTBL || pin >= IOAPIC_NR_PINS)
		return false;
	pin = array_index_nospec(pin, IOAPIC_NR_PINS);
	entry = ioapic->redir[pin];
	if (reg & 1)
		entry = (u64)val << 32 | (u32)entry;
	else
		entry = (entry & ~(u64)U32_MAX) | val;
	return ioapic_write_entry(ioapic, pin, entry);
}

static u32 ioapic_read_window(struct kiln_ioapic *ioapic)
{
	u32 reg = ioapic->regsel;
	int pin = (reg - IOREDTBL) / 2;

	switch (reg) {
	case IOAPICID:
	case IOAPICARB:
		return ioapic->id;
	case IOAPICVER:
		return IOAPIC_VERSION;
	}
	if (reg < IOREDTBL || pin >= IOAPIC_NR_PINS)
		return 0;
	pin = array_index_nospec(pin, IOAPIC_NR_PINS);
	return ioapic->redir[pin] >> (reg & 1 ? 32 : 0);
}

int ioapic_bus_read(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu, u64 addr,
		    int len, void *val)
{
	struct kiln_ioapic *ioapic = container_of(dev, struct kiln_ioapic, dev);
	unsigned long flags;
	u64 data = 0;

	spin_lock_irqsave(&ioapic->lock, flags);
	switch (addr - IOAPIC_BASE) {
	case IOREGSEL:
		data = ioapic->regsel;
		break;
	case IOWIN:
		data = ioapic_read_window(ioapic);
		break;
	}
	spin_unlock_irqrestore(&ioapic->lock, flags);
	memcpy(val, &data, len);
	return 0;
}

int ioapic_bus_write(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu,
		     u64 addr, int len, const void *val)
{
	struct kiln_ioapic *ioapic = container_of(dev, struct kiln_ioapic, dev);
	bool stale_maps = false;
	unsigned long flags;
	u32 data = 0;

	memcpy(&data, val, min_t(int, len, sizeof(data)));
	if (addr - IOAPIC_BASE == IOEOI) {
		ioapic_eoi(ioapic, data);
		return 0;
	}
	spin_lock_irqsave(&ioapic->lock, flags);
	switch (addr - IOAPIC_BASE) {
	case IOREGSEL:
		ioapic->regsel = data;
		break;
	case IOWIN:
		stale_maps = ioapic_write_window(ioapic, data);
		break;
	}
	spin_unlock_irqrestore(&ioapic->lock, flags);
	if (stale_maps)
		kiln_vm_request_all(ioapic->vm, KILN_REQ_EOI_MAP);
	return 0;
}

static const struct kiln_bus_ops ioapic_ops = {
	.read = ioapic_bus_read,
	.write = ioapic_bus_write,
};

int ioapic_create(struct kiln_vm *vm)
{
	struct kiln_ioapic *ioapic;
	int i, r;

	ioapic = kzalloc(sizeof(*ioapic), GFP_KERNEL_ACCOUNT);
	if (!ioapic)
		return -ENOMEM;
	spin_lock_init(&ioapic->lock);
	ioapic->vm = vm;
	ioapic->dev.ops = &ioapic_ops;
	for (i = 0; i < IOAPIC_NR_PINS; i++)
		ioapic->redir[i] = IOAPIC_MASKED;
	r = kiln_bus_add(vm, KILN_BUS_MMIO, IOAPIC_BASE, IOAPIC_LEN,
			 &ioapic->dev);
	if (r) {
		kfree(ioapic);
		return r;
	}
	vm->irq.ioapic = ioapic;
	return 0;
}

void ioapic_destroy(struct kiln_vm *vm)
{
	kfree(vm->irq.ioapic);
	vm->irq.ioapic = NULL;
}
