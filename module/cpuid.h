/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPUID: what kiln offers a guest, and what a guest was given.
 */
#ifndef KILN_CPUID_H
#define KILN_CPUID_H

#include <linux/kvm.h>
#include <linux/types.h>
#include <asm/cpufeature.h>

#define KILN_MAX_CPUID_ENTRIES	256

struct kiln_vcpu;

/* Answers kept so that the exit path rarely searches; a power of two. */
#define KILN_CPUID_CACHE	16

/**
 * struct kiln_cpuid_answer - the result of one CPUID instruction
 * @function: EAX of the instruction
 * @index: ECX of the instruction
 * @valid: this slot holds an answer
 * @eax: result
 * @ebx: result
 * @ecx: result
 * @edx: result
 */
struct kiln_cpuid_answer {
	u32 function, index;
	u32 valid;
	u32 eax, ebx, ecx, edx;
};

/*
 * A vCPU's CPUID. All of it [v]: written by KVM_SET_CPUID2 and, as far as bits
 * follow the vCPU's state (OSXSAVE and so on), by kiln_cpuid_refresh(). Empty
 * until the first KVM_SET_CPUID2.
 */
struct kiln_cpuid {
	struct kvm_cpuid_entry2 *entries;
	u32 nent;
	bool given;			/* KVM_SET_CPUID2 was done */
	bool frozen;			/* the vCPU has run: no more changes */
	u32 caps[NCAPINTS];		/* by X86_FEATURE_x / 32; offered and set */
	struct kiln_cpuid_answer cache[KILN_CPUID_CACHE];
};

static inline bool kiln_cpuid_has(const struct kiln_cpuid *cpuid,
				  unsigned int feature)
{
	return cpuid->caps[feature / 32] & BIT(feature % 32);
}

/**
 * kiln_guest_has() - may the guest use a CPU feature?
 * @vcpu: the vCPU
 * @feature: X86_FEATURE_x of a hardware leaf (no Linux-defined bits)
 *
 * Return: true if user space put it into the guest's CPUID and kiln offers it.
 */
#define kiln_guest_has(vcpu, feature)	kiln_cpuid_has(&(vcpu)->cpuid, (feature))

/**
 * kiln_cpuid_init() - decide what is offered
 *
 * Once at module load, after the backend's setup: depends on the host's CPU
 * and on kiln_hw.
 */
void kiln_cpuid_init(void);

/**
 * kiln_cpu_offers() - is a CPU feature offered to guests?
 * @feature: X86_FEATURE_x of a hardware leaf
 */
bool kiln_cpu_offers(unsigned int feature);

/**
 * kiln_cpuid_supported() - body of KVM_GET_SUPPORTED_CPUID
 * @user: header with room for nent entries
 *
 * nent beyond what is needed is set to what was filled in, and that is success
 * (as stock KVM does; api.rst speaks of ENOMEM).
 *
 * Return: 0, -E2BIG for too little room, -EFAULT, -ENOMEM.
 * Context: process context, no locks.
 */
int kiln_cpuid_supported(struct kvm_cpuid2 __user *user);

/**
 * kiln_cpuid_set() - body of KVM_SET_CPUID2
 * @vcpu: the vCPU
 * @user: at most KILN_MAX_CPUID_ENTRIES entries
 *
 * After the vCPU has run (see kiln_cpuid_freeze()) only what it already has is
 * accepted.
 *
 * Return: 0, -E2BIG for too many entries, -EINVAL for a linear-address width
 * that is not 0, 48 or 57 or a change after KVM_RUN, -EFAULT, -ENOMEM.
 * Nothing changes on error.
 * Context: vcpu->mutex, the vCPU loaded.
 */
int kiln_cpuid_set(struct kiln_vcpu *vcpu, struct kvm_cpuid2 __user *user);

/**
 * kiln_cpuid_get() - body of KVM_GET_CPUID2
 * @vcpu: the vCPU
 * @user: header with room for nent entries
 *
 * Return: 0, -E2BIG for too little room, -EFAULT.
 * Context: vcpu->mutex.
 */
