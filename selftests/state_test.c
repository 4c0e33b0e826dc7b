// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vCPU's state behind the get and set calls: what is set comes back and is what the guest sees; what is bad is
 * refused and changes nothing (api.rst §4.11 to §4.22, §4.31, §4.38, §4.42, §4.57).
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "vm.h"

static __guest void lives(void)
{
	guest_done();
}

FIXTURE(state) {
	struct vcpu *vcpu;
	int fd;
};

FIXTURE_SETUP(state)
{
	self->vcpu = vm_create_one(VM_IRQCHIP, lives);
	self->fd = self->vcpu->fd;
}

FIXTURE_TEARDOWN(state)
{
	vm_destroy(self->vcpu->vm);
}

/* ---- general registers ---- */

TEST_F(state, registers_come_back)
{
	struct kvm_regs set = { .rax = 1, .rbx = 2, .rcx = 3, .rdx = 4, .rsi = 5, .rdi = 6, .rsp = 7, .rbp = 8, .r8 = 9,
				.r9 = 10, .r10 = 11, .r11 = 12, .r12 = 13, .r13 = 14, .r14 = 15, .r15 = ~0ULL,
				.rip = 0x123456, .rflags = 0x246 }, got;

	ASSERT_IOCTL(0, self->fd, KVM_SET_REGS, &set);
	ASSERT_IOCTL(0, self->fd, KVM_GET_REGS, &got);
	EXPECT_EQ(0, memcmp(&set, &got, sizeof(set)));
}

TEST_F(state, bit_1_of_rflags_is_always_set)
{
	struct kvm_regs regs = { .rflags = 0 };

	ASSERT_IOCTL(0, self->fd, KVM_SET_REGS, &regs);
	EXPECT_EQ(2, vcpu_regs(self->vcpu).rflags);
}

BLOB(store_registers, "64",
	"push %rax; movabs $0x185000, %rax; pop (%rax); mov %rbx, 8(%rax); mov %rcx, 16(%rax); mov %rdx, 24(%rax)\n"
	"mov %rsi, 32(%rax); mov %rdi, 40(%rax); mov %rbp, 48(%rax); mov %r8, 56(%rax); mov %r9, 64(%rax)\n"
	"mov %r10, 72(%rax); mov %r11, 80(%rax); mov %r12, 88(%rax); mov %r13, 96(%rax); mov %r14, 104(%rax)\n"
	"mov %r15, 112(%rax); mov $1, %eax; out %eax, $0xe0");

TEST_F(state, the_guest_sees_the_registers_that_were_set)
{
	struct kvm_regs regs = { .rax = 0x101, .rbx = 0x102, .rcx = 0x103, .rdx = 0x104, .rsi = 0x105, .rdi = 0x106,
				 .rbp = 0x107, .r8 = 0x108, .r9 = 0x109, .r10 = 0x10a, .r11 = 0x10b, .r12 = 0x10c,
				 .r13 = 0x10d, .r14 = 0x10e, .r15 = 0x10f, .rsp = 0x30000, .rip = VM_FREE, .rflags = 2 };
	uint64_t *stored = (uint64_t *)(self->vcpu->vm->ram + 0x185000);

	vm_load_blob(self->vcpu->vm, VM_FREE, store_registers);
	vcpu_set_regs(self->vcpu, &regs);
	ASSERT_DONE(self->vcpu);
	for (int i = 0; i < 15; i++)
		EXPECT_EQ(0x101 + i, stored[i]);
}

/* ---- special registers ---- */

TEST_F(state, special_registers_come_back)
{
	struct kvm_sregs set = vcpu_sregs(self->vcpu), got;

	set.cr2 = 0x123456789;
	set.cr8 = 5;
	set.fs.base = 0x7000;
	set.gs.base = 0x8000;
	set.gdt.limit = 0x77;
	set.idt.base = 0x9000;
	vcpu_set_sregs(self->vcpu, &set);
	got = vcpu_sregs(self->vcpu);
	EXPECT_EQ(0, memcmp(&set, &got, sizeof(set)));
}

#define VECTOR	0x55

static __guest void expects_an_interrupt(void)
{
	guest_handlers[VECTOR] = count_trap;
	sti();
	guest_sync(1);
	guest_expect(1, guest_count[VECTOR]);
	guest_done();
}

