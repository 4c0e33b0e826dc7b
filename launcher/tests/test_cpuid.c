// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>

#include "../cpuid.h"
#include "../util.h"
#include "tap.h"

#define ROOM 32

struct leaves {
	struct kvm_cpuid2 header;
	struct kvm_cpuid_entry2 entries[ROOM];
};

static void add(struct leaves *leaves, uint32_t function, uint32_t index, uint32_t eax)
{
	leaves->entries[leaves->header.nent++] =
		(struct kvm_cpuid_entry2){ .function = function, .index = index, .eax = eax };
}

static struct kvm_cpuid_entry2 *find(struct leaves *leaves, uint32_t function, uint32_t index)
{
	for (unsigned int i = 0; i < leaves->header.nent; i++)
		if (leaves->entries[i].function == function && leaves->entries[i].index == index)
			return &leaves->entries[i];
	abort();
}

static void intel(struct leaves *leaves)
{
	memset(leaves, 0, sizeof(*leaves));
	add(leaves, 0, 0, 0xb);
	add(leaves, 1, 0, 0x306c3);
	add(leaves, 4, 0, 0x21);	/* L1 data */
	add(leaves, 4, 1, 0x63);	/* L3 */
	add(leaves, 4, 2, 0);		/* end */
	add(leaves, 0xb, 0, 0);
	add(leaves, 0x80000001, 0, 0);
	add(leaves, 0x80000008, 0, 0x3027);
	cpuid_complete(&leaves->header, ROOM);
}

static void each_vcpu_has_its_apic_id(void)
{
	struct leaves leaves;

	intel(&leaves);
	for (unsigned int cpu = 0; cpu < 255; cpu++) {
		cpuid_adjust(&leaves.header, cpu, 255, true);
		CHECK(find(&leaves, 1, 0)->ebx >> 24 == cpu);
		CHECK(find(&leaves, 0xb, 0)->edx == cpu && find(&leaves, 0xb, 1)->edx == cpu);
	}
	CHECK((find(&leaves, 1, 0)->ebx >> 16 & 0xff) == 0xff);
}

static void the_topology_leaf_is_complete(void)
{
	struct leaves leaves;

	intel(&leaves);
	cpuid_adjust(&leaves.header, 1, 6, true);
	CHECK(find(&leaves, 0xb, 0)->ecx == 0x100 && find(&leaves, 0xb, 0)->ebx == 1);
	CHECK(find(&leaves, 0xb, 0)->eax == 0);
	CHECK(find(&leaves, 0xb, 1)->ecx == 0x201 && find(&leaves, 0xb, 1)->ebx == 6);
	CHECK(find(&leaves, 0xb, 1)->eax == 3);
	CHECK(find(&leaves, 0xb, 2)->ecx == 2 && find(&leaves, 0xb, 2)->ebx == 0);
	CHECK(find(&leaves, 0xb, 2)->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
}

static void caches_above_level_2_are_shared(void)
{
	struct leaves leaves;

	intel(&leaves);
	cpuid_adjust(&leaves.header, 0, 4, true);
	CHECK((find(&leaves, 4, 0)->eax >> 14 & 0xfff) == 0);
	CHECK((find(&leaves, 4, 1)->eax >> 14 & 0xfff) == 3);
	CHECK(find(&leaves, 4, 1)->eax >> 26 == 3);
	CHECK(find(&leaves, 4, 2)->eax == 0);
}

static void one_vcpu_is_no_package_of_many(void)
{
	struct leaves leaves;

	intel(&leaves);
	cpuid_adjust(&leaves.header, 0, 4, true);
	cpuid_adjust(&leaves.header, 0, 1, false);
	CHECK(!(find(&leaves, 1, 0)->edx & 1u << 28));
	CHECK((find(&leaves, 1, 0)->ebx >> 16 & 0xff) == 1);
	CHECK(find(&leaves, 1, 0)->ecx & 1u << 31);
	CHECK(!(find(&leaves, 1, 0)->ecx & 1u << 24));
}

static void amd_counts_cores_in_its_own_leaves(void)
{
	struct leaves leaves;

	intel(&leaves);
	cpuid_adjust(&leaves.header, 0, 4, true);
	CHECK(!find(&leaves, 0x80000008, 0)->ecx && !find(&leaves, 0x80000001, 0)->ecx);
	find(&leaves, 0, 0)->ecx = 0x444d4163;
	cpuid_adjust(&leaves.header, 0, 4, true);
	CHECK(find(&leaves, 0x80000008, 0)->ecx == 0x2003);
	CHECK(find(&leaves, 0x80000001, 0)->ecx == 2);
}

static void a_full_table_stays_in_its_room(void)
{
	struct leaves leaves = { 0 };

	while (leaves.header.nent < ROOM - 1)
		add(&leaves, 0x40000000 + leaves.header.nent, 0, 0);
	add(&leaves, 0xb, 0, 0);
	cpuid_complete(&leaves.header, ROOM);
	CHECK(leaves.header.nent == ROOM);
}

static const struct test tests[] = {
	TEST(each_vcpu_has_its_apic_id),
	TEST(the_topology_leaf_is_complete),
	TEST(caches_above_level_2_are_shared),
	TEST(one_vcpu_is_no_package_of_many),
	TEST(amd_counts_cores_in_its_own_leaves),
	TEST(a_full_table_stays_in_its_room),
	TESTS_END
};

const struct suite suite_cpuid = { "cpuid", tests };