int kiln_cpuid_get(struct kiln_vcpu *vcpu, struct kvm_cpuid2 __user *user);

/**
 * kiln_cpuid_create() - before any KVM_SET_CPUID2
 * @vcpu: being created
 *
 * The guest then reads zeros everywhere; user space may set registers as far
 * as the offer goes.
 */
void kiln_cpuid_create(struct kiln_vcpu *vcpu);

/**
 * kiln_cpuid_freeze() - the vCPU enters the guest (for the first time)
 * @cpuid: its CPUID
 */
static inline void kiln_cpuid_freeze(struct kiln_cpuid *cpuid)
{
	cpuid->frozen = true;
}

/**
 * kiln_cpuid_free() - undo kiln_cpuid_set()
 * @vcpu: the vCPU, which no thread uses any more
 */
void kiln_cpuid_free(struct kiln_vcpu *vcpu);

/**
 * kiln_cpuid_refresh() - bits that follow the vCPU's state have changed
 * @vcpu: the vCPU
 *
 * To be called after CR4, XCR0, IA32_XSS, the APIC base or IA32_MISC_ENABLE
 * changed; the setters of state.h and msr.h do so themselves.
 *
 * Context: vcpu->mutex.
 */
void kiln_cpuid_refresh(struct kiln_vcpu *vcpu);

/**
 * kiln_cpuid() - the guest's CPUID instruction
 * @vcpu: the vCPU
 * @eax: in: function; out: result
 * @ebx: out: result
 * @ecx: in: index; out: result
 * @edx: out: result
 *
 * On vCPUs that are not AMD's, a function beyond the highest of its class is
 * answered as the highest basic one (SDM vol. 2 CPUID).
 *
 * Context: the vCPU's thread; IRQs may be off.
 */
void kiln_cpuid(struct kiln_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx);

/**
 * kiln_cpuid_find() - an entry of the guest's CPUID
 * @vcpu: the vCPU
 * @function: leaf
 * @index: sub-leaf, where the leaf has any
 *
 * Return: the entry or NULL.
 * Context: vcpu->mutex.
 */
struct kvm_cpuid_entry2 *kiln_cpuid_find(struct kiln_vcpu *vcpu, u32 function,
					 u32 index);

/* Between cpuid.c and cpuid_offer.c, and for their tests. */

/**
 * kiln_cpuid_search() - find an entry in a list
 * @entries: the list
 * @nent: its length
 * @function: leaf
 * @index: sub-leaf, for entries that say it matters
 *
 * Return: the first that matches, or NULL.
 */
const struct kvm_cpuid_entry2 *
kiln_cpuid_search(const struct kvm_cpuid_entry2 *entries, u32 nent,
		  u32 function, u32 index);

/**
 * kiln_cpuid_replace() - give a vCPU its CPUID
 * @vcpu: the vCPU
 * @entries: of kvmalloc() or NULL; belongs to @vcpu upon success
 * @nent: how many
 *
 * Return: 0 or -EINVAL, see kiln_cpuid_set().
 */
int kiln_cpuid_replace(struct kiln_vcpu *vcpu,
		       struct kvm_cpuid_entry2 *entries, u32 nent);

/**
 * kiln_cpuid_list() - what KVM_GET_SUPPORTED_CPUID shows
 * @entries: zeroed
 *
 * Return: how many were filled in.
 */
u32 kiln_cpuid_list(struct kvm_cpuid_entry2 entries[KILN_MAX_CPUID_ENTRIES]);

/**
 * kiln_cpuid_caps() - feature words of a list, cut to what is offered
 * @entries: the list
 * @nent: its length
 * @caps: filled
 */
void kiln_cpuid_caps(const struct kvm_cpuid_entry2 *entries, u32 nent,
		     u32 caps[NCAPINTS]);

#endif /* KILN_CPUID_H */
