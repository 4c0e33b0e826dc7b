// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PIC pair: two 8259A, the slave's INT wired to input 2 of the master,
 * and the ELCR that makes inputs level-triggered (82371SB §2.5.2).
 *
 * Inputs come in through pic_set_irq(); the master's INT makes the vCPU that
 * listens to it look; it takes the vector with pic_ack(). An edge stays
 * latched after its line fell: devices here pulse.
 */
#include "private.h"

#define CASCADE		2
#define SPURIOUS	7

#define PORT_MASTER	0x20
#define PORT_SLAVE	0xa0
#define PORT_ELCR	0x4d0

/* Initialisation and operation command words (8259A data sheet). */
#define ICW1		BIT(4)
#define ICW1_NEED_ICW4	BIT(0)
#define ICW1_SINGLE	BIT(1)
#define ICW4_AUTO_EOI	BIT(1)
#define ICW4_NESTED	BIT(4)
#define OCW3		BIT(3)
#define OCW3_READ	BIT(1)
#define OCW3_READ_ISR	BIT(0)
#define OCW3_POLL	BIT(2)
#define OCW3_SMM	BIT(6)
#define OCW3_SMM_ON	BIT(5)
#define OCW2_COMMAND	5	/* shift */
#define OCW2_LEVEL	7	/* mask */

/* Inputs that cannot be made level-triggered: timer, keyboard, cascade, ... */
static const u8 elcr_fixed[2] = { BIT(0) | BIT(1) | BIT(2), BIT(0) | BIT(5) };

/* The place of the highest input in @inputs, 0 being the top priority. */
static int pic_rank(const struct pic_chip *chip, u8 inputs)
{
	return __ffs(ror8(inputs, chip->first));
}

/*
 * The input the chip wants served, or -1. In special fully nested mode the
 * master lets the slave interrupt while the slave is in service.
 */
static int pic_request(const struct pic_chip *chip, bool master)
{
	u8 pending = chip->irr & ~chip->imr;
	u8 blocking = chip->isr;
	int rank, limit = 8, pin;

	if (!pending)
		return -1;
	if (chip->special_mask)
		blocking &= ~chip->imr;
	if (blocking)
		limit = pic_rank(chip, blocking);
	rank = pic_rank(chip, pending);
	pin = (rank + chip->first) & 7;
	if (rank < limit)
		return pin;
	return master && chip->nested && pin == CASCADE && rank == limit ?
	       pin : -1;
}

/* Slave's INT to the master's input. Returns the master's INT. */
static bool pic_update(struct kiln_pic *pic)
{
	struct pic_chip *master = &pic->chip[0];

	lockdep_assert_held(&pic->lock);
	if (pic_request(&pic->chip[1], false) >= 0)
		master->irr |= BIT(CASCADE);
	else
		master->irr &= ~BIT(CASCADE);
	WRITE_ONCE(pic->output, pic_request(master, true) >= 0);
	return pic->output;
}

/* One vCPU hears of INT; by the time it looks another may have served it. */
static void pic_kick(struct kiln_pic *pic)
{
	struct kiln_vcpu *vcpu;
	int i;

	kiln_for_each_vcpu(i, vcpu, pic->vm) {
		if (vcpu->lapic && lapic_listens_to_pic(vcpu->lapic)) {
			kiln_vcpu_request(vcpu, KILN_REQ_EVENT);
			return;
		}
	}
}

/* After a change, unlocked. @output: INT; @ended: pins that got an EOI. */
static void pic_notify(struct kiln_pic *pic, bool output, unsigned long ended)
{
	int pin;

	for_each_set_bit(pin, &ended, PIC_NR_PINS)
		kiln_irq_ack(pic->vm, pin < 8 ? KVM_IRQCHIP_PIC_MASTER :
						KVM_IRQCHIP_PIC_SLAVE, pin % 8);
	if (output)
		pic_kick(pic);
}

static int __pic_set_irq(struct pic_chip *chip, int pin, int source, bool level)
{
	u8 mask = BIT(pin);
	bool rising, merged;

	if (level)
		chip->sources[pin] |= BIT(source);
	else
		chip->sources[pin] &= ~BIT(source);
	if (!chip->sources[pin]) {
		chip->line &= ~mask;
		if (chip->elcr & mask)
			chip->irr &= ~mask;
		return 1;
	}
	rising = !(chip->line & mask);
	merged = chip->irr & mask;
	chip->line |= mask;
	if (rising || (chip->elcr & mask))
		chip->irr |= mask;
	if (chip->imr & mask)
		return -1;
	return rising && !merged;
}

int pic_set_irq(struct kiln_pic *pic, int pin, int source, bool level)
{
	unsigned long flags;
	bool output;
	int status;

	/* The slave's INT is the only thing on the cascade input. */
	if (pin == CASCADE)
		return -1;
	spin_lock_irqsave(&pic->lock, flags);
	status = __pic_set_irq(&pic->chip[pin / 8], pin % 8, source, level);
	output = pic_update(pic);
	spin_unlock_irqrestore(&pic->lock, flags);
	pic_notify(pic, output, 0);
	return status;
}

