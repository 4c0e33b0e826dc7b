// SPDX-License-Identifier: GPL-2.0-only
/*
 * Much at once and again and again: 16 guests side by side, CPUs that go and come under them, the module unloaded and
 * loaded 50 times. Afterwards everything works as before and no memory is lost. machine_test has the single cases.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "guest.h"
#include "machine.h"
#include "random.h"
#include "vm.h"

#define GUESTS		16
#define RELOADS		50
#define TOLERANCE_KIB	2048

static uint64_t id __guest_data = 0;
static volatile uint64_t turns __guest_data = 0, wanted __guest_data = 0;

/*
 * Memory of its own, exits of several kinds, and a timer's interrupt to wake up by. The timer is periodic since QEMU's
 * TCG loses the shadow of STI at #VMEXIT: an interrupt then comes before the HLT, and the next one has to end it.
 */
static __guest void works(void)
{
	volatile uint64_t *mine = (volatile uint64_t *)VM_FREE;

	apic_enable();
	guest_handlers[0x55] = count_trap_eoi;
	apic_write(APIC_TIMER_DIV, 0xb);
	apic_write(APIC_LVT_TIMER, APIC_PERIODIC | 0x55);
	apic_write(APIC_TIMER_INIT, 1000000);
	for (turns = 1; turns <= wanted; turns++) {
		uint32_t r[4], before = guest_count[0x55];

		for (int i = 0; i < 32; i++)
			mine[i * 512] = id << 32 | turns;
		cpuid(0, 0, r);
		outb(0x4d0, turns);
		while (guest_count[0x55] == before)
			sti_hlt();
		cli();
		for (int i = 0; i < 32; i++)
			guest_expect(id << 32 | turns, mine[i * 512]);
	}
	guest_assert(guest_count[0x55] >= wanted);
	guest_done();
}

static struct vcpu *create_guest(uint64_t number, uint64_t turns_wanted)
{
	struct vcpu *vcpu = vm_create_one(VM_IRQCHIP, works);

	GUEST(vcpu->vm, id) = number;
	GUEST(vcpu->vm, wanted) = turns_wanted;
	return vcpu;
}

static void run_guests(struct __test_metadata *_metadata, uint64_t turns_wanted,
		       void (*meanwhile)(struct vcpu **guests))
{
	struct vcpu *guests[GUESTS];

	for (int i = 0; i < GUESTS; i++)
		guests[i] = create_guest(i + 1, turns_wanted);
	for (int i = 0; i < GUESTS; i++)
		vcpu_start(guests[i]);
	meanwhile(guests);
	for (int i = 0; i < GUESTS; i++) {
		EXPECT_STREQ("done", vcpu_join(guests[i])) {
			TH_LOG("guest %d, turn %llu", i, (unsigned long long)GUEST(guests[i]->vm, turns));
		}
		vm_destroy(guests[i]->vm);
	}
}

static void do_nothing(struct vcpu **guests)
{
}

/* Until each guest has gone on, or ended, or ten seconds are over. */
static void until_all_go_on(struct vcpu **guests)
{
	for (int i = 0; i < GUESTS; i++) {
		uint64_t before = GUEST(guests[i]->vm, turns);

		for (int ms = 0; ms < 10000 && GUEST(guests[i]->vm, turns) == before; ms++) {
			if (before > GUEST(guests[i]->vm, wanted))
				break;
			usleep(1000);
		}
	}
}

static unsigned int switched;

static void switch_a_cpu(struct vcpu **guests)
{
	for (int i = 0; i < 6; i++) {
		until_all_go_on(guests);
		switched += write_file(CPU1, i & 1 ? "1" : "0");
	}
}

/* For its time limit. */
FIXTURE(stress) {
};

FIXTURE_SETUP(stress)
{
}

FIXTURE_TEARDOWN(stress)
{
}

TEST_F_TIMEOUT(stress, sixteen_guests_at_once_work_and_leave_nothing, 280)
{
	struct in_use before;

	run_guests(_metadata, 5, do_nothing);
	before = in_use();
	for (int round = 0; round < 3; round++)
		run_guests(_metadata, 30, do_nothing);
	EXPECT_GE(TOLERANCE_KIB, left_kib(&before, TOLERANCE_KIB));
}

TEST_F_TIMEOUT(stress, sixteen_guests_work_while_a_cpu_goes_and_comes, 280)
{
	if (access(CPU1, W_OK))
		SKIP(return, "this machine has no second CPU to switch off");
	run_guests(_metadata, 100, switch_a_cpu);
	EXPECT_EQ(6, switched);
}

TEST_F_TIMEOUT(stress, the_module_comes_and_goes_fifty_times_and_leaves_nothing, 280)
{
	unsigned long reloads = from_environment("KILN_RELOADS", RELOADS);
	struct in_use before = { 0 };
	int r;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	if (!module_file_exists())
		SKIP(return, "no module to load again: set KILN_MODULE to its file");
	/* The first rounds fill caches that are there for good. */
	for (unsigned long i = 0; i < reloads + 5; i++) {
		struct vcpu *vcpu;

		if (i == 5)
			before = in_use();
		vcpu = create_guest(i, 3);
		ASSERT_DONE(vcpu);
		ASSERT_EQ(-EAGAIN, module_unload("kiln"));
		vm_destroy(vcpu->vm);
		r = module_unload("kiln");
		ASSERT_EQ(0, r) {
			TH_LOG("unload %lu: %s", i, strerror(-r));
		}
		ASSERT_NE(0, access(device_path(), F_OK));
		r = module_load();
		ASSERT_EQ(0, r) {
			TH_LOG("load %lu: %s", i, strerror(-r));
		}
	}
	EXPECT_GE(TOLERANCE_KIB, left_kib(&before, TOLERANCE_KIB));
	EXPECT_TRUE(device_is_kiln());
}

TEST_HARNESS_MAIN