TEST_F(state, an_interrupt_among_the_special_registers_comes_back_and_is_delivered)
{
	const uint64_t bit = 1ULL << VECTOR % 64;
	struct kvm_sregs set, got;

	vcpu_long_mode(self->vcpu, expects_an_interrupt);
	ASSERT_OUTCOME("sync 1", self->vcpu);
	self->vcpu->run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run(self->vcpu));
	self->vcpu->run->immediate_exit = 0;
	set = vcpu_sregs(self->vcpu);
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(0, set.interrupt_bitmap[i]);
	set.interrupt_bitmap[VECTOR / 64] = bit;
	vcpu_set_sregs(self->vcpu, &set);
	got = vcpu_sregs(self->vcpu);
	EXPECT_EQ(0, memcmp(&set, &got, sizeof(set)));
	ASSERT_DONE(self->vcpu);
	EXPECT_EQ(0, vcpu_sregs(self->vcpu).interrupt_bitmap[VECTOR / 64]);
}

TEST_F(state, a_fresh_vcpu_is_in_its_reset_state)
{
	struct vcpu *fresh = vm_add_vcpu(vm_create(VM_IRQCHIP));
	struct kvm_sregs s = vcpu_sregs(fresh);
	struct kvm_regs r = vcpu_regs(fresh);

	EXPECT_EQ(0xfff0, r.rip);
	EXPECT_EQ(2, r.rflags);
	EXPECT_EQ(0xf000, s.cs.selector);
	EXPECT_EQ(0xffff0000, s.cs.base);
	EXPECT_EQ(0xffff, s.cs.limit);
	EXPECT_EQ(0, s.ds.base);
	EXPECT_EQ(0xffff, s.gdt.limit);
	EXPECT_EQ(0x60000010, s.cr0);
	EXPECT_EQ(0, s.cr4);
	EXPECT_EQ(0, s.efer);
	EXPECT_EQ(0xfee00900, s.apic_base);
}

/* One field of the special registers made bad: refused, and nothing changed. */
#define BAD_SREGS(name, change)							\
TEST_F(state, sregs_refuse_##name)						\
{										\
	struct kvm_sregs before = vcpu_sregs(self->vcpu), s = before, after;	\
										\
	change;									\
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_SREGS, &s);			\
	after = vcpu_sregs(self->vcpu);						\
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));			\
	ASSERT_DONE(self->vcpu);						\
}

BAD_SREGS(a_reserved_bit_of_cr4, s.cr4 |= 1ULL << 31)
BAD_SREGS(the_upper_half_of_cr4, s.cr4 |= 1ULL << 40)
BAD_SREGS(long_mode_without_pae, s.cr4 &= ~0x20ULL)
BAD_SREGS(long_mode_not_active_though_enabled_and_paging, s.efer &= ~0x400ULL)
BAD_SREGS(long_mode_active_without_paging, s.cr0 &= ~0x80000000ULL)
BAD_SREGS(a_reserved_bit_of_cr3_in_long_mode, s.cr3 |= 1ULL << 60)
BAD_SREGS(a_reserved_bit_of_the_apic_base, s.apic_base |= 1ULL << 62)

TEST_F(state, the_apic_base_can_disable_and_enable_x2apic)
{
	struct kvm_sregs s = vcpu_sregs(self->vcpu);

	if (!device_cpuid_has(1, 2, 21))
		SKIP(return, "no x2APIC in the guest's CPUID");
	s.apic_base |= 0x400;
	EXPECT_IOCTL(0, self->fd, KVM_SET_SREGS, &s);
	EXPECT_EQ(0xfee00d00, vcpu_sregs(self->vcpu).apic_base);
}

/* ---- floating point ---- */

TEST_F(state, the_fpu_comes_back)
{
	struct kvm_fpu set, got;

	ASSERT_IOCTL(0, self->fd, KVM_GET_FPU, &set);
	for (int i = 0; i < 16; i++)
		memset(set.xmm[i], 0x10 + i, 16);
	for (int i = 0; i < 8; i++)
		memset(set.fpr[i], 0x40 + i, 10);
	set.fcw = 0x27f;
	ASSERT_IOCTL(0, self->fd, KVM_SET_FPU, &set);
	ASSERT_IOCTL(0, self->fd, KVM_GET_FPU, &got);
	EXPECT_EQ(0, memcmp(set.xmm, got.xmm, sizeof(set.xmm)));
	EXPECT_EQ(0, memcmp(set.fpr[3], got.fpr[3], 10));
	EXPECT_EQ(0x27f, got.fcw);
}