KILN_EXPORT_FOR_KUNIT(pic_set_irq);

/* INTA for one input. Returns its bit if that ended it at once. */
static u8 pic_accept(struct pic_chip *chip, int pin)
{
	if (!(chip->elcr & BIT(pin)))
		chip->irr &= ~BIT(pin);
	if (!chip->auto_eoi) {
		chip->isr |= BIT(pin);
		return 0;
	}
	if (chip->rotate)
		chip->first = (pin + 1) & 7;
	return BIT(pin);
}

u8 pic_ack(struct kiln_pic *pic)
{
	struct pic_chip *master = &pic->chip[0], *slave = &pic->chip[1];
	unsigned long flags, ended = 0;
	bool output;
	u8 vector;
	int pin;

	spin_lock_irqsave(&pic->lock, flags);
	pin = pic_request(master, true);
	if (pin < 0) {
		vector = master->base + SPURIOUS;
	} else {
		ended = pic_accept(master, pin);
		vector = master->base + pin;
	}
	if (pin == CASCADE) {
		ended &= ~BIT(CASCADE);
		pin = pic_request(slave, false);
		if (pin >= 0)
			ended |= pic_accept(slave, pin) << 8;
		vector = slave->base + (pin < 0 ? SPURIOUS : pin);
	}
	output = pic_update(pic);
	spin_unlock_irqrestore(&pic->lock, flags);
	pic_notify(pic, output, ended);
	return vector;
}

KILN_EXPORT_FOR_KUNIT(pic_ack);

/* ICW1 starts over: "Initialization sequence" of the data sheet. */
static u8 pic_init_chip(struct pic_chip *chip, u8 val)
{
	u8 ended = chip->isr;

	chip->icw1 = val;
	chip->icw = 2;
	chip->irr = chip->line & chip->elcr;
	chip->imr = 0;
	chip->isr = 0;
	chip->first = 0;
	chip->read_isr = false;
	chip->poll = false;
	chip->special_mask = false;
	chip->nested = false;
	chip->auto_eoi = false;
	chip->rotate = false;
	return ended;
}

static u8 pic_end(struct pic_chip *chip, u8 inputs)
{
	u8 ended = chip->isr & inputs;

	chip->isr &= ~inputs;
	return ended;
}

/* Non-specific EOI: the highest in service. */
static u8 pic_end_highest(struct pic_chip *chip, bool rotate)
{
	int pin;

	if (!chip->isr)
		return 0;
	pin = (pic_rank(chip, chip->isr) + chip->first) & 7;
	if (rotate)
		chip->first = (pin + 1) & 7;
	return pic_end(chip, BIT(pin));
}

static u8 pic_write_ocw2(struct pic_chip *chip, u8 val)
{
	int pin = val & OCW2_LEVEL;

	switch (val >> OCW2_COMMAND) {
	case 0:		/* clear rotate in automatic EOI mode */
		chip->rotate = false;
		return 0;
	case 4:		/* set it */
		chip->rotate = true;
		return 0;
	case 1:		/* non-specific EOI */
		return pic_end_highest(chip, false);
	case 5:		/* the same with rotation */
		return pic_end_highest(chip, true);
	case 7:		/* rotate on specific EOI */
		chip->first = (pin + 1) & 7;
		fallthrough;
	case 3:		/* specific EOI */
		return pic_end(chip, BIT(pin));
	case 6:		/* set priority */
		chip->first = (pin + 1) & 7;
		return 0;
	default:	/* no operation */
		return 0;
	}
}

static void pic_write_ocw3(struct pic_chip *chip, u8 val)
{
	chip->poll = val & OCW3_POLL;
	if (val & OCW3_READ)
		chip->read_isr = val & OCW3_READ_ISR;
	if (val & OCW3_SMM)
		chip->special_mask = val & OCW3_SMM_ON;
}

static u8 pic_write_even(struct pic_chip *chip, u8 val)
{
	if (val & ICW1)
		return pic_init_chip(chip, val);
	if (val & OCW3)
		pic_write_ocw3(chip, val);
	else
		return pic_write_ocw2(chip, val);
	return 0;
}

static void pic_write_odd(struct pic_chip *chip, u8 val)
{
	u8 after = chip->icw1 & ICW1_NEED_ICW4 ? 4 : 0;

	switch (chip->icw) {
	case 0:
		chip->imr = val;
		break;
	case 2:
		chip->base = val & 0xf8;
		chip->icw = chip->icw1 & ICW1_SINGLE ? after : 3;
		break;
	case 3:		/* how the cascade is wired is known */
		chip->icw = after;
		break;
	case 4:
		chip->nested = val & ICW4_NESTED;
		chip->auto_eoi = val & ICW4_AUTO_EOI;
		chip->icw = 0;
		break;
	}
}

