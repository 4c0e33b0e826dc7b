// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a vCPU dies: KVM_EXIT_SHUTDOWN, KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTERNAL_ERROR (api.rst §5), and what of it kiln
 * tells by KILN_GET_DEATH.
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "kiln.h"
#include "vm.h"

#define DEVICE 0xd0000000UL

static __guest void lives(void)
{
	guest_done();
}

static __guest void triple_faults(void)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) none = { 0, 0 };

	asm volatile("lidt %0; ud2" : : "m"(none));
}

/* CS for 64-bit and for 32-bit code at once: no manual allows it, and no check of SET_SREGS looks at it. */
static void spoil_cs(struct vcpu *vcpu)
{
	struct kvm_sregs sregs = vcpu_sregs(vcpu);

	sregs.cs.l = sregs.cs.db = 1;
	vcpu_set_sregs(vcpu, &sregs);
}

/* x87 loads from device memory are beyond every emulator here. */
static __guest void loads_floats_from_a_device(void)
{
	asm volatile("fninit; flds (%0)" : : "r"(DEVICE));
	guest_done();
}

static __guest void jumps_into_a_device(void)
{
	asm volatile("jmp *%0" : : "r"(DEVICE));
}

static __guest void touches_unbacked_memory(void)
{
	*(volatile uint64_t *)0x40000000 = 1;
	guest_done();
}

/* A slot whose memory is not mapped in the process. */
static void add_unbacked_slot(struct vm *vm)
{
	void *p = vm_map(vm, 1, 0x40000000, 0x10000);

	munmap(p, 0x10000);
}

TEST(a_triple_fault_is_a_shutdown)
{
	struct vcpu *vcpu = vm_create_one(0, triple_faults);

	ASSERT_EXIT(SHUTDOWN, vcpu);
}

TEST(a_triple_fault_with_an_irqchip_is_a_shutdown_too)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, triple_faults);

	ASSERT_EXIT(SHUTDOWN, vcpu);
}

BLOB(real_triple_fault, "16", "lidtl (0xa010); ud2\n.org 16\n.word 0\n.long 0");

TEST(a_triple_fault_in_real_mode_is_a_shutdown)
{
	struct vcpu *vcpu = vm_add_vcpu(vm_create(0));

	vm_load_blob(vcpu->vm, VM_SCRATCH, real_triple_fault);
	vcpu_real_mode(vcpu, VM_SCRATCH);
	ASSERT_EXIT(SHUTDOWN, vcpu);
}

TEST(after_a_shutdown_and_new_registers_the_vcpu_runs_again)
{
	struct vcpu *vcpu = vm_create_one(0, triple_faults);

	ASSERT_EXIT(SHUTDOWN, vcpu);
	vcpu_long_mode(vcpu, lives);
	ASSERT_DONE(vcpu);
}

TEST(a_state_no_cpu_may_enter_with_fails_the_entry)
{
	struct vcpu *vcpu = vm_create_one(0, lives);

	spoil_cs(vcpu);
	ASSERT_EXIT(FAIL_ENTRY, vcpu);
	EXPECT_NE(0, vcpu->run->fail_entry.hardware_entry_failure_reason);
}

TEST(after_a_failed_entry_and_good_registers_the_vcpu_runs)
{
	struct vcpu *vcpu = vm_create_one(0, lives);

	spoil_cs(vcpu);
	ASSERT_EXIT(FAIL_ENTRY, vcpu);
	vcpu_long_mode(vcpu, lives);
	ASSERT_DONE(vcpu);
}

TEST(an_instruction_beyond_the_emulator_is_an_internal_error_with_its_bytes)
{
	struct vcpu *vcpu = vm_create_one(0, loads_floats_from_a_device);
	struct kvm_run *run = vcpu->run;

	ASSERT_EXIT(INTERNAL_ERROR, vcpu);
	EXPECT_EQ(KVM_INTERNAL_ERROR_EMULATION, run->internal.suberror);
	ASSERT_GE(run->emulation_failure.ndata, 3);
	ASSERT_NE(0, run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES);
	ASSERT_GE(run->emulation_failure.insn_size, 2);
	EXPECT_LE(run->emulation_failure.insn_size, 15);
	EXPECT_EQ(0xd9, run->emulation_failure.insn_bytes[0]);
}

TEST(code_fetched_from_a_device_is_an_internal_error)
{
	struct vcpu *vcpu = vm_create_one(0, jumps_into_a_device);

	ASSERT_EXIT(INTERNAL_ERROR, vcpu);
	EXPECT_EQ(KVM_INTERNAL_ERROR_EMULATION, vcpu->run->internal.suberror);
	EXPECT_EQ(DEVICE, vcpu_regs(vcpu).rip);
}

