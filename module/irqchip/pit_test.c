// SPDX-License-Identifier: GPL-2.0-only
/* The timer chip: counting, its registers, IRQ 0. */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/timex.h>

#include "irqchip_test.h"
#include "private.h"

#define CH(n)		(0x40 + (n))
#define CONTROL		0x43
#define SPEAKER		0x61
#define VECTOR		0x71

/* A time at which a counter loaded at 0 has seen so many ticks. */
static u64 at_tick(u64 ticks)
{
	return mul_u64_u32_div(ticks, NSEC_PER_SEC, PIT_TICK_RATE) + 400;
}

static int pit_test_init(struct kunit *test)
{
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct kiln_vm *vm;
	int r = fake_vm_init(test);

	if (r)
		return r;
	vm = test->priv;
	mutex_lock(&vm->lock);
	r = kiln_pit_create(vm, &config);
	mutex_unlock(&vm->lock);
	return r;
}

static void load(struct kiln_vm *vm, int n, int mode, u16 count)
{
	fake_outb(vm, n << 6 | 0x30 | mode << 1, CONTROL);
	fake_outb(vm, count & 0xff, CH(n));
	fake_outb(vm, count >> 8, CH(n));
}

static void creation_errors(struct kunit *test)
{
	struct kvm_pit_config config = { .flags = BIT(1) };
	struct kiln_vm *vm = test->priv;

	mutex_lock(&vm->lock);
	KUNIT_EXPECT_EQ(test, kiln_pit_create(vm, &config), -EINVAL);
	config.flags = 0;
	KUNIT_EXPECT_EQ(test, kiln_pit_create(vm, &config), -EEXIST);
	mutex_unlock(&vm->lock);
}

static void mode_0_counts_once_and_raises_out(struct kunit *test)
{
	struct pit_channel ch = { .reload = 100, .mode = 0, .gate = true };

	KUNIT_EXPECT_EQ(test, pit_count_at(&ch, 0), 100u);
	KUNIT_EXPECT_EQ(test, pit_count_at(&ch, at_tick(60)), 40u);
	KUNIT_EXPECT_FALSE(test, pit_out_at(&ch, at_tick(99)));
	KUNIT_EXPECT_TRUE(test, pit_out_at(&ch, at_tick(100)));
	/* It goes on below 0. */
	KUNIT_EXPECT_EQ(test, pit_count_at(&ch, at_tick(101)), 0xffffu);
	KUNIT_EXPECT_TRUE(test, pit_out_at(&ch, at_tick(1000)));
}

static void mode_2_reloads_and_dips_for_one_tick(struct kunit *test)
{
	struct pit_channel ch = { .reload = 100, .mode = 2, .gate = true };

	KUNIT_EXPECT_EQ(test, pit_count_at(&ch, at_tick(99)), 1u);
	KUNIT_EXPECT_FALSE(test, pit_out_at(&ch, at_tick(99)));
	KUNIT_EXPECT_EQ(test, pit_count_at(&ch, at_tick(100)), 100u);
	KUNIT_EXPECT_TRUE(test, pit_out_at(&ch, at_tick(100)));
	KUNIT_EXPECT_EQ(test, pit_count_at(&ch, at_tick(730)), 70u);
}

static void mode_3_is_a_square_wave(struct kunit *test)
{
	struct pit_channel ch = { .reload = 100, .mode = 3, .gate = true };

	KUNIT_EXPECT_TRUE(test, pit_out_at(&ch, at_tick(49)));
	KUNIT_EXPECT_FALSE(test, pit_out_at(&ch, at_tick(50)));
	KUNIT_EXPECT_TRUE(test, pit_out_at(&ch, at_tick(100)));
	KUNIT_EXPECT_EQ(test, pit_count_at(&ch, at_tick(10)), 80u);
	KUNIT_EXPECT_EQ(test, pit_count_at(&ch, at_tick(60)), 80u);
}

static void mode_4_strobes_once(struct kunit *test)
{
	struct pit_channel ch = { .reload = 100, .mode = 4, .gate = true };

	KUNIT_EXPECT_TRUE(test, pit_out_at(&ch, at_tick(99)));
	KUNIT_EXPECT_FALSE(test, pit_out_at(&ch, at_tick(100)));
	KUNIT_EXPECT_TRUE(test, pit_out_at(&ch, at_tick(101)));
}

static void count_of_0_is_the_largest(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	load(vm, 1, 2, 0);
	KUNIT_EXPECT_EQ(test, vm->irq.pit->channel[1].reload, 0x10000u);
	fake_outb(vm, 0x75, CONTROL);	/* channel 1, mode 2, BCD */
	fake_outb(vm, 0, CH(1));
	fake_outb(vm, 0, CH(1));
	KUNIT_EXPECT_EQ(test, vm->irq.pit->channel[1].reload, 10000u);
}