/* Offsets in the legacy region and header of an XSAVE area: SDM vol. 1 §13.4. */
#define AREA_FCW	0
#define AREA_MXCSR	24
#define AREA_XMM0	160
#define AREA_XSTATE_BV	512

TEST_F(state, a_fresh_fpu_is_as_after_reset)
{
	struct vcpu *fresh = vm_add_vcpu(vm_create(0));
	uint8_t *area = aligned_alloc(64, 8192);
	struct kvm_fpu fpu;

	ASSERT_IOCTL(0, fresh->fd, KVM_GET_FPU, &fpu);
	EXPECT_EQ(0x37f, fpu.fcw);
	ASSERT_IOCTL(0, fresh->fd, KVM_GET_XSAVE, area);
	EXPECT_EQ(0x1f80, *(uint32_t *)(area + AREA_MXCSR));
	EXPECT_EQ(0x37f, *(uint16_t *)(area + AREA_FCW));
	free(area);
}

TEST_F(state, fpu_and_xsave_are_two_views_of_one_state)
{
	uint8_t *area = aligned_alloc(64, 8192);
	struct kvm_fpu fpu;

	ASSERT_IOCTL(0, self->fd, KVM_GET_XSAVE, area);
	memset(area + AREA_XMM0 + 32, 0x99, 16);
	*(uint64_t *)(area + AREA_XSTATE_BV) |= 2;
	ASSERT_IOCTL(0, self->fd, KVM_SET_XSAVE, area);
	ASSERT_IOCTL(0, self->fd, KVM_GET_FPU, &fpu);
	EXPECT_EQ(0x99, fpu.xmm[2][0]);
	memset(fpu.xmm[2], 0x77, 16);
	ASSERT_IOCTL(0, self->fd, KVM_SET_FPU, &fpu);
	ASSERT_IOCTL(0, self->fd, KVM_GET_XSAVE, area);
	EXPECT_EQ(0x77, area[AREA_XMM0 + 32 + 15]);
	free(area);
}

TEST_F(state, xsave_comes_back)
{
	uint8_t *set = aligned_alloc(64, 8192), *got = aligned_alloc(64, 8192);

	ASSERT_IOCTL(0, self->fd, KVM_GET_XSAVE, set);
	memset(set + AREA_XMM0, 0x5a, 256);
	*(uint32_t *)(set + AREA_MXCSR) = 0x1fa0;
	*(uint64_t *)(set + AREA_XSTATE_BV) |= 2;
	ASSERT_IOCTL(0, self->fd, KVM_SET_XSAVE, set);
	ASSERT_IOCTL(0, self->fd, KVM_GET_XSAVE, got);
	EXPECT_EQ(0, memcmp(set, got, 4096));
	free(set);
	free(got);
}

TEST_F(state, xsave_refuses_components_the_cpu_has_not)
{
	struct kvm_xsave *xsave = aligned_alloc(64, 8192);

	ASSERT_IOCTL(0, self->fd, KVM_GET_XSAVE, xsave);
	*(uint64_t *)((uint8_t *)xsave + 512) |= 1ULL << 60;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_XSAVE, xsave);
	free(xsave);
}

TEST_F(state, xsave_refuses_a_reserved_bit_of_mxcsr)
{
	struct kvm_xsave *xsave = aligned_alloc(64, 8192);

	ASSERT_IOCTL(0, self->fd, KVM_GET_XSAVE, xsave);
	*(uint32_t *)((uint8_t *)xsave + 24) |= 0x80000000;
	*(uint64_t *)((uint8_t *)xsave + 512) |= 2;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_XSAVE, xsave);
	free(xsave);
}

TEST_F(state, xcr0_comes_back_and_refuses_what_is_illegal)
{
	struct kvm_xcrs xcrs = { .nr_xcrs = 0 };

	if (!device_cpuid_has(1, 2, 26))
		SKIP(return, "no XSAVE in the guest's CPUID");
	ASSERT_IOCTL(0, self->fd, KVM_GET_XCRS, &xcrs);
	ASSERT_EQ(1, xcrs.nr_xcrs);
	EXPECT_EQ(0, xcrs.xcrs[0].xcr);
	EXPECT_EQ(1, xcrs.xcrs[0].value);
	xcrs.xcrs[0].value = 3;
	ASSERT_IOCTL(0, self->fd, KVM_SET_XCRS, &xcrs);
	xcrs.xcrs[0].value = 2;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_XCRS, &xcrs);
	xcrs.flags = 1;
	xcrs.xcrs[0].value = 3;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_XCRS, &xcrs);
	xcrs.flags = 0;
	xcrs.nr_xcrs = KVM_MAX_XCRS + 1;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_XCRS, &xcrs);
	ASSERT_IOCTL(0, self->fd, KVM_GET_XCRS, &xcrs);
	EXPECT_EQ(3, xcrs.xcrs[0].value);
}

