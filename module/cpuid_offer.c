// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID as offered to guests: KVM_GET_SUPPORTED_CPUID. Two tables say all of
 * it: features[], a row per feature bit, and leaves[], a row per leaf. What is
 * in neither is never offered, and reads as zero.
 */
#include <linux/errno.h>
#include <linux/kvm_para.h>
#include <linux/sched/stat.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <asm/cpufeature.h>
#include <asm/processor.h>
#include <asm/tsc.h>

#include "compat.h"
#include "cpuid.h"
#include "hw.h"
#include "spec.h"
#include "state.h"

/* Where the CPU keeps each word of feature bits (SDM vol. 2 CPUID). */
struct word_row {
	u32 function;		/* 0: a word that Linux made up */
	u32 index;
	u8 reg;			/* 0 to 3: EAX, EBX, ECX, EDX */
};

static const struct word_row words[NCAPINTS] = {
	[CPUID_1_EDX]		= { 1, 0, 3 },
	[CPUID_1_ECX]		= { 1, 0, 2 },
	[CPUID_6_EAX]		= { 6, 0, 0 },
	[CPUID_7_0_EBX]		= { 7, 0, 1 },
	[CPUID_7_ECX]		= { 7, 0, 2 },
	[CPUID_7_EDX]		= { 7, 0, 3 },
	[CPUID_7_1_EAX]		= { 7, 1, 0 },
	[CPUID_D_1_EAX]		= { 0xd, 1, 0 },
	[CPUID_8000_0001_EDX]	= { 0x80000001, 0, 3 },
	[CPUID_8000_0001_ECX]	= { 0x80000001, 0, 2 },
	[CPUID_8000_0008_EBX]	= { 0x80000008, 0, 1 },
};

/* What decides about a feature. */
enum source {
	HOST,		/* the host has it and its kernel uses it */
	NO_TAA,		/* likewise, and using it does not leak (TSX) */
	XSAVES,		/* likewise, and the backend has XSAVES */
	TSC_AUX,	/* likewise, and the backend keeps IA32_TSC_AUX */
	INVPCID,	/* likewise, and the backend has INVPCID */
	SSBD,		/* the host's kernel switches it for the guest */
	OURS,		/* kiln makes it, where the leaf exists */
	OURS_SILENT,	/* likewise, but api.rst wants it left out of the list */
};

struct feature_row {
	u16 feature;
	u8 source;
};

#define F(name, source)	{ X86_FEATURE_##name, source }

/*
 * Not here, hence never offered, and why:
 *   nested virtualization, SMM, SMX, SGX: not implemented
 *   MONITOR/MWAIT, WAITPKG: would let a guest idle on the host's CPU
 *   PMU, DS, PDCM, PT, LBR, SDBG: not virtualized
 *   PKU, CET, LA57, LAM, AMX, MPX: state that is not switched
 *   EST, TM, HWP, thermal: the host's business
 *   ARCH_CAPABILITIES: without it a guest takes all the precautions there are
 *   ENQCMD, PCONFIG, BUS_LOCK_DETECT: need controls not used
 */