static void bcd_counts_are_bcd(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct pit_channel *ch = &vm->irq.pit->channel[1];

	fake_outb(vm, 0x71, CONTROL);	/* channel 1, mode 0, BCD */
	fake_outb(vm, 0x34, CH(1));
	fake_outb(vm, 0x12, CH(1));
	KUNIT_EXPECT_EQ(test, ch->reload, 1234u);
	ch->start = U64_MAX;		/* time stands still */
	KUNIT_EXPECT_EQ(test, fake_inb(vm, CH(1)), 0x34);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, CH(1)), 0x12);
}

static void latch_holds_the_count_until_read(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct pit_channel *ch = &vm->irq.pit->channel[2];

	load(vm, 2, 0, 0xabcd);
	ch->start = U64_MAX;
	fake_outb(vm, 0x80, CONTROL);
	ch->reload = 0x1111;
	fake_outb(vm, 0x80, CONTROL);	/* the first latch stays */
	KUNIT_EXPECT_EQ(test, fake_inb(vm, CH(2)), 0xcd);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, CH(2)), 0xab);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, CH(2)), 0x11);
}

static void single_byte_access(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct pit_channel *ch = &vm->irq.pit->channel[2];

	fake_outb(vm, 0xa0, CONTROL);	/* channel 2, high byte, mode 0 */
	fake_outb(vm, 0x12, CH(2));
	KUNIT_EXPECT_EQ(test, ch->reload, 0x1200u);
	ch->start = U64_MAX;
	KUNIT_EXPECT_EQ(test, fake_inb(vm, CH(2)), 0x12);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, CH(2)), 0x12);
	fake_outb(vm, 0x90, CONTROL);	/* low byte */
	fake_outb(vm, 0x34, CH(2));
	KUNIT_EXPECT_EQ(test, ch->reload, 0x34u);
	ch->start = U64_MAX;
	KUNIT_EXPECT_EQ(test, fake_inb(vm, CH(2)), 0x34);
}

static void read_back_latches_status_and_count(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct pit_channel *ch = &vm->irq.pit->channel[2];

	fake_outb(vm, 0xb0, CONTROL);	/* channel 2, both bytes, mode 0 */
	fake_outb(vm, 0xe8, CONTROL);	/* status of channel 2 */
	KUNIT_EXPECT_EQ(test, fake_inb(vm, CH(2)), 0x70);	/* null count */
	fake_outb(vm, 0xcd, CH(2));
	fake_outb(vm, 0xab, CH(2));
	ch->start = U64_MAX;
	fake_outb(vm, 0xc8, CONTROL);	/* both */
	KUNIT_EXPECT_EQ(test, fake_inb(vm, CH(2)), 0x30);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, CH(2)), 0xcd);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, CH(2)), 0xab);
}

static void mode_6_and_7_are_2_and_3(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	load(vm, 1, 6, 100);
	KUNIT_EXPECT_EQ(test, vm->irq.pit->channel[1].mode, 2);
	load(vm, 1, 7, 100);
	KUNIT_EXPECT_EQ(test, vm->irq.pit->channel[1].mode, 3);
}

static void speaker_port(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	KUNIT_EXPECT_EQ(test, fake_inb(vm, SPEAKER) & 3, 0);
	fake_outb(vm, 3, SPEAKER);
	KUNIT_EXPECT_EQ(test, fake_inb(vm, SPEAKER) & 3, 3);
	/* What kernels calibrate with: OUT of channel 2 in mode 0. */
	load(vm, 2, 0, 0xffff);
	KUNIT_EXPECT_FALSE(test, fake_inb(vm, SPEAKER) & BIT(5));
	vm->irq.pit->channel[2].start = 0;
	KUNIT_EXPECT_TRUE(test, fake_inb(vm, SPEAKER) & BIT(5));
}

static void route_irq0(struct kiln_vm *vm)
{
	fake_ioapic_write(vm, 0x10, VECTOR);
	fake_outb(vm, 0xff, 0x21);
	lapic_eoi_exit_map(vm->vcpus[0], vm->vcpus[0]->lapic->eoi_map);
}

static void one_shot_raises_irq_0_once(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_vcpu *vcpu = vm->vcpus[0];

	route_irq0(vm);
	load(vm, 0, 0, 1193);
	msleep(20);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), VECTOR);
	lapic_eoi(vcpu);
	msleep(20);
	KUNIT_EXPECT_EQ(test, fake_take_irq(vcpu), -1);
}

/* False if that takes seconds: the machine may be an emulated one, whose timers are late. */
static bool wait_for_missed(struct kiln_vm *vm, int ticks)
{
	for (int ms = 0; atomic_read(&vm->irq.pit->missed) < ticks; ms += 20) {
		if (ms == 5000)
			return false;
		msleep(20);
	}
	return true;
}