/* ---- MSRs ---- */

TEST_F(state, every_msr_of_the_index_list_can_be_read_and_written_back)
{
	struct kvm_msr_list head = { .nmsrs = 0 }, *list;
	uint64_t value;

	xioctl(self->vcpu->vm->dev, KVM_GET_MSR_INDEX_LIST, &head);
	list = calloc(1, sizeof(*list) + head.nmsrs * sizeof(uint32_t));
	list->nmsrs = head.nmsrs;
	ASSERT_IOCTL(0, self->vcpu->vm->dev, KVM_GET_MSR_INDEX_LIST, list);
	for (uint32_t i = 0; i < list->nmsrs; i++) {
		EXPECT_EQ(1, vcpu_get_msr(self->vcpu, list->indices[i], &value))
			TH_LOG("MSR %#x", list->indices[i]);
		EXPECT_EQ(1, vcpu_set_msr(self->vcpu, list->indices[i], value))
			TH_LOG("MSR %#x, value %#llx", list->indices[i], (unsigned long long)value);
	}
	free(list);
}

TEST_F(state, msr_calls_stop_at_the_first_failure_and_say_how_many_were_done)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[3];
	} msrs = { .head.nmsrs = 3, .entry = { { .index = 0xc0000081, .data = 0x1234 }, { .index = 0x12345 },
					       { .index = 0xc0000084, .data = 0x200 } } };
	uint64_t value;

	EXPECT_IOCTL(1, self->fd, KVM_GET_MSRS, &msrs);
	msrs.entry[0].data = 0x1234;
	EXPECT_IOCTL(1, self->fd, KVM_SET_MSRS, &msrs);
	ASSERT_EQ(1, vcpu_get_msr(self->vcpu, 0xc0000081, &value));
	EXPECT_EQ(0x1234, value);
	ASSERT_EQ(1, vcpu_get_msr(self->vcpu, 0xc0000084, &value));
	EXPECT_NE(0x200, value);
}

TEST_F(state, msr_calls_refuse_too_many_and_take_none)
{
	struct kvm_msrs head = { .nmsrs = 100000 };

	EXPECT_IOCTL(-E2BIG, self->fd, KVM_GET_MSRS, &head);
	EXPECT_IOCTL(-E2BIG, self->fd, KVM_SET_MSRS, &head);
	head.nmsrs = 0;
	EXPECT_IOCTL(0, self->fd, KVM_GET_MSRS, &head);
	EXPECT_IOCTL(0, self->fd, KVM_SET_MSRS, &head);
}

TEST_F(state, an_msr_refuses_a_bad_value)
{
	EXPECT_EQ(0, vcpu_set_msr(self->vcpu, 0x277, 2));			/* PAT type 2 */
	EXPECT_EQ(0, vcpu_set_msr(self->vcpu, 0xc0000082, 1ULL << 63));		/* not canonical */
	EXPECT_EQ(0, vcpu_set_msr(self->vcpu, 0xc0000080, 1ULL << 40));
}

static __guest void reads_msrs(void)
{
	guest_expect(0x23000000000000, rdmsr(0xc0000081));
	guest_expect(0x5000, rdmsr(0xc0000102));
	wrmsr(0xc0000102, 0x6000);
	wrmsr(0x277, 0x0606060606060606);
	guest_done();
}

TEST_F(state, guest_and_user_space_see_the_same_msrs)
{
	uint64_t value;

	ASSERT_EQ(1, vcpu_set_msr(self->vcpu, 0xc0000081, 0x1000000000000UL * 0x23));
	ASSERT_EQ(1, vcpu_set_msr(self->vcpu, 0xc0000102, 0x5000));
	vcpu_long_mode(self->vcpu, reads_msrs);
	ASSERT_DONE(self->vcpu);
	ASSERT_EQ(1, vcpu_get_msr(self->vcpu, 0xc0000102, &value));
	EXPECT_EQ(0x6000, value);
	ASSERT_EQ(1, vcpu_get_msr(self->vcpu, 0x277, &value));
	EXPECT_EQ(0x0606060606060606, value);
}