static const struct feature_row features[] = {
	/* 1, EDX */
	F(FPU, HOST), F(VME, HOST), F(DE, HOST), F(PSE, HOST),
	F(TSC, HOST), F(MSR, HOST), F(PAE, HOST), F(MCE, HOST),
	F(CX8, HOST), F(APIC, OURS), F(SEP, HOST), F(MTRR, OURS),
	F(PGE, HOST), F(MCA, HOST), F(CMOV, HOST), F(PAT, HOST),
	F(PSE36, HOST), F(CLFLUSH, HOST), F(MMX, HOST), F(FXSR, HOST),
	F(XMM, HOST), F(XMM2, HOST), F(SELFSNOOP, HOST),
	/* 1, ECX */
	F(XMM3, HOST), F(PCLMULQDQ, HOST), F(SSSE3, HOST), F(FMA, HOST),
	F(CX16, HOST), F(PCID, HOST), F(XMM4_1, HOST), F(XMM4_2, HOST),
	F(X2APIC, OURS), F(MOVBE, HOST), F(POPCNT, HOST),
	F(TSC_DEADLINE_TIMER, OURS_SILENT), F(AES, HOST), F(XSAVE, HOST),
	F(AVX, HOST), F(F16C, HOST), F(RDRAND, HOST), F(HYPERVISOR, OURS),
	/* 6, EAX: the timer does not stop while the vCPU sleeps */
	F(ARAT, OURS),
	/* 7.0, EBX */
	F(FSGSBASE, HOST), F(TSC_ADJUST, OURS), F(BMI1, HOST), F(HLE, NO_TAA),
	F(AVX2, HOST), F(FDP_EXCPTN_ONLY, HOST), F(SMEP, HOST), F(BMI2, HOST),
	F(ERMS, HOST), F(INVPCID, INVPCID), F(RTM, NO_TAA),
	F(ZERO_FCS_FDS, HOST), F(AVX512F, HOST), F(AVX512DQ, HOST),
	F(RDSEED, HOST), F(ADX, HOST), F(SMAP, HOST), F(AVX512IFMA, HOST),
	F(CLFLUSHOPT, HOST), F(CLWB, HOST), F(AVX512PF, HOST),
	F(AVX512ER, HOST), F(AVX512CD, HOST), F(SHA_NI, HOST),
	F(AVX512BW, HOST), F(AVX512VL, HOST),
	/* 7.0, ECX */
	F(AVX512VBMI, HOST), F(UMIP, HOST), F(AVX512_VBMI2, HOST),
	F(GFNI, HOST), F(VAES, HOST), F(VPCLMULQDQ, HOST),
	F(AVX512_VNNI, HOST), F(AVX512_BITALG, HOST),
	F(AVX512_VPOPCNTDQ, HOST), F(RDPID, TSC_AUX), F(CLDEMOTE, HOST),
	F(MOVDIRI, HOST), F(MOVDIR64B, HOST),
	/* 7.0, EDX */
	F(AVX512_4VNNIW, HOST), F(AVX512_4FMAPS, HOST), F(FSRM, HOST),
	F(AVX512_VP2INTERSECT, HOST), F(MD_CLEAR, HOST), F(SERIALIZE, HOST),
	F(AVX512_FP16, HOST), F(SPEC_CTRL, HOST), F(INTEL_STIBP, HOST),
	F(SPEC_CTRL_SSBD, HOST),
	/* 7.1, EAX */
	F(AVX_VNNI, HOST), F(AVX512_BF16, HOST),
	/* 0xd.1, EAX */
	F(XSAVEOPT, HOST), F(XSAVEC, HOST), F(XGETBV1, HOST),
	F(XSAVES, XSAVES),
	/* 0x80000001, EDX */
	F(SYSCALL, HOST), F(NX, HOST), F(MMXEXT, HOST), F(FXSR_OPT, HOST),
	F(GBPAGES, HOST), F(RDTSCP, TSC_AUX), F(LM, HOST),
	/* 0x80000001, ECX */
	F(LAHF_LM, HOST), F(CMP_LEGACY, HOST), F(CR8_LEGACY, HOST),
	F(ABM, HOST), F(SSE4A, HOST), F(MISALIGNSSE, HOST),
	F(3DNOWPREFETCH, HOST), F(XOP, HOST), F(FMA4, HOST), F(TBM, HOST),
	/* 0x80000008, EBX */
	F(CLZERO, HOST), F(XSAVEERPTR, HOST), F(WBNOINVD, HOST),
	F(AMD_IBPB, HOST), F(AMD_IBRS, HOST), F(AMD_STIBP, HOST),
	F(AMD_STIBP_ALWAYS_ON, HOST), F(AMD_SSBD, HOST),
	F(VIRT_SSBD, SSBD),
};

/* What is offered, by word; const after kiln_cpuid_init(). */
static u32 offered[NCAPINTS] __ro_after_init;

/* Bits of @offered that KVM_GET_SUPPORTED_CPUID does not show. */
static u32 silent[NCAPINTS] __ro_after_init;

static u32 *entry_reg(struct kvm_cpuid_entry2 *entry, int reg)
{
	switch (reg) {
	case 0:
		return &entry->eax;
	case 1:
		return &entry->ebx;
	case 2:
		return &entry->ecx;
	default:
		return &entry->edx;
	}
}

