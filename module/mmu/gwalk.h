/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's own page tables: linear to guest-physical, as the CPU would do
 * it (SDM vol. 3 chapter 4), for accesses made on the guest's behalf.
 *
 * Guest memory is reached through callbacks only. The tables are hostile: they
 * change while they are read, point anywhere (also to themselves) and have
 * reserved bits set. Each entry is read once, each walk reads at most five.
 */
#ifndef KILN_GWALK_H
#define KILN_GWALK_H

#include <linux/types.h>

/* What the access is. None of them: an explicit data read. */
#define GWALK_WRITE	0x1
#define GWALK_FETCH	0x2
#define GWALK_IMPLICIT	0x4	/* supervisor access whatever the CPL: GDT,
				 * IDT, TSS; RFLAGS.AC does not help it
				 */

/* Page-fault error code, SDM vol. 3 §4.7 */
#define GWALK_PF_P	0x01
#define GWALK_PF_W	0x02
#define GWALK_PF_U	0x04
#define GWALK_PF_RSVD	0x08
#define GWALK_PF_I	0x10
#define GWALK_PF_PK	0x20

/**
 * struct gwalk_state - the registers a translation depends on
 * @cr0: PG, WP
 * @cr3: of the guest (PCID and cache bits are ignored)
 * @cr4: PSE, PAE, LA57, SMEP, SMAP, PKE
 * @efer: LMA, NXE
 * @rflags: AC
 * @pkru: protection-key rights; used if CR4.PKE
 * @cpl: 0 to 3; 3 makes explicit accesses user-mode accesses
 * @phys_bits: the guest's physical-address width, 32 to 52
 * @gbpages: the guest's CPUID announces 1 GiB pages
 * @pdpte: the four PDPTEs the CPU holds for PAE paging; NULL: read from @cr3
 * @read_entry: fetch the @size (4 or 8) bytes at @gpa, aligned to @size, as
 *	one access, to @entry. 0 or a negative errno, which ends the walk
 * @cmpxchg_entry: set accessed and dirty flags: replace @old by @new at @gpa
 *	atomically. 0 (also where the CPU's write would have no effect: ROM),
 *	-EAGAIN if it is no longer @old, another negative errno to end the walk.
 *	NULL: leave the flags alone
 * @priv: for the callbacks
 */
struct gwalk_state {
	u64 cr0, cr3, cr4, efer;
	u64 rflags;
	u32 pkru;
	u8 cpl;
	u8 phys_bits;
	bool gbpages;
	const u64 *pdpte;
	int (*read_entry)(void *priv, u64 gpa, void *entry, unsigned int size);
	int (*cmpxchg_entry)(void *priv, u64 gpa, u64 old, u64 new,
			     unsigned int size);
	void *priv;
};

/**
 * struct gwalk_result - where it leads
 * @gpa: guest-physical address, if gwalk() returned 0
 * @error_code: GWALK_PF_*, if it returned -EFAULT
 * @page_shift: log2 of the page's size: 12, 21, 22, 30; with paging off 32
 * @writable: a write of the same kind would have been allowed (and the dirty
 *	flag is set, if @cmpxchg_entry is there and this was a write)
 */
struct gwalk_result {
	u64 gpa;
	u32 error_code;
	u8 page_shift;
	bool writable;
};

/**
 * gwalk() - translate a linear address of the guest
 * @st: registers and callbacks
 * @linear: any; the canonical check is the caller's, cut to 32 bits outside
 *	IA-32e mode
 * @access: GWALK_*
 * @res: filled
 *
 * Sets accessed flags in all entries used and the dirty flag of the leaf for a
 * write, if the access is allowed; sets none if it is not.
 *
 * Return: 0; -EFAULT: the guest gets #PF with @res->error_code; -EAGAIN: the
 * guest kept changing an entry, let it run and come again; another negative
 * errno: what a callback said (so callbacks must not use -EFAULT).
 *
 * Context: that of the callbacks.
 */
int gwalk(const struct gwalk_state *st, u64 linear, u32 access,
	  struct gwalk_result *res);

#endif /* KILN_GWALK_H */