/* ---- local APIC, MP state, events ---- */

static uint32_t lapic_reg(struct kvm_lapic_state *lapic, uint32_t reg)
{
	uint32_t v;

	memcpy(&v, lapic->regs + reg, 4);
	return v;
}

static __guest void sets_its_apic(void)
{
	apic_enable();
	apic_write(APIC_TPR, 0x40);
	apic_write(APIC_ICR, APIC_SELF | 0x35);
	guest_sync(1);
	guest_expect(0x20, apic_read(APIC_TPR));
	guest_expect(1 << (0x45 % 32), apic_read(APIC_IRR + 0x45 / 32 * 16));
	guest_done();
}

TEST_F(state, the_local_apic_page_shows_and_sets_registers)
{
	struct kvm_lapic_state lapic;
	uint32_t v;

	vcpu_long_mode(self->vcpu, sets_its_apic);
	ASSERT_OUTCOME("sync 1", self->vcpu);
	ASSERT_IOCTL(0, self->fd, KVM_GET_LAPIC, &lapic);
	EXPECT_EQ(0x1ff, lapic_reg(&lapic, APIC_SVR) & 0x1ff);
	EXPECT_EQ(0x40, lapic_reg(&lapic, APIC_TPR));
	EXPECT_EQ(1 << (0x35 % 32), lapic_reg(&lapic, APIC_IRR + 0x10));
	v = 0x20;
	memcpy(lapic.regs + APIC_TPR, &v, 4);
	v = 1 << (0x45 % 32);
	memcpy(lapic.regs + APIC_IRR + 0x45 / 32 * 16, &v, 4);
	ASSERT_IOCTL(0, self->fd, KVM_SET_LAPIC, &lapic);
	ASSERT_DONE(self->vcpu);
}

TEST_F(state, the_mp_state_comes_back_and_refuses_the_unknown)
{
	struct kvm_mp_state state;

	ASSERT_IOCTL(0, self->fd, KVM_GET_MP_STATE, &state);
	EXPECT_EQ(KVM_MP_STATE_RUNNABLE, state.mp_state);
	state.mp_state = KVM_MP_STATE_HALTED;
	EXPECT_IOCTL(0, self->fd, KVM_SET_MP_STATE, &state);
	ASSERT_IOCTL(0, self->fd, KVM_GET_MP_STATE, &state);
	EXPECT_EQ(KVM_MP_STATE_HALTED, state.mp_state);
	state.mp_state = 99;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_MP_STATE, &state);
	state.mp_state = KVM_MP_STATE_STOPPED;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_MP_STATE, &state);
	state.mp_state = KVM_MP_STATE_RUNNABLE;
	EXPECT_IOCTL(0, self->fd, KVM_SET_MP_STATE, &state);
	ASSERT_DONE(self->vcpu);
}

static __guest void starts_the_other(void)
{
	apic_enable();
	apic_write(APIC_ICR2, 1 << 24);
	apic_write(APIC_ICR, 0x4600 | AP_PAGE >> 12);
	guest_done();
}

TEST_F(state, a_vcpu_that_has_had_its_init_waits_for_the_start_up_ipi)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_INIT_RECEIVED };
	struct vcpu *other = vm_add_vcpu(self->vcpu->vm);

	GUEST(other->vm, ap_entry) = (uintptr_t)lives;
	ASSERT_IOCTL(0, other->fd, KVM_SET_MP_STATE, &state);
	state.mp_state = KVM_MP_STATE_RUNNABLE;
	ASSERT_IOCTL(0, other->fd, KVM_GET_MP_STATE, &state);
	EXPECT_EQ(KVM_MP_STATE_INIT_RECEIVED, state.mp_state);
	vcpu_long_mode(self->vcpu, starts_the_other);
	ASSERT_DONE(self->vcpu);
	ASSERT_DONE(other);
	ASSERT_IOCTL(0, other->fd, KVM_GET_MP_STATE, &state);
	EXPECT_EQ(KVM_MP_STATE_RUNNABLE, state.mp_state);
}