static void host_entry(struct kvm_cpuid_entry2 *entry)
{
	cpuid_count(entry->function, entry->index, &entry->eax, &entry->ebx,
		    &entry->ecx, &entry->edx);
}

static bool host_has_leaf(u32 function)
{
	return function <= cpuid_eax(function & 0x80000000);
}

static bool host_is_amd(void)
{
	return boot_cpu_data.x86_vendor == X86_VENDOR_AMD ||
	       boot_cpu_data.x86_vendor == X86_VENDOR_HYGON;
}

/* The CPU itself, not what the host's kernel makes of it. */
static bool host_raw_has(unsigned int feature)
{
	const struct word_row *word = &words[feature / 32];
	struct kvm_cpuid_entry2 entry = {
		.function = word->function,
		.index = word->index,
	};

	if (!host_has_leaf(word->function))
		return false;
	host_entry(&entry);
	return *entry_reg(&entry, word->reg) & BIT(feature % 32);
}

static bool feature_offered(const struct feature_row *row)
{
	bool host = boot_cpu_has(row->feature) && host_raw_has(row->feature);

	switch ((enum source)row->source) {
	case HOST:
		return host;
	case NO_TAA:
		return host && !boot_cpu_has_bug(X86_BUG_TAA);
	case XSAVES:
		return host && kiln_hw->has_xsaves;
	case TSC_AUX:
		return host && kiln_hw->has_rdtscp;
	case INVPCID:
		return host && kiln_hw->has_invpcid;
	case SSBD:
		return kiln_host_has_virt_ssbd();
	case OURS:
	case OURS_SILENT:
		return host_has_leaf(words[row->feature / 32].function);
	}
	return false;
}

void __init kiln_cpuid_init(void)
{
	const struct feature_row *row = features;
	int i;

	kiln_xstate_init();
	for (i = 0; i < ARRAY_SIZE(features); i++, row++) {
		if (!feature_offered(row))
			continue;
		offered[row->feature / 32] |= BIT(row->feature % 32);
		if (row->source == OURS_SILENT)
			silent[row->feature / 32] |= BIT(row->feature % 32);
	}
}

bool kiln_cpu_offers(unsigned int feature)
{
	return offered[feature / 32] & BIT(feature % 32);
}

KILN_EXPORT_FOR_KUNIT(kiln_cpu_offers);

void kiln_cpuid_caps(const struct kvm_cpuid_entry2 *entries, u32 nent,
		     u32 caps[NCAPINTS])
{
	struct kvm_cpuid_entry2 entry;
	int i;

	for (i = 0; i < NCAPINTS; i++) {
		const struct kvm_cpuid_entry2 *found;

		caps[i] = 0;
		if (!words[i].function)
			continue;
		found = kiln_cpuid_search(entries, nent, words[i].function,
					  words[i].index);
		if (!found)
			continue;
		entry = *found;
		caps[i] = *entry_reg(&entry, words[i].reg) & offered[i];
	}
}

/* Puts the offered bits of all words of this leaf in place. */
static void mask_features(struct kvm_cpuid_entry2 *entry)
{
	int i;

	for (i = 0; i < NCAPINTS; i++)
		if (words[i].function == entry->function &&
		    words[i].index == entry->index)
			*entry_reg(entry, words[i].reg) =
				offered[i] & ~silent[i];
}

/* The list while it is put together. */
struct offer {
	struct kvm_cpuid_entry2 *entries;
	u32 nent;
};

/*
 * An entry of the list, with the host's own values in it. The list has room
 * for more entries than the rows of leaves[] can ask for.
 */
static struct kvm_cpuid_entry2 *offer_host(struct offer *list, u32 function,
					   u32 index, u32 flags)
{
	struct kvm_cpuid_entry2 *entry = &list->entries[list->nent++];

	*entry = (struct kvm_cpuid_entry2) {
		.function = function,
		.index = index,
		.flags = flags,
	};
	host_entry(entry);
	return entry;
}