TEST(a_slot_without_memory_behind_it_makes_run_fail_with_efault)
{
	struct vcpu *vcpu = vm_create_one(0, touches_unbacked_memory);

	add_unbacked_slot(vcpu->vm);
	EXPECT_EQ(-EFAULT, vcpu_run(vcpu));
}

/* The rest is kiln's own. */
FIXTURE(death) {
	struct vcpu *vcpu;
	struct kiln_death death;
};

FIXTURE_SETUP(death)
{
	if (!device_is_kiln())
		SKIP(_exit(255), "%s is not kiln: no KILN_GET_DEATH", device_path());
	self->vcpu = vm_create_one(0, lives);
}

FIXTURE_TEARDOWN(death)
{
}

/* Run it dead and fetch the cause. */
#define DIE_OF(code, expected_kind) do {						\
	vcpu_long_mode(self->vcpu, code);						\
	vcpu_run(self->vcpu);								\
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_DEATH, &self->death);			\
	EXPECT_EQ(expected_kind, self->death.kind);					\
	EXPECT_LT(20, strnlen(self->death.cause, sizeof(self->death.cause)));		\
	EXPECT_GT(sizeof(self->death.cause), strnlen(self->death.cause, sizeof(self->death.cause)));	\
	TH_LOG("cause: %s", self->death.cause);						\
} while (0)

TEST_F(death, a_living_vcpu_has_no_cause)
{
	EXPECT_IOCTL(-ENODATA, self->vcpu->fd, KILN_GET_DEATH, &self->death);
	ASSERT_DONE(self->vcpu);
	EXPECT_IOCTL(-ENODATA, self->vcpu->fd, KILN_GET_DEATH, &self->death);
}

TEST_F(death, a_bad_pointer_faults)
{
	DIE_OF(triple_faults, KILN_DEATH_TRIPLE_FAULT);
	EXPECT_IOCTL(-EFAULT, self->vcpu->fd, KILN_GET_DEATH, (void *)8);
}

TEST_F(death, a_triple_fault_has_registers_and_bytes)
{
	struct kvm_regs regs;

	DIE_OF(triple_faults, KILN_DEATH_TRIPLE_FAULT);
	regs = vcpu_regs(self->vcpu);
	EXPECT_EQ(0, memcmp(&regs, &self->death.regs, sizeof(regs)));
	EXPECT_EQ(0, self->death.sregs.idt.limit);
	EXPECT_EQ(0x1000, self->death.sregs.cr3);
	ASSERT_GE(self->death.insn_len, 2);
	EXPECT_EQ(0, memcmp("\x0f\x0b", self->death.insn, 2));
}

TEST_F(death, a_failed_entry_says_so)
{
	spoil_cs(self->vcpu);
	ASSERT_EXIT(FAIL_ENTRY, self->vcpu);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_DEATH, &self->death);
	EXPECT_EQ(KILN_DEATH_FAIL_ENTRY, self->death.kind);
	EXPECT_EQ(1, self->death.sregs.cs.l & self->death.sregs.cs.db);
	EXPECT_NE(0, self->death.exit_reason);
	TH_LOG("cause: %s", self->death.cause);
}

TEST_F(death, a_failed_emulation_has_the_address_and_the_bytes)
{
	DIE_OF(loads_floats_from_a_device, KILN_DEATH_EMULATION);
	EXPECT_EQ(DEVICE, self->death.gpa);
	ASSERT_GE(self->death.insn_len, 2);
	EXPECT_EQ(0xd9, self->death.insn[0]);
}

TEST_F(death, memory_that_is_not_there_says_where)
{
	add_unbacked_slot(self->vcpu->vm);
	DIE_OF(touches_unbacked_memory, KILN_DEATH_MEMORY);
	EXPECT_EQ(0x40000000, self->death.gpa);
	/* An EPT violation, a nested page fault; bit 1 is that of a write in both. */
	EXPECT_EQ(host_cpu_is_intel() ? 48 : 0x400, self->death.exit_reason);
	EXPECT_EQ(2, self->death.qualification & 2);
}

TEST_F(death, the_cause_outlives_a_resurrection)
{
	DIE_OF(triple_faults, KILN_DEATH_TRIPLE_FAULT);
	vcpu_long_mode(self->vcpu, lives);
	ASSERT_DONE(self->vcpu);
	ASSERT_IOCTL(0, self->vcpu->fd, KILN_GET_DEATH, &self->death);
	EXPECT_EQ(KILN_DEATH_TRIPLE_FAULT, self->death.kind);
}

TEST_F(death, the_latest_death_counts)
{
	DIE_OF(triple_faults, KILN_DEATH_TRIPLE_FAULT);
	DIE_OF(loads_floats_from_a_device, KILN_DEATH_EMULATION);
}

TEST_HARNESS_MAIN