TEST_F(state, a_vcpu_that_has_had_its_start_up_ipi_starts_where_the_events_say)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_SIPI_RECEIVED };
	struct vcpu *fresh = vm_add_vcpu(vm_create(VM_IRQCHIP));
	struct kvm_vcpu_events events;

	GUEST(fresh->vm, ap_entry) = (uintptr_t)lives;
	ASSERT_IOCTL(0, fresh->fd, KVM_GET_VCPU_EVENTS, &events);
	events.flags |= KVM_VCPUEVENT_VALID_SIPI_VECTOR;
	events.sipi_vector = AP_PAGE >> 12;
	ASSERT_IOCTL(0, fresh->fd, KVM_SET_VCPU_EVENTS, &events);
	ASSERT_IOCTL(0, fresh->fd, KVM_SET_MP_STATE, &state);
	ASSERT_DONE(fresh);
	ASSERT_IOCTL(0, fresh->fd, KVM_GET_MP_STATE, &state);
	EXPECT_EQ(KVM_MP_STATE_RUNNABLE, state.mp_state);
}

TEST_F(state, without_an_irqchip_other_mp_states_are_refused)
{
	struct vcpu *vcpu = vm_create_one(0, lives);
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_HALTED };

	EXPECT_IOCTL(-EINVAL, vcpu->fd, KVM_SET_MP_STATE, &state);
	state.mp_state = KVM_MP_STATE_INIT_RECEIVED;
	EXPECT_IOCTL(-EINVAL, vcpu->fd, KVM_SET_MP_STATE, &state);
	state.mp_state = KVM_MP_STATE_SIPI_RECEIVED;
	EXPECT_IOCTL(-EINVAL, vcpu->fd, KVM_SET_MP_STATE, &state);
	state.mp_state = KVM_MP_STATE_RUNNABLE;
	EXPECT_IOCTL(0, vcpu->fd, KVM_SET_MP_STATE, &state);
}

static __guest void expects_ud(void)
{
	guest_handlers[UD_VECTOR] = count_trap;
	guest_sync(1);
	guest_expect(1, guest_count[UD_VECTOR]);
	guest_done();
}

TEST_F(state, an_event_set_by_user_space_is_injected)
{
	struct kvm_vcpu_events events;

	vcpu_long_mode(self->vcpu, expects_ud);
	ASSERT_OUTCOME("sync 1", self->vcpu);
	self->vcpu->run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run(self->vcpu));
	self->vcpu->run->immediate_exit = 0;
	ASSERT_IOCTL(0, self->fd, KVM_GET_VCPU_EVENTS, &events);
	EXPECT_EQ(0, events.exception.injected);
	EXPECT_EQ(0, events.nmi.masked);
	events.exception.injected = 1;
	events.exception.nr = UD_VECTOR;
	events.exception.has_error_code = 0;
	ASSERT_IOCTL(0, self->fd, KVM_SET_VCPU_EVENTS, &events);
	ASSERT_DONE(self->vcpu);
}

static __guest void nmi_handler_syncs(struct trap *t)
{
	guest_sync(2);
}

static __guest void expects_nmi(void)
{
	guest_handlers[NMI_VECTOR] = nmi_handler_syncs;
	guest_sync(1);
	guest_done();
}

TEST_F(state, events_show_a_pending_and_a_masked_nmi)
{
	struct kvm_vcpu_events events;

	vcpu_long_mode(self->vcpu, expects_nmi);
	ASSERT_OUTCOME("sync 1", self->vcpu);
	ASSERT_IOCTL(0, self->fd, KVM_NMI, NULL);
	ASSERT_IOCTL(0, self->fd, KVM_GET_VCPU_EVENTS, &events);
	EXPECT_EQ(1, events.nmi.pending | events.nmi.injected);
	ASSERT_OUTCOME("sync 2", self->vcpu);
	ASSERT_IOCTL(0, self->fd, KVM_GET_VCPU_EVENTS, &events);
	EXPECT_EQ(1, events.nmi.masked);
	ASSERT_DONE(self->vcpu);
	ASSERT_IOCTL(0, self->fd, KVM_GET_VCPU_EVENTS, &events);
	EXPECT_EQ(0, events.nmi.masked);
}