static struct kvm_cpuid_entry2 *offer_blank(struct offer *list, u32 function,
					    u32 index, u32 flags)
{
	struct kvm_cpuid_entry2 *entry = offer_host(list, function, index, flags);

	entry->eax = 0;
	entry->ebx = 0;
	entry->ecx = 0;
	entry->edx = 0;
	return entry;
}

static void leaf_host(struct offer *list, u32 function)
{
	offer_host(list, function, 0, 0);
}

static void leaf_max_basic(struct offer *list, u32 function)
{
	struct kvm_cpuid_entry2 *entry = offer_host(list, function, 0, 0);

	entry->eax = min(entry->eax, 0x1fU);
}

static void leaf_features(struct offer *list, u32 function)
{
	mask_features(offer_blank(list, function, 0, 0));
}

/* Family and model, brand, CLFLUSH size; the APIC id is user space's to set. */
static void leaf_1(struct offer *list, u32 function)
{
	struct kvm_cpuid_entry2 *entry = offer_host(list, function, 0, 0);

	entry->ebx &= 0xffff;
	mask_features(entry);
}

/* Sub-leaves are caches, up to one of type 0 (none). */
static void leaf_caches(struct offer *list, u32 function)
{
	struct kvm_cpuid_entry2 *entry;
	u32 index = 0;

	do {
		entry = offer_host(list, function, index,
				   KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	} while ((entry->eax & 0x1f) && ++index < 16);
}

static void leaf_7(struct offer *list, u32 function)
{
	struct kvm_cpuid_entry2 *entry;
	u32 max;

	entry = offer_blank(list, function, 0,
			    KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	max = min(cpuid_eax(function), 1U);
	entry->eax = max;
	mask_features(entry);
	if (max)
		mask_features(offer_blank(list, function, 1,
					  KVM_CPUID_FLAG_SIGNIFCANT_INDEX));
}

/* No topology: it is user space's to describe, together with APIC ids. */
static void leaf_topology(struct offer *list, u32 function)
{
	offer_blank(list, function, 0, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
}

static void leaf_xsave(struct offer *list, u32 function)
{
	u64 xcr0 = kiln_xstate_supported();
	struct kvm_cpuid_entry2 *entry;
	int i;

	if (!kiln_cpu_offers(X86_FEATURE_XSAVE))
		return;
	entry = offer_blank(list, function, 0,
			    KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	entry->eax = xcr0;
	entry->ebx = kiln_xstate_size(xcr0, false);
	entry->ecx = entry->ebx;
	entry->edx = xcr0 >> 32;

	entry = offer_blank(list, function, 1,
			    KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	mask_features(entry);
	if (kiln_cpu_offers(X86_FEATURE_XSAVES) ||
	    kiln_cpu_offers(X86_FEATURE_XSAVEC))
		entry->ebx = kiln_xstate_size(xcr0, true);

	for (i = 2; i < 63; i++)
		if (xcr0 & BIT_ULL(i))
			offer_host(list, function, i,
				   KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
}

static void leaf_kvm_signature(struct offer *list, u32 function)
{
	struct kvm_cpuid_entry2 *entry;
	u32 signature[3];

	memcpy(signature, KVM_SIGNATURE, sizeof(signature));
	entry = offer_blank(list, function, 0, 0);
	entry->eax = KVM_CPUID_FEATURES;
	entry->ebx = signature[0];
	entry->ecx = signature[1];
	entry->edx = signature[2];
}

static void leaf_kvm_features(struct offer *list, u32 function)
{
	struct kvm_cpuid_entry2 *entry;

	entry = offer_blank(list, function, 0, 0);
	entry->eax = BIT(KVM_FEATURE_CLOCKSOURCE) |
		     BIT(KVM_FEATURE_NOP_IO_DELAY) |
		     BIT(KVM_FEATURE_CLOCKSOURCE2) |
		     BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT);
	if (sched_info_on())
		entry->eax |= BIT(KVM_FEATURE_STEAL_TIME);
}

static void leaf_max_extended(struct offer *list, u32 function)
{
	struct kvm_cpuid_entry2 *entry = offer_host(list, function, 0, 0);

	entry->eax = min(entry->eax, 0x80000008U);
}

/* AMD repeats bits of leaf 1 here (APM vol. 3 §E.4.2); Intel does not. */
static void leaf_extended_features(struct offer *list, u32 function)
{
	struct kvm_cpuid_entry2 *entry = offer_host(list, function, 0, 0);

	mask_features(entry);
	if (host_is_amd())
		entry->edx |= offered[CPUID_1_EDX] & 0x0183f3ff;
	else
		entry->ebx = 0;
}

static void leaf_power(struct offer *list, u32 function)
{
	struct kvm_cpuid_entry2 *entry;
	bool invariant;

	invariant = (cpuid_edx(function) & BIT(8)) && !check_tsc_unstable() &&
		    boot_cpu_has(X86_FEATURE_CONSTANT_TSC) &&
		    boot_cpu_has(X86_FEATURE_NONSTOP_TSC);
	entry = offer_blank(list, function, 0, 0);
	if (invariant)
		entry->edx = BIT(8);
}

/* Four levels of second-stage tables reach 48 bits. */
static void leaf_address_sizes(struct offer *list, u32 function)
{
	struct kvm_cpuid_entry2 *entry;
	u32 phys, virt;

	entry = offer_blank(list, function, 0, 0);
	phys = min_t(u32, boot_cpu_data.x86_phys_bits, 48);
	virt = min_t(u32, boot_cpu_data.x86_virt_bits, 48);
	entry->eax = phys | virt << 8;
	mask_features(entry);
}

/* A row per leaf, in the order they are listed. */
static const struct leaf_row {
	u32 function;
	void (*add)(struct offer *list, u32 function);
} leaves[] = {
	{ 0x00000000, leaf_max_basic },
	{ 0x00000001, leaf_1 },
	{ 0x00000002, leaf_host },		/* caches and TLBs */
	{ 0x00000004, leaf_caches },
	{ 0x00000006, leaf_features },	/* power management */
	{ 0x00000007, leaf_7 },
	{ 0x0000000b, leaf_topology },
	{ 0x0000000d, leaf_xsave },
	{ 0x0000001f, leaf_topology },
	{ KVM_CPUID_SIGNATURE, leaf_kvm_signature },
	{ KVM_CPUID_FEATURES, leaf_kvm_features },
	{ 0x80000000, leaf_max_extended },
	{ 0x80000001, leaf_extended_features },
	{ 0x80000002, leaf_host },		/* brand string */
	{ 0x80000003, leaf_host },
	{ 0x80000004, leaf_host },
	{ 0x80000005, leaf_host },		/* caches, AMD */
	{ 0x80000006, leaf_host },		/* L2 cache */
	{ 0x80000007, leaf_power },
	{ 0x80000008, leaf_address_sizes },
};

/* Caches and XSAVE components have an entry each. */
static_assert(ARRAY_SIZE(leaves) + 16 + 64 < KILN_MAX_CPUID_ENTRIES);

static bool leaf_is_kvm(u32 function)
{
	return (function & 0xf0000000) == KVM_CPUID_SIGNATURE;
}

u32 kiln_cpuid_list(struct kvm_cpuid_entry2 entries[KILN_MAX_CPUID_ENTRIES])
{
	struct offer list = { .entries = entries };
	int i;

	for (i = 0; i < ARRAY_SIZE(leaves); i++)
		if (leaf_is_kvm(leaves[i].function) ||
		    host_has_leaf(leaves[i].function))
			leaves[i].add(&list, leaves[i].function);
	return list.nent;
}

KILN_EXPORT_FOR_KUNIT(kiln_cpuid_list);

int kiln_cpuid_supported(struct kvm_cpuid2 __user *user)
{
	struct kvm_cpuid_entry2 *entries;
	u32 room, nent;
	int ret = 0;

	if (get_user(room, &user->nent))
		return -EFAULT;

	entries = kvcalloc(KILN_MAX_CPUID_ENTRIES, sizeof(*entries),
			   GFP_KERNEL_ACCOUNT);
	if (!entries)
		return -ENOMEM;
	nent = kiln_cpuid_list(entries);
	if (room < nent)
		ret = -E2BIG;
	else if (put_user(nent, &user->nent) ||
		 copy_to_user(user->entries, entries, nent * sizeof(*entries)))
		ret = -EFAULT;
	kvfree(entries);
	return ret;
}
