// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID as a vCPU has it: the entries user space gave it, what the guest reads
 * of them, and the few bits that follow the vCPU's state. What user space may
 * choose from is in cpuid_offer.c; it may also set what was not offered, which
 * the guest will then read but not be able to use.
 */
#include <linux/errno.h>
#include <linux/kvm_para.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <asm/cpufeature.h>
#include <asm/processor-flags.h>

#include "compat.h"
#include "cpuid.h"
#include "hw.h"
#include "irqchip/irqchip.h"
#include "state.h"
#include "vcpu.h"

/* SDM vol. 3 §4.1.4: where leaf 0x80000008 is missing */
#define DEFAULT_PHYS_BITS	36u
/* What page-table entries have room for, and no less than without PAE. */
#define MIN_PHYS_BITS		32u
#define MAX_PHYS_BITS		52u

const struct kvm_cpuid_entry2 *
kiln_cpuid_search(const struct kvm_cpuid_entry2 *entries, u32 nent,
		  u32 function, u32 index)
{
	u32 i;

	for (i = 0; i < nent; i++)
		if (entries[i].function == function &&
		    (entries[i].index == index ||
		     !(entries[i].flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return &entries[i];
	return NULL;
}

KILN_EXPORT_FOR_KUNIT(kiln_cpuid_search);

struct kvm_cpuid_entry2 *kiln_cpuid_find(struct kiln_vcpu *vcpu, u32 function,
					 u32 index)
{
	struct kiln_cpuid *cpuid = &vcpu->cpuid;

	return (struct kvm_cpuid_entry2 *)
		kiln_cpuid_search(cpuid->entries, cpuid->nent, function, index);
}

/* Vendors whose CPUs answer zero beyond the highest leaf (APM vol. 3 §E.2). */
static bool vendor_is_amd(const struct kvm_cpuid_entry2 *leaf0)
{
	u32 name[3];

	if (!leaf0)
		return false;
	name[0] = leaf0->ebx;
	name[1] = leaf0->edx;
	name[2] = leaf0->ecx;
	return !memcmp(name, "AuthenticAMD", sizeof(name)) ||
	       !memcmp(name, "HygonGenuine", sizeof(name));
}

/*
 * The leaf that says how many of its class there are. Hypervisors' leaves come
 * in blocks of 256 (0x40000000, 0x40000100, ...), each a class.
 */
static u32 class_of(u32 function)
{
	if ((function & 0xf0000000) == KVM_CPUID_SIGNATURE)
		return function & 0xffffff00;
	if (function >= 0xc0000000)
		return 0xc0000000;
	return function & 0x80000000;
}

/* Where an out-of-range function is redirected to, or the function itself. */
static u32 redirect(const struct kiln_cpuid *cpuid, u32 function)
{
	const struct kvm_cpuid_entry2 *basic, *class;

	basic = kiln_cpuid_search(cpuid->entries, cpuid->nent, 0, 0);
	if (!basic || vendor_is_amd(basic))
		return function;
	class = kiln_cpuid_search(cpuid->entries, cpuid->nent,
				  class_of(function), 0);
	if (class && function <= class->eax)
		return function;
	return basic->eax;
}

/*
 * Sub-leaves of the topology leaves that are not there still echo the level
 * number and the x2APIC id (SDM vol. 2 CPUID, leaf 0BH).
 */
static void answer_topology(const struct kiln_cpuid *cpuid, u32 function,
			    struct kiln_cpuid_answer *answer)
{
	const struct kvm_cpuid_entry2 *entry;

	if (function != 0xb && function != 0x1f)
		return;
	entry = kiln_cpuid_search(cpuid->entries, cpuid->nent, function, 1);
	if (!entry)
		return;
	answer->ecx = answer->index & 0xff;
	answer->edx = entry->edx;
}

static noinline void answer_find(const struct kiln_cpuid *cpuid, u32 function,
				 u32 index, struct kiln_cpuid_answer *answer)
{
	const struct kvm_cpuid_entry2 *entry;

	*answer = (struct kiln_cpuid_answer) {
		.function = function,
		.index = index,
		.valid = 1,
	};
	entry = kiln_cpuid_search(cpuid->entries, cpuid->nent, function, index);
	if (!entry) {
		function = redirect(cpuid, function);
		entry = kiln_cpuid_search(cpuid->entries, cpuid->nent, function,
					  index);
	}
	if (!entry) {
		answer_topology(cpuid, function, answer);
		return;
	}
	answer->eax = entry->eax;
	answer->ebx = entry->ebx;
	answer->ecx = entry->ecx;
	answer->edx = entry->edx;
}

void kiln_cpuid(struct kiln_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx)
{
	struct kiln_cpuid *cpuid = &vcpu->cpuid;
	struct kiln_cpuid_answer *answer;
	u32 function = *eax, index = *ecx;
	u32 slot;

	slot = (function ^ function >> 28 ^ index) % KILN_CPUID_CACHE;
	answer = &cpuid->cache[slot];
	if (unlikely(answer->function != function || answer->index != index ||
		     !answer->valid))
		answer_find(cpuid, function, index, answer);
	*eax = answer->eax;
	*ebx = answer->ebx;
	*ecx = answer->ecx;
	*edx = answer->edx;
}

KILN_EXPORT_FOR_KUNIT(kiln_cpuid);

static void assign_bit32(u32 *word, u32 bit, bool set)
{
	*word = set ? *word | bit : *word & ~bit;
}

static bool apic_enabled(struct kiln_vcpu *vcpu)
{
	u64 base = vcpu->lapic ? lapic_base(vcpu) : vcpu->apic_base;

	return base & KILN_APIC_BASE_EN;
}

/* Sets the bits that follow the state @vcpu is in, in any list of entries. */
static void apply_state(struct kiln_vcpu *vcpu,
			struct kvm_cpuid_entry2 *entries, u32 nent)
{
	u32 i;

	for (i = 0; i < nent; i++) {
		struct kvm_cpuid_entry2 *e = &entries[i];

		if (e->function == 1) {
			assign_bit32(&e->ecx, BIT(X86_FEATURE_OSXSAVE % 32),
				     (e->ecx & BIT(X86_FEATURE_XSAVE % 32)) &&
				     (vcpu->cr4 & X86_CR4_OSXSAVE));
			assign_bit32(&e->edx, BIT(X86_FEATURE_APIC % 32),
				     apic_enabled(vcpu));
		} else if (e->function == 7 && e->index == 0) {
			assign_bit32(&e->ecx, BIT(X86_FEATURE_OSPKE % 32),
				     vcpu->cr4 & X86_CR4_PKE);
		} else if (e->function == 0xd && e->index == 0) {
			e->ebx = kiln_xstate_size(vcpu->xcr0, false);
		} else if (e->function == 0xd && e->index == 1 &&
			   e->eax & (BIT(X86_FEATURE_XSAVES % 32) |
				     BIT(X86_FEATURE_XSAVEC % 32))) {
			e->ebx = kiln_xstate_size(vcpu->xcr0 | vcpu->xss, true);
		}
	}
}

void kiln_cpuid_refresh(struct kiln_vcpu *vcpu)
{
	struct kiln_cpuid *cpuid = &vcpu->cpuid;

	apply_state(vcpu, cpuid->entries, cpuid->nent);
	memset(cpuid->cache, 0, sizeof(cpuid->cache));
}

KILN_EXPORT_FOR_KUNIT(kiln_cpuid_refresh);

static int check_entries(const struct kvm_cpuid_entry2 *entries, u32 nent)
{
	const struct kvm_cpuid_entry2 *sizes;
	u32 virt;

	sizes = kiln_cpuid_search(entries, nent, 0x80000008, 0);
	virt = sizes ? (sizes->eax >> 8) & 0xff : 0;
	return virt == 0 || virt == 48 || virt == 57 ? 0 : -EINVAL;
}

static bool same_entry(const struct kvm_cpuid_entry2 *a,
		       const struct kvm_cpuid_entry2 *b)
{
	return a->function == b->function && a->index == b->index &&
	       a->flags == b->flags && a->eax == b->eax && a->ebx == b->ebx &&
	       a->ecx == b->ecx && a->edx == b->edx;
}

static bool same_entries(const struct kiln_cpuid *cpuid,
			 const struct kvm_cpuid_entry2 *entries, u32 nent)
{
	u32 i;

	if (nent != cpuid->nent)
		return false;
	for (i = 0; i < nent; i++)
		if (!same_entry(&cpuid->entries[i], &entries[i]))
			return false;
	return true;
}

/*
 * Physical-address bits. User space may say anything, and shifts by it are all
 * over the place: what no processor has is taken for the nearest that one might.
 */
static u32 phys_bits(const struct kvm_cpuid_entry2 *sizes)
{
	u32 bits = sizes ? sizes->eax & 0xff : 0;

	return bits ? clamp(bits, MIN_PHYS_BITS, MAX_PHYS_BITS) :
		      DEFAULT_PHYS_BITS;
}

/* What the rest of the module wants to know of the entries. */
static void derive(struct kiln_vcpu *vcpu)
{
	struct kiln_cpuid *cpuid = &vcpu->cpuid;
	const struct kvm_cpuid_entry2 *entry;

	kiln_cpuid_caps(cpuid->entries, cpuid->nent, cpuid->caps);

	vcpu->maxphyaddr = phys_bits(kiln_cpuid_find(vcpu, 0x80000008, 0));

	entry = kiln_cpuid_find(vcpu, 0xd, 0);
	vcpu->guest_supported_xcr0 = entry ?
		(entry->eax | (u64)entry->edx << 32) & kiln_xstate_supported() :
		0;
	kiln_control_refresh(vcpu);
}

int kiln_cpuid_replace(struct kiln_vcpu *vcpu,
		       struct kvm_cpuid_entry2 *entries, u32 nent)
{
	struct kiln_cpuid *cpuid = &vcpu->cpuid;
	int ret;

	ret = check_entries(entries, nent);
	if (ret)
		return ret;

	apply_state(vcpu, entries, nent);
	if (cpuid->frozen) {
		if (!same_entries(cpuid, entries, nent))
			return -EINVAL;
		kvfree(entries);
		return 0;
	}

	kvfree(cpuid->entries);
	cpuid->entries = entries;
	cpuid->nent = nent;
	cpuid->given = true;
	memset(cpuid->cache, 0, sizeof(cpuid->cache));
	derive(vcpu);
	return 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_cpuid_replace);

int kiln_cpuid_set(struct kiln_vcpu *vcpu, struct kvm_cpuid2 __user *user)
{
	struct kvm_cpuid_entry2 *entries = NULL;
	u32 nent, i;
	int ret;

	if (get_user(nent, &user->nent))
		return -EFAULT;
	if (nent > KILN_MAX_CPUID_ENTRIES)
		return -E2BIG;

	if (nent) {
		entries = kvmalloc_array(nent, sizeof(*entries),
					 GFP_KERNEL_ACCOUNT);
		if (!entries)
			return -ENOMEM;
		ret = -EFAULT;
		if (copy_from_user(entries, user->entries,
				   nent * sizeof(*entries)))
			goto out_free;
		for (i = 0; i < nent; i++)
			memset(entries[i].padding, 0,
			       sizeof(entries[i].padding));
	}

	ret = kiln_cpuid_replace(vcpu, entries, nent);
	if (ret)
		goto out_free;
	kiln_hw->refresh(vcpu, KILN_REFRESH_CPUID);
	return 0;

out_free:
	kvfree(entries);
	return ret;
}

int kiln_cpuid_get(struct kiln_vcpu *vcpu, struct kvm_cpuid2 __user *user)
{
	struct kiln_cpuid *cpuid = &vcpu->cpuid;
	u32 room;

	if (get_user(room, &user->nent))
		return -EFAULT;
	if (room < cpuid->nent)
		return -E2BIG;
	if (copy_to_user(user->entries, cpuid->entries,
			 cpuid->nent * sizeof(*cpuid->entries)) ||
	    put_user(cpuid->nent, &user->nent))
		return -EFAULT;
	return 0;
}

void kiln_cpuid_create(struct kiln_vcpu *vcpu)
{
	vcpu->maxphyaddr = DEFAULT_PHYS_BITS;
	kiln_control_refresh(vcpu);
}

KILN_EXPORT_FOR_KUNIT(kiln_cpuid_create);

void kiln_cpuid_free(struct kiln_vcpu *vcpu)
{
	kvfree(vcpu->cpuid.entries);
	vcpu->cpuid.entries = NULL;
	vcpu->cpuid.nent = 0;
}

KILN_EXPORT_FOR_KUNIT(kiln_cpuid_free);