/* AMD's processors do not tell them apart, for which KVM shows both; what it shows has to be settable here, too. */
TEST_F(state, a_shadow_comes_back_as_what_the_processor_knows_of_it)
{
	static const int intel[] = { 0, KVM_X86_SHADOW_INT_MOV_SS, KVM_X86_SHADOW_INT_STI, KVM_X86_SHADOW_INT_MOV_SS };
	const int both = KVM_X86_SHADOW_INT_MOV_SS | KVM_X86_SHADOW_INT_STI;
	struct kvm_vcpu_events events;

	for (int shadow = 0; shadow <= both; shadow++) {
		ASSERT_IOCTL(0, self->fd, KVM_GET_VCPU_EVENTS, &events);
		events.interrupt.shadow = shadow;
		ASSERT_IOCTL(0, self->fd, KVM_SET_VCPU_EVENTS, &events);
		ASSERT_IOCTL(0, self->fd, KVM_GET_VCPU_EVENTS, &events);
		EXPECT_EQ(host_cpu_is_intel() ? intel[shadow] : shadow ? both : 0, events.interrupt.shadow);
		ASSERT_IOCTL(0, self->fd, KVM_SET_VCPU_EVENTS, &events);
	}
	if (!device_is_kiln())
		return;		/* KVM leaves other bits out */
	events.interrupt.shadow = both + 1;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_VCPU_EVENTS, &events);
}

TEST_F(state, events_refuse_bad_vectors_and_flags)
{
	struct kvm_vcpu_events events, bad;

	ASSERT_IOCTL(0, self->fd, KVM_GET_VCPU_EVENTS, &events);
	bad = events;
	bad.exception.injected = 1;
	bad.exception.nr = 32;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_VCPU_EVENTS, &bad);
	bad.exception.nr = NMI_VECTOR;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_VCPU_EVENTS, &bad);
	bad = events;
	bad.flags |= 1 << 20;
	EXPECT_IOCTL(-EINVAL, self->fd, KVM_SET_VCPU_EVENTS, &bad);
	ASSERT_DONE(self->vcpu);
}

/* ---- CPUID ---- */

/* Without what follows the vCPU: OSXSAVE, the APIC's bit, OSPKE, the sizes of XCR0's and IA32_XSS's components. */
static struct kvm_cpuid_entry2 without_state(struct kvm_cpuid_entry2 e)
{
	if (e.function == 1) {
		e.ecx &= ~(1U << 27);
		e.edx &= ~(1U << 9);
	} else if (e.function == 7 && !e.index) {
		e.ecx &= ~(1U << 4);
	} else if (e.function == 0xd && e.index < 2) {
		e.ebx = 0;
	}
	memset(e.padding, 0, sizeof(e.padding));
	return e;
}

TEST_F(state, cpuid_comes_back)
{
	const struct kvm_cpuid_entry2 own = { .function = 0x40000055, .eax = 0x101, .ebx = 0x202, .ecx = 0x303,
					      .edx = 0xf0000404 };
	struct kvm_cpuid2 *set = supported_cpuid(self->vcpu->vm->dev), *got = supported_cpuid(self->vcpu->vm->dev);

	set->entries[set->nent++] = own;
	ASSERT_IOCTL(0, self->fd, KVM_SET_CPUID2, set);
	memset(got->entries, 0, 256 * sizeof(got->entries[0]));
	got->nent = 256;
	ASSERT_IOCTL(0, self->fd, KVM_GET_CPUID2, got);
	ASSERT_EQ(set->nent, got->nent);
	for (uint32_t i = 0; i < set->nent; i++) {
		const struct kvm_cpuid_entry2 a = without_state(set->entries[i]), b = without_state(got->entries[i]);

		EXPECT_EQ(0, memcmp(&a, &b, sizeof(a))) {
			TH_LOG("leaf %#x index %u: set %x %x %x %x flags %x, got leaf %#x index %u %x %x %x %x flags %x",
			       a.function, a.index, a.eax, a.ebx, a.ecx, a.edx, a.flags,
			       b.function, b.index, b.eax, b.ebx, b.ecx, b.edx, b.flags);
		}
	}
	free(set);
	free(got);
}

TEST_F(state, getting_cpuid_reports_e2big_for_too_little_room)
{
	struct kvm_cpuid2 *cpuids = supported_cpuid(self->vcpu->vm->dev);

	ASSERT_IOCTL(0, self->fd, KVM_SET_CPUID2, cpuids);
	cpuids->nent = 1;
	EXPECT_IOCTL(-E2BIG, self->fd, KVM_GET_CPUID2, cpuids);
	free(cpuids);
}