static int take_ticks(struct kiln_vcpu *vcpu)
{
	int ticks = 0;

	while (fake_take_irq(vcpu) == VECTOR && ticks < 1000) {
		ticks++;
		lapic_eoi(vcpu);
	}
	return ticks;
}

static void missed_ticks_come_after_the_eoi(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_vcpu *vcpu = vm->vcpus[0];
	int ticks;

	route_irq0(vm);
	KUNIT_EXPECT_TRUE(test, vcpu->lapic->eoi_edge);
	load(vm, 0, 2, 1193);
	KUNIT_EXPECT_TRUE(test, wait_for_missed(vm, 10));
	fake_outb(vm, 0x30, CONTROL);	/* stops it */
	ticks = take_ticks(vcpu);
	KUNIT_EXPECT_GT(test, ticks, 10);
	KUNIT_EXPECT_LT(test, ticks, 1000);
}

/* A host whose own interrupts are off for long gives the guest all the ticks afterwards. */
static void ticks_of_a_late_host_are_not_lost(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_vcpu *vcpu = vm->vcpus[0];

	route_irq0(vm);
	preempt_disable();
	load(vm, 0, 2, 1193);
	local_irq_disable();
	mdelay(10);
	local_irq_enable();
	preempt_enable();
	/* With the first that comes there are those it stands for. */
	KUNIT_EXPECT_TRUE(test, wait_for_missed(vm, 1));
	fake_outb(vm, 0x30, CONTROL);
	KUNIT_EXPECT_GE(test, take_ticks(vcpu), 9);
}

static void ticks_kept_are_bounded(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	struct kiln_pit *pit = vm->irq.pit;
	struct kiln_vcpu *vcpu = vm->vcpus[0];

	route_irq0(vm);
	load(vm, 0, 2, 1);		/* stretched to 100 us */
	KUNIT_EXPECT_EQ(test, pit->period, (u64)KILN_MIN_TIMER_PERIOD_NS);
	msleep(60);
	fake_outb(vm, 0x30, CONTROL);
	KUNIT_EXPECT_LE(test, atomic_read(&pit->missed), 256);
	KUNIT_EXPECT_LE(test, take_ticks(vcpu), 257);
}

/* A VM of so many has its ticks no more often than all can be told of them. */
static void the_least_period_grows_with_vcpus(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	int nr = vm->nr_vcpus;

	fake_outb(vm, 0xff, 0x21);
	vm->nr_vcpus = 500;
	load(vm, 0, 2, 1);
	KUNIT_EXPECT_EQ(test, vm->irq.pit->period, 1000000ull);
	fake_outb(vm, 0x30, CONTROL);
	vm->nr_vcpus = nr;
	load(vm, 0, 2, 1);
	KUNIT_EXPECT_EQ(test, vm->irq.pit->period,
			(u64)KILN_MIN_TIMER_PERIOD_NS);
	fake_outb(vm, 0x30, CONTROL);
}

static void masked_ticks_are_not_kept(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;

	fake_outb(vm, 0xff, 0x21);
	load(vm, 0, 2, 1193);
	msleep(20);
	fake_outb(vm, 0x30, CONTROL);
	KUNIT_EXPECT_EQ(test, atomic_read(&vm->irq.pit->missed), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&vm->irq.pit->may_inject), 1);
}

static struct kunit_case pit_cases[] = {
	KUNIT_CASE(creation_errors),
	KUNIT_CASE(mode_0_counts_once_and_raises_out),
	KUNIT_CASE(mode_2_reloads_and_dips_for_one_tick),
	KUNIT_CASE(mode_3_is_a_square_wave),
	KUNIT_CASE(mode_4_strobes_once),
	KUNIT_CASE(count_of_0_is_the_largest),
	KUNIT_CASE(bcd_counts_are_bcd),
	KUNIT_CASE(latch_holds_the_count_until_read),
	KUNIT_CASE(single_byte_access),
	KUNIT_CASE(read_back_latches_status_and_count),
	KUNIT_CASE(mode_6_and_7_are_2_and_3),
	KUNIT_CASE(speaker_port),
	KUNIT_CASE(one_shot_raises_irq_0_once),
	KUNIT_CASE(missed_ticks_come_after_the_eoi),
	KUNIT_CASE(ticks_of_a_late_host_are_not_lost),
	KUNIT_CASE(ticks_kept_are_bounded),
	KUNIT_CASE(the_least_period_grows_with_vcpus),
	KUNIT_CASE(masked_ticks_are_not_kept),
	{}
};

struct kunit_suite pit_suite = {
	.name = "kiln-pit",
	.init = pit_test_init,
	.exit = fake_vm_exit,
	.test_cases = pit_cases,
};
