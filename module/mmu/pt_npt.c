// SPDX-License-Identifier: GPL-2.0-only
/*
 * The entries of AMD's nested page tables: those of long-mode paging, walked as
 * a user access (APM vol. 2 §15.25.3, §15.25.5, §5.3).
 */
#include <linux/mem_encrypt.h>
#include <asm/processor.h>

#include "../compat.h"
#include "mmu.h"

#define NPT_PRESENT		BIT_ULL(0)
#define NPT_WRITE		BIT_ULL(1)
#define NPT_USER		BIT_ULL(2)
#define NPT_PWT			BIT_ULL(3)
#define NPT_PCD			BIT_ULL(4)
#define NPT_ACCESSED		BIT_ULL(5)
#define NPT_DIRTY		BIT_ULL(6)
#define NPT_LARGE		BIT_ULL(7)
#define NPT_SW_TRACKED		BIT_ULL(9)	/* 11:9 are available */
#define NPT_SW_MMIO		BIT_ULL(10)
#define NPT_ADDR		GENMASK_ULL(51, 12)
#define NPT_NX			BIT_ULL(63)

/* With a reserved bit: what else could fault is allowed. */
#define NPT_MMIO		(NPT_PRESENT | NPT_WRITE | NPT_USER)

#define CPUID_ENCRYPTION	0x8000001f

/*
 * An address bit the processor does not have is a reserved-bit fault on every
 * level. The bit that would mean encryption is none of them, also while
 * encryption is off. 0 if there is none.
 */
static u64 reserved_bit(unsigned int phys_bits, u64 encryption)
{
	int bit;

	for (bit = 51; bit >= (int)phys_bits; bit--)
		if (!(BIT_ULL(bit) & encryption))
			return BIT_ULL(bit);
	return 0;
}

void kiln_pt_format_npt_of(struct kiln_pt_format *fmt, u8 levels, bool huge_1g,
			   unsigned int phys_bits, u64 encryption, u64 mask)
{
	u64 reserved = reserved_bit(phys_bits, encryption);
	u64 bits = NPT_PRESENT | NPT_USER;

	*fmt = (struct kiln_pt_format) {
		.present_mask = NPT_PRESENT | reserved,
		.present_value = NPT_PRESENT,
		.table = bits | NPT_WRITE | NPT_ACCESSED | mask,
		.leaf = bits,
		.write = NPT_WRITE,
		.noexec = NPT_NX,
		.large = NPT_LARGE,
		.accessed = NPT_ACCESSED,
		.dirty = NPT_DIRTY,
		.memtype = {
			/*
			 * Of the host's PAT: entry 0 and entry 3. Devices are
			 * behind no encryption: theirs are other addresses.
			 */
			[KILN_MEMTYPE_WB] = mask,
			[KILN_MEMTYPE_UC] = NPT_PCD | NPT_PWT,
		},
		/*
		 * Where each address bit exists the marker is an entry that is
		 * not present: a fault like that of memory not yet mapped.
		 */
		.mmio_mask = reserved ? NPT_MMIO | reserved :
					NPT_PRESENT | NPT_SW_MMIO,
		.mmio_value = reserved ? NPT_MMIO | reserved : NPT_SW_MMIO,
		.addr = NPT_ADDR & ~encryption & ~reserved,
		.sw_tracked = NPT_SW_TRACKED,
		.max_level = levels,
		.leaf_levels = BIT(KILN_PT_4K) | BIT(KILN_PT_2M) |
			       (huge_1g ? BIT(KILN_PT_1G) : 0),
	};
}

KILN_EXPORT_FOR_KUNIT(kiln_pt_format_npt_of);

static u64 encryption_bit(void)
{
	if (cpuid_eax(0x80000000) < CPUID_ENCRYPTION ||
	    !(cpuid_eax(CPUID_ENCRYPTION) & 3))
		return 0;
	return BIT_ULL(cpuid_ebx(CPUID_ENCRYPTION) & 0x3f);
}

void kiln_pt_format_npt(struct kiln_pt_format *fmt, u8 levels, bool huge_1g)
{
	u32 sizes = cpuid_eax(0x80000008);

	kiln_pt_format_npt_of(fmt, levels, huge_1g, sizes & 0xff,
			      encryption_bit(), __sme_set(0));
}