TEST_F(state, too_many_cpuid_entries_are_refused)
{
	struct kvm_cpuid2 *cpuids = calloc(1, sizeof(*cpuids) + 5000 * sizeof(cpuids->entries[0]));

	cpuids->nent = 5000;
	EXPECT_IOCTL(-E2BIG, self->fd, KVM_SET_CPUID2, cpuids);
	free(cpuids);
	ASSERT_DONE(self->vcpu);
}

TEST_F(state, an_empty_cpuid_is_allowed)
{
	struct vcpu *vcpu = vm_add_vcpu(vm_create(0));
	struct kvm_cpuid2 none = { .nent = 0 };

	EXPECT_IOCTL(0, vcpu->fd, KVM_SET_CPUID2, &none);
}

static __guest void asks_a_device(void)
{
	guest_sync(*(volatile uint32_t *)0xd0000000UL);
}

/* Page tables are walked and registers checked by it, so no width may be too much. */
TEST_F(state, a_width_of_addresses_that_cannot_be_does_no_harm)
{
	static const uint32_t widths[] = { 0, 1, 31, 32, 52, 53, 63, 64, 65, 128, 255 };

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	for (size_t i = 0; i < sizeof(widths) / sizeof(*widths); i++) {
		struct vcpu *vcpu = vm_create_one(0, asks_a_device);
		struct kvm_cpuid2 *cpuids = supported_cpuid(vcpu->vm->dev);
		struct kvm_cpuid_entry2 *sizes = cpuid_find(cpuids, 0x80000008, 0);
		struct kvm_sregs s = vcpu_sregs(vcpu);

		ASSERT_NE(NULL, sizes);
		sizes->eax = 48 << 8 | widths[i];
		ASSERT_IOCTL(0, vcpu->fd, KVM_SET_CPUID2, cpuids);
		EXPECT_IOCTL(0, vcpu->fd, KVM_SET_SREGS, &s);
		s.apic_base |= 1ULL << 62;
		EXPECT_IOCTL(-EINVAL, vcpu->fd, KVM_SET_SREGS, &s);
		s.apic_base &= ~(1ULL << 62);
		s.cr3 |= 1ULL << 52;
		EXPECT_IOCTL(-EINVAL, vcpu->fd, KVM_SET_SREGS, &s);
		ASSERT_EXIT(MMIO, vcpu);
		memset(vcpu->run->mmio.data, 0, sizeof(vcpu->run->mmio.data));
		ASSERT_OUTCOME("sync 0", vcpu);
		free(cpuids);
		vm_destroy(vcpu->vm);
	}
}

/* ---- a vCPU taken apart and put together again ---- */

static __guest void counts_up(void)
{
	for (uint64_t i = 1;; i++)
		guest_sync(i);
}

TEST_F(state, state_moved_to_another_vm_goes_on_there)
{
	struct vcpu *from = self->vcpu, *to = vm_add_vcpu(vm_create(VM_IRQCHIP));
	struct kvm_vcpu_events events;
	struct kvm_lapic_state lapic;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_fpu fpu;

	vcpu_long_mode(from, counts_up);
	ASSERT_OUTCOME("sync 1", from);
	ASSERT_OUTCOME("sync 2", from);
	from->run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run(from));
	ASSERT_IOCTL(0, from->fd, KVM_GET_REGS, &regs);
	ASSERT_IOCTL(0, from->fd, KVM_GET_SREGS, &sregs);
	ASSERT_IOCTL(0, from->fd, KVM_GET_FPU, &fpu);
	ASSERT_IOCTL(0, from->fd, KVM_GET_LAPIC, &lapic);
	ASSERT_IOCTL(0, from->fd, KVM_GET_VCPU_EVENTS, &events);
	memcpy(to->vm->ram, from->vm->ram, to->vm->ram_size);
	ASSERT_IOCTL(0, to->fd, KVM_SET_SREGS, &sregs);
	ASSERT_IOCTL(0, to->fd, KVM_SET_REGS, &regs);
	ASSERT_IOCTL(0, to->fd, KVM_SET_FPU, &fpu);
	ASSERT_IOCTL(0, to->fd, KVM_SET_LAPIC, &lapic);
	ASSERT_IOCTL(0, to->fd, KVM_SET_VCPU_EVENTS, &events);
	ASSERT_OUTCOME("sync 3", to);
	ASSERT_OUTCOME("sync 4", to);
}

TEST_HARNESS_MAIN
