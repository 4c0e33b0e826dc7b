// SPDX-License-Identifier: GPL-2.0-only
/*
 * The entries of Intel's extended page tables: SDM vol. 3 §28.3.2, tables 28-1
 * to 28-7; accessed and dirty flags §28.3.5; memory types §28.3.7.
 */
#include "../compat.h"
#include "mmu.h"

#define EPT_READ		BIT_ULL(0)
#define EPT_WRITE		BIT_ULL(1)
#define EPT_EXEC		BIT_ULL(2)
#define EPT_TYPE_UC		(0ULL << 3)
#define EPT_TYPE_WB		(6ULL << 3)
#define EPT_IGNORE_PAT		BIT_ULL(6)
#define EPT_LARGE		BIT_ULL(7)
#define EPT_ACCESSED		BIT_ULL(8)
#define EPT_DIRTY		BIT_ULL(9)
#define EPT_ADDR		GENMASK_ULL(51, 12)
/* bits 56:52 are ignored in every kind of entry */
#define EPT_SW_TRACKED		BIT_ULL(52)

/*
 * An entry that allows writes but not reads is a misconfiguration (§28.3.3.1) on
 * every level. It holds no address: a processor that looks past the missing
 * permission (L1TF) sees the first page of memory, where there is nothing.
 */
#define EPT_MMIO		(EPT_WRITE | EPT_EXEC)

void kiln_pt_format_ept(struct kiln_pt_format *fmt, bool ad, bool huge_2m,
			bool huge_1g)
{
	*fmt = (struct kiln_pt_format) {
		.present_mask = EPT_READ,
		.present_value = EPT_READ,
		.table = EPT_READ | EPT_WRITE | EPT_EXEC,
		.leaf = EPT_READ,
		.write = EPT_WRITE,
		.exec = EPT_EXEC,
		.large = EPT_LARGE,
		.accessed = ad ? EPT_ACCESSED : 0,
		.dirty = ad ? EPT_DIRTY : 0,
		.memtype = {
			/*
			 * RAM is write-back whatever the guest's PAT says: the
			 * host's own mapping of it is.
			 */
			[KILN_MEMTYPE_WB] = EPT_TYPE_WB | EPT_IGNORE_PAT,
			[KILN_MEMTYPE_UC] = EPT_TYPE_UC,
		},
		.mmio_mask = EPT_READ | EPT_WRITE | EPT_EXEC,
		.mmio_value = EPT_MMIO,
		.addr = EPT_ADDR,
		.sw_tracked = EPT_SW_TRACKED,
		.max_level = 4,
		.leaf_levels = BIT(KILN_PT_4K) |
			       (huge_2m ? BIT(KILN_PT_2M) : 0) |
			       (huge_1g ? BIT(KILN_PT_1G) : 0),
	};
	/* set in tables, too, so that hardware need not */
	fmt->table |= fmt->accessed;
}

KILN_EXPORT_FOR_KUNIT(kiln_pt_format_ept);
