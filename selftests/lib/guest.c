// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest code and data that every suite carries: where exceptions and interrupts arrive, and the few steps that bring
 * the interrupt controllers up.
 */
#include "guest.h"

trap_handler_t guest_handlers[256] __guest_data = { 0 };
uint64_t guest_error_code __guest_data = 0;
volatile uint32_t guest_count[256] __guest_data = { 0 };
uint64_t ap_entry __guest_data = 0;

/* A test's own handler first; then a guest_catch() that waits for it; else the test is over. */
__guest void guest_trap(struct trap *t)
{
	trap_handler_t handler = guest_handlers[t->vector];

	if (handler) {
		handler(t);
		return;
	}
	if (t->vector < 32 && (uint32_t)t->r10 == GUEST_CATCH_MAGIC) {
		guest_error_code = t->error;
		t->rip = t->r9;
		t->r9 = t->vector;
		return;
	}
	ucall(UCALL_TRAP, t->vector, t->error, t->rip);
}

__guest void count_trap(struct trap *t)
{
	guest_count[t->vector]++;
}

__guest uint32_t halt_until_counted(uint8_t vector, uint32_t n)
{
	while (guest_count[vector] == n) {
		cli();
		if (guest_count[vector] == n)
			sti_hlt();
		sti();
	}
	cli();
	return guest_count[vector];
}

__guest void count_trap_eoi(struct trap *t)
{
	guest_count[t->vector]++;
	apic_write(APIC_EOI, 0);
}

__guest void count_trap_x2eoi(struct trap *t)
{
	guest_count[t->vector]++;
	wrmsr(X2APIC(APIC_EOI), 0);
}

/* What the delivery of an interrupt reads: no second-stage fault is going to cut it short. */
static __guest void touch_tables(void)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) table;

	asm volatile("sidt %0" : "=m"(table));
	(void)*(volatile uint8_t *)table.base;
	asm volatile("sgdt %0" : "=m"(table));
	(void)*(volatile uint8_t *)table.base;
}

__guest void apic_enable_untouched(void)
{
	apic_write(APIC_SVR, 0x1ff);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_LVT0, APIC_MASKED);
}

__guest void apic_enable(void)
{
	touch_tables();
	apic_enable_untouched();
}

__guest void x2apic_enable(void)
{
	touch_tables();
	wrmsr(APIC_MSR, rdmsr(APIC_MSR) | 0xc00);
	wrmsr(X2APIC(APIC_SVR), 0x1ff);
	wrmsr(X2APIC(APIC_TPR), 0);
	wrmsr(X2APIC(APIC_LVT0), APIC_MASKED);
}

__guest void ioapic_write(uint8_t reg, uint32_t v)
{
	*(volatile uint32_t *)IOAPIC_PHYS = reg;
	*(volatile uint32_t *)(IOAPIC_PHYS + 0x10) = v;
}

__guest uint32_t ioapic_read(uint8_t reg)
{
	*(volatile uint32_t *)IOAPIC_PHYS = reg;
	return *(volatile uint32_t *)(IOAPIC_PHYS + 0x10);
}

/* The high half first: the low half carries the mask. */
__guest void ioapic_route(uint8_t pin, uint64_t entry)
{
	ioapic_write(0x11 + 2 * pin, entry >> 32);
	ioapic_write(0x10 + 2 * pin, entry);
}

/* 8259A datasheet, initialization command words 1 to 4. */
__guest void pic_init(uint8_t master_vector, uint8_t slave_vector)
{
	outb(0x20, 0x11);
	outb(0x21, master_vector);
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0xa0, 0x11);
	outb(0xa1, slave_vector);
	outb(0xa1, 2);
	outb(0xa1, 1);
	outb(0x21, 0);
	outb(0xa1, 0);
}