/* A poll is an INTA cycle of one chip (data sheet, "Poll command"). */
static u8 pic_read_poll(struct kiln_pic *pic, int n)
{
	struct pic_chip *chip = &pic->chip[n];
	unsigned long flags, ended = 0;
	bool output;
	u8 val = 0;
	int pin;

	spin_lock_irqsave(&pic->lock, flags);
	chip->poll = false;
	pin = pic_request(chip, n == 0);
	if (pin >= 0) {
		ended = (unsigned long)pic_accept(chip, pin) << (n * 8);
		val = BIT(7) | pin;
	}
	output = pic_update(pic);
	spin_unlock_irqrestore(&pic->lock, flags);
	pic_notify(pic, output, ended & ~BIT(CASCADE));
	return val;
}

/* Registers are bytes: reading one needs no lock. */
static u8 pic_read_reg(struct kiln_pic *pic, int n, bool odd)
{
	struct pic_chip *chip = &pic->chip[n];

	if (READ_ONCE(chip->poll))
		return pic_read_poll(pic, n);
	if (odd)
		return READ_ONCE(chip->imr);
	return READ_ONCE(chip->read_isr) ? READ_ONCE(chip->isr) :
					   READ_ONCE(chip->irr);
}

/* Ports are bytes; anything wider is user space's business. */
int pic_bus_read(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu, u64 addr,
		 int len, void *val)
{
	struct kiln_pic *pic = container_of(dev, struct kiln_pic, dev);

	if (len != 1)
		return -EOPNOTSUPP;
	if (addr >= PORT_ELCR)
		*(u8 *)val = READ_ONCE(pic->chip[addr & 1].elcr);
	else
		*(u8 *)val = pic_read_reg(pic, addr >= PORT_SLAVE, addr & 1);
	return 0;
}

/* A level-triggered input requests whenever its line is asserted. */
static void pic_write_elcr(struct pic_chip *chip, u8 val)
{
	u8 changed = chip->elcr ^ val;

	chip->elcr = val;
	chip->irr &= ~changed;
	chip->irr |= chip->line & changed & val;
}

int pic_bus_write(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu, u64 addr,
		  int len, const void *val)
{
	struct kiln_pic *pic = container_of(dev, struct kiln_pic, dev);
	unsigned long flags, ended = 0;
	u8 data = *(const u8 *)val;
	int n = addr >= PORT_SLAVE;
	bool output;

	if (len != 1)
		return -EOPNOTSUPP;
	spin_lock_irqsave(&pic->lock, flags);
	if (addr >= PORT_ELCR)
		pic_write_elcr(&pic->chip[addr & 1],
			       data & ~elcr_fixed[addr & 1]);
	else if (addr & 1)
		pic_write_odd(&pic->chip[n], data);
	else
		ended = (unsigned long)pic_write_even(&pic->chip[n], data)
			<< (n * 8);
	output = pic_update(pic);
	spin_unlock_irqrestore(&pic->lock, flags);
	pic_notify(pic, output, ended & ~BIT(CASCADE));
	return 0;
}

static const struct kiln_bus_ops pic_ops = {
	.read = pic_bus_read,
	.write = pic_bus_write,
};

static const u16 pic_ports[] = { PORT_MASTER, PORT_SLAVE, PORT_ELCR };

int pic_create(struct kiln_vm *vm)
{
	struct kiln_pic *pic;
	int i, r = 0;

	pic = kzalloc(sizeof(*pic), GFP_KERNEL_ACCOUNT);
	if (!pic)
		return -ENOMEM;
	spin_lock_init(&pic->lock);
	pic->vm = vm;
	pic->dev.ops = &pic_ops;
	for (i = 0; i < ARRAY_SIZE(pic_ports) && !r; i++)
		r = kiln_bus_add(vm, KILN_BUS_PIO, pic_ports[i], 2, &pic->dev);
	if (r) {
		kiln_bus_remove(vm, KILN_BUS_PIO, &pic->dev);
		kfree(pic);
		return r;
	}
	vm->irq.pic = pic;
	return 0;
}

void pic_destroy(struct kiln_vm *vm)
{
	kfree(vm->irq.pic);
	vm->irq.pic = NULL;
}

int kiln_extint_pending(struct kiln_vcpu *vcpu)
{
	const struct kiln_pic *pic = vcpu->vm->irq.pic;

	return pic && READ_ONCE(pic->output) &&
	       lapic_listens_to_pic(vcpu->lapic);
}

KILN_EXPORT_FOR_KUNIT(kiln_extint_pending);

int kiln_extint_ack(struct kiln_vcpu *vcpu)
{
	return pic_ack(vcpu->vm->irq.pic);
}

KILN_EXPORT_FOR_KUNIT(kiln_extint_ack);
