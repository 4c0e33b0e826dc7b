// SPDX-License-Identifier: GPL-2.0-only
/* The buses: who gets an access. */
#include <kunit/test.h>
#include <linux/prandom.h>

#include "irqchip_test.h"
#include "private.h"

#define NR_DEVS		24
#define SPACE		512

/* A device that answers with its number. */
struct test_dev {
	struct kiln_bus_dev dev;
	u8 number;
	u8 written;
};

static int test_read(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu,
		     u64 addr, int len, void *val)
{
	memset(val, container_of(dev, struct test_dev, dev)->number, len);
	return 0;
}

static int test_write(struct kiln_bus_dev *dev, struct kiln_vcpu *vcpu,
		      u64 addr, int len, const void *val)
{
	container_of(dev, struct test_dev, dev)->written = *(const u8 *)val;
	return 0;
}

static const struct kiln_bus_ops test_ops = {
	.read = test_read,
	.write = test_write,
};

static int read_at(struct kiln_vm *vm, u64 addr, int len)
{
	u64 val = 0;
	int r = kiln_bus_read(vm, KILN_BUS_MMIO, NULL, addr, len, &val);

	return r ?: (u8)val;
}

static void nobody_there(struct kunit *test)
{
	struct kiln_vm *vm = test->priv;
	u32 val = 0;

	KUNIT_EXPECT_EQ(test, read_at(vm, 0x1000, 4), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, kiln_bus_write(vm, KILN_BUS_PIO, NULL, 0x80, 1,
					     &val), -EOPNOTSUPP);
	KUNIT_EXPECT_FALSE(test, kiln_ioeventfd_fast(vm, KILN_BUS_PIO, NULL, 0x80,
						     1, 0));
}

static void access_must_lie_inside(struct kunit *test)
{
	struct test_dev dev = { .dev.ops = &test_ops, .number = 7 };
	struct kiln_vm *vm = test->priv;

	KUNIT_ASSERT_EQ(test, kiln_bus_add(vm, KILN_BUS_MMIO, 0x1000, 8,
					   &dev.dev), 0);
	KUNIT_EXPECT_EQ(test, read_at(vm, 0x1000, 8), 7);
	KUNIT_EXPECT_EQ(test, read_at(vm, 0x1007, 1), 7);
	KUNIT_EXPECT_EQ(test, read_at(vm, 0x1007, 2), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, read_at(vm, 0xfff, 2), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, read_at(vm, 0x1008, 1), -EOPNOTSUPP);
	kiln_bus_remove(vm, KILN_BUS_MMIO, &dev.dev);
	KUNIT_EXPECT_EQ(test, read_at(vm, 0x1000, 8), -EOPNOTSUPP);
}

static void write_reaches_the_device(struct kunit *test)
{
	struct test_dev dev = { .dev.ops = &test_ops };
	struct kiln_vm *vm = test->priv;
	u16 val = 0x1234;

	KUNIT_ASSERT_EQ(test, kiln_bus_add(vm, KILN_BUS_PIO, 0x300, 4,
					   &dev.dev), 0);
	KUNIT_EXPECT_EQ(test, kiln_bus_write(vm, KILN_BUS_PIO, NULL, 0x302, 2,
					     &val), 0);
	KUNIT_EXPECT_EQ(test, dev.written, 0x34);
	kiln_bus_remove(vm, KILN_BUS_PIO, &dev.dev);
}

static void overlap_is_refused(struct kunit *test)
{
	struct test_dev dev = { .dev.ops = &test_ops };
	struct kiln_vm *vm = test->priv;

	KUNIT_EXPECT_EQ(test, kiln_bus_add(vm, KILN_BUS_PIO, 0x1e, 3,
					   &dev.dev), -EEXIST);
	KUNIT_EXPECT_EQ(test, kiln_bus_add(vm, KILN_BUS_PIO, 0x21, 1,
					   &dev.dev), -EEXIST);
	KUNIT_EXPECT_EQ(test, kiln_bus_add(vm, KILN_BUS_PIO, 0, 0x10000,
					   &dev.dev), -EEXIST);
}

static void chips_are_on_their_ports(struct kunit *test)
{
	static const u16 there[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 };
	struct kiln_vm *vm = test->priv;
	int port, i = 0;

	for (port = 0; port < 0x600; port++) {
		if (i < ARRAY_SIZE(there) && there[i] == port) {
			KUNIT_EXPECT_GE(test, fake_inb(vm, port), 0);
			i++;
		} else {
			KUNIT_EXPECT_EQ(test, fake_inb(vm, port), -1);
		}
	}
	KUNIT_EXPECT_GE(test, read_at(vm, IOAPIC_BASE, 4), 0);
}

/* Random ranges, added and removed, against an array of owners. */
static void random_ranges_against_a_plain_model(struct kunit *test)
{
	struct test_dev *devs = kunit_kcalloc(test, NR_DEVS, sizeof(*devs),
					      GFP_KERNEL);
	u8 *owner = kunit_kzalloc(test, SPACE, GFP_KERNEL);
	struct kiln_vm *vm = test->priv;
	struct rnd_state rnd;
	int i, n, addr, len, expected;
	bool clash;

	KUNIT_ASSERT_NOT_NULL(test, devs);
	KUNIT_ASSERT_NOT_NULL(test, owner);
	prandom_seed_state(&rnd, 20261121);
	for (i = 0; i < 60; i++) {
		n = prandom_u32_state(&rnd) % NR_DEVS;
		addr = prandom_u32_state(&rnd) % (SPACE - 40);
		len = 1 + prandom_u32_state(&rnd) % 32;
		devs[n].dev.ops = &test_ops;
		devs[n].number = n + 1;
		if (memchr(owner, n + 1, SPACE)) {
			kiln_bus_remove(vm, KILN_BUS_MMIO, &devs[n].dev);
			for (addr = 0; addr < SPACE; addr++)
				owner[addr] = owner[addr] == n + 1 ? 0 :
					      owner[addr];
		} else {
			clash = memchr_inv(owner + addr, 0, len);
			KUNIT_EXPECT_EQ(test, kiln_bus_add(vm, KILN_BUS_MMIO,
							   addr, len,
							   &devs[n].dev),
					clash ? -EEXIST : 0);
			if (!clash)
				memset(owner + addr, n + 1, len);
		}
		for (addr = 0; addr < SPACE - 1; addr++) {
			expected = owner[addr] ?: -EOPNOTSUPP;
			KUNIT_ASSERT_EQ(test, read_at(vm, addr, 1), expected);
			if (owner[addr] != owner[addr + 1])
				expected = -EOPNOTSUPP;
			KUNIT_ASSERT_EQ(test, read_at(vm, addr, 2), expected);
		}
	}
}

static struct kunit_case bus_cases[] = {
	KUNIT_CASE(nobody_there),
	KUNIT_CASE(access_must_lie_inside),
	KUNIT_CASE(write_reaches_the_device),
	KUNIT_CASE(overlap_is_refused),
	KUNIT_CASE(chips_are_on_their_ports),
	KUNIT_CASE(random_ranges_against_a_plain_model),
	{}
};

struct kunit_suite bus_suite = {
	.name = "kiln-bus",
	.init = fake_vm_init,
	.exit = fake_vm_exit,
	.test_cases = bus_cases,
};
