// SPDX-License-Identifier: GPL-2.0-only
/*
 * SDM vol. 2A "CPUID" and AMD APM vol. 3 appendix E. One row per leaf; a leaf
 * that the device does not support is not there to be adjusted.
 */
#include "cpuid.h"

#include <stdint.h>

#include "util.h"

struct topology {
	unsigned int cpu, cpus;
	unsigned int shift;	/* bits of the APIC ID that number the cores */
	bool tsc_deadline, amd;
};

static void set_bits(uint32_t *reg, unsigned int low, unsigned int width, uint32_t value)
{
	uint32_t mask = ((1u << width) - 1) << low;

	*reg = (*reg & ~mask) | (value << low & mask);
}

static void set_bit(uint32_t *reg, unsigned int bit, bool value)
{
	set_bits(reg, bit, 1, value);
}

static void leaf_1(struct kvm_cpuid_entry2 *e, const struct topology *t)
{
	set_bits(&e->ebx, 24, 8, t->cpu);
	set_bits(&e->ebx, 16, 8, t->shift < 8 ? 1u << t->shift : 0xff);
	set_bit(&e->edx, 28, t->cpus > 1);		/* HTT: bits 23-16 of EBX count */
	set_bit(&e->ecx, 31, true);			/* hypervisor */
	set_bit(&e->ecx, 24, t->tsc_deadline);		/* a capability of its own in the ABI */
}

/* Caches, Intel's leaf 4 and AMD's 0x8000001d: L3 is shared by all, others by none. */
static void leaf_caches(struct kvm_cpuid_entry2 *e, const struct topology *t)
{
	unsigned int level = e->eax >> 5 & 7;

	if (!(e->eax & 0x1f))
		return;		/* the list's end */
	set_bits(&e->eax, 14, 12, level >= 3 ? t->cpus - 1 : 0);
}

static void leaf_4(struct kvm_cpuid_entry2 *e, const struct topology *t)
{
	if (!(e->eax & 0x1f))
		return;
	leaf_caches(e, t);
	set_bits(&e->eax, 26, 6, (1u << t->shift) - 1);	/* cores per package, at most 64 can be said */
}

/* Leaves 0xb and 0x1f: threads per core, cores per package, end. */
static void leaf_b(struct kvm_cpuid_entry2 *e, const struct topology *t)
{
	static const uint32_t types[] = { 1, 2 };	/* SMT, core */

	e->eax = e->index == 1 ? t->shift : 0;
	e->ebx = e->index == 0 ? 1 : e->index == 1 ? t->cpus : 0;
	e->ecx = e->index | (e->index < ARRAY_SIZE(types) ? types[e->index] << 8 : 0);
	e->edx = t->cpu;
}

static void leaf_80000001(struct kvm_cpuid_entry2 *e, const struct topology *t)
{
	if (t->amd)
		set_bit(&e->ecx, 1, t->cpus > 1);	/* CmpLegacy: HTT means cores */
}

static void leaf_80000008(struct kvm_cpuid_entry2 *e, const struct topology *t)
{
	if (!t->amd)
		return;
	set_bits(&e->ecx, 0, 8, t->cpus - 1);
	set_bits(&e->ecx, 12, 4, t->shift);
}

static void leaf_8000001e(struct kvm_cpuid_entry2 *e, const struct topology *t)
{
	e->eax = t->cpu;
	e->ebx = t->cpu & 0xff;		/* core ID; one thread per core */
	e->ecx = 0;			/* one node */
}

static const struct {
	uint32_t function;
	void (*adjust)(struct kvm_cpuid_entry2 *entry, const struct topology *topology);
} leaves[] = {
	{ 0x1, leaf_1 },
	{ 0x4, leaf_4 },
	{ 0xb, leaf_b },
	{ 0x1f, leaf_b },
	{ 0x80000001, leaf_80000001 },
	{ 0x80000008, leaf_80000008 },
	{ 0x8000001d, leaf_caches },
	{ 0x8000001e, leaf_8000001e },
};

static unsigned int core_bits(unsigned int cpus)
{
	unsigned int bits = 0;

	while (1u << bits < cpus)
		bits++;
	return bits;
}

static bool is_amd(const struct kvm_cpuid2 *cpuid)
{
	for (unsigned int i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 0)
			return cpuid->entries[i].ecx == 0x444d4163;	/* "cAMD" */
	return false;
}

static bool has(const struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index)
{
	for (unsigned int i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
			return true;
	return false;
}

void cpuid_complete(struct kvm_cpuid2 *cpuid, unsigned int room)
{
	static const uint32_t functions[] = { 0xb, 0x1f };

	for (unsigned int i = 0; i < ARRAY_SIZE(functions); i++) {
		for (uint32_t index = 1; index <= 2; index++) {
			if (!has(cpuid, functions[i], 0) || has(cpuid, functions[i], index) ||
			    cpuid->nent >= room)
				continue;
			cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){
				.function = functions[i],
				.index = index,
				.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			};
		}
	}
}

void cpuid_adjust(struct kvm_cpuid2 *cpuid, unsigned int cpu, unsigned int cpus,
		  bool tsc_deadline)
{
	struct topology topology = { cpu, cpus, core_bits(cpus), tsc_deadline, is_amd(cpuid) };

	for (unsigned int i = 0; i < cpuid->nent; i++)
		for (unsigned int j = 0; j < ARRAY_SIZE(leaves); j++)
			if (cpuid->entries[i].function == leaves[j].function)
				leaves[j].adjust(&cpuid->entries[i], &topology);
}
