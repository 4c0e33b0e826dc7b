/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The room's KUnit suites, for whoever runs them, and the machine they test:
 * a VM that consists of interrupt controllers and vCPUs that never run.
 */
#ifndef KILN_IRQCHIP_TEST_H
#define KILN_IRQCHIP_TEST_H

struct kiln_vcpu;
struct kiln_vm;
struct kunit;
struct kunit_suite;

extern struct kunit_suite lapic_suite;
extern struct kunit_suite lapic_ipi_suite;
extern struct kunit_suite ioapic_suite;
extern struct kunit_suite pic_suite;
extern struct kunit_suite pit_suite;
extern struct kunit_suite routing_suite;
extern struct kunit_suite bus_suite;

#define FAKE_NR_VCPUS	4

/* test->priv becomes a struct kiln_vm with chips and enabled local APICs. */
int fake_vm_init(struct kunit *test);
void fake_vm_exit(struct kunit *test);

/* Take the interrupt the vCPU would take now: the vector, or -1. */
int fake_take_irq(struct kiln_vcpu *vcpu);

/* One byte to or from a port. */
void fake_outb(struct kiln_vm *vm, int val, int port);
int fake_inb(struct kiln_vm *vm, int port);

/* An I/O APIC register through its window. */
void fake_ioapic_write(struct kiln_vm *vm, int reg, unsigned int val);
unsigned int fake_ioapic_read(struct kiln_vm *vm, int reg);

#endif /* KILN_IRQCHIP_TEST_H */
