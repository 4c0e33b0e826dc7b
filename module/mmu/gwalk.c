// SPDX-License-Identifier: GPL-2.0-only
/*
 * The walk: read an entry per level, remember what the levels allow, compare
 * with what is asked (SDM vol. 3 §4.3 to §4.7), then mark what was used.
 */
#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/types.h>

#include "compat.h"
#include "gwalk.h"

#define GW_CR0_WP	BIT_ULL(16)
#define GW_CR0_PG	BIT_ULL(31)
#define GW_CR4_PSE	BIT_ULL(4)
#define GW_CR4_PAE	BIT_ULL(5)
#define GW_CR4_LA57	BIT_ULL(12)
#define GW_CR4_SMEP	BIT_ULL(20)
#define GW_CR4_SMAP	BIT_ULL(21)
#define GW_CR4_PKE	BIT_ULL(22)
#define GW_EFER_LMA	BIT_ULL(10)
#define GW_EFER_NXE	BIT_ULL(11)
#define GW_RFLAGS_AC	BIT_ULL(18)

/* Bits of an entry, SDM vol. 3 §4.5.5 */
#define ENTRY_P		0x01ULL
#define ENTRY_W		0x02ULL
#define ENTRY_U		0x04ULL
#define ENTRY_A		0x20ULL
#define ENTRY_D		0x40ULL
#define ENTRY_PS	0x80ULL
#define ENTRY_NX	BIT_ULL(63)
#define ENTRY_PKEY(e)	(((e) >> 59) & 0xf)

#define PAGE_BITS	12	/* shift of the lowest level */

#define DENY_READ	0x1
#define DENY_WRITE	0x2

#define MAX_LEVELS	5
#define MAX_ATTEMPTS	4	/* a guest that keeps changing its tables */

/* Bits lo to hi of a u64, both included; none if lo > hi. */
static u64 bits(unsigned int hi, unsigned int lo)
{
	return lo > hi ? 0 : (~0ULL >> (63 - hi)) & (~0ULL << lo);
}

#define ADDRESS		(~0ULL >> 12 & ~0xfffULL)	/* bits 51 to 12 */

/**
 * struct paging - a paging mode
 * @top_shift: the top table's index is at this bit of the linear address
 * @index_bits: so many bits are the index; the next lower level's follow
 * @entry_size: bytes
 */
struct paging {
	u8 top_shift;
	u8 index_bits;
	u8 entry_size;
};

static const struct paging paging_32 = { 22, 10, 4 };
static const struct paging paging_pae = { 21, 9, 8 };	/* below the PDPTE */
static const struct paging paging_4 = { 39, 9, 8 };
static const struct paging paging_5 = { 48, 9, 8 };

struct walk {
	const struct gwalk_state *st;
	const struct paging *paging;
	u64 linear;
	u64 table;		/* gpa of the top table */
	u64 reserved;		/* must be clear in every entry */
	u64 all;		/* AND of all entries: W, U, A */
	u64 any;		/* OR of all entries: NX */
	u64 leaf;		/* the last entry */
	u32 access;
	u8 shift;		/* log2 of the page's size */
	u8 nr;			/* of entries read */
	u64 gpa[MAX_LEVELS];
	u64 entry[MAX_LEVELS];
};

static bool is_user(const struct walk *w)
{
	return w->st->cpl == 3 && !(w->access & GWALK_IMPLICIT);
}

/* End the walk with #PF; @bits_set are those that depend on the entries. */
static int page_fault(const struct walk *w, struct gwalk_result *res,
		      u32 bits_set)
{
	const struct gwalk_state *st = w->st;
	u32 code = bits_set;

	if (w->access & GWALK_WRITE)
		code |= GWALK_PF_W;
	if (is_user(w))
		code |= GWALK_PF_U;
	if ((w->access & GWALK_FETCH) &&
	    ((st->cr4 & GW_CR4_SMEP) ||
	     ((st->cr4 & GW_CR4_PAE) && (st->efer & GW_EFER_NXE))))
		code |= GWALK_PF_I;
	res->error_code = code;
	return -EFAULT;
}

/*
 * PS is set in an entry that is not of the lowest level. Returns the bits that
 * must then be clear; without ENTRY_PS among them and in @leaf, that it maps a
 * page itself.
 */
static u64 judge_ps(const struct walk *w, unsigned int shift, bool *leaf)
{
	unsigned int phys_bits = w->st->phys_bits;

	*leaf = false;
	if (w->paging == &paging_32) {
		if (!(w->st->cr4 & GW_CR4_PSE))
			return 0;
		/*
		 * Bits 20 to 13 are address bits 39 to 32 (PSE-36, SDM vol. 3
		 * §4.3), as far as the CPU has them.
		 */
		*leaf = true;
		return bits(21, phys_bits < 40 ? phys_bits - 32 + 13 : 21);
	}
	if (shift > 30 || (shift == 30 && !w->st->gbpages))
		return ENTRY_PS;
	*leaf = true;
	return bits(shift - 1, 13);
}

/* From the top table to the entry that maps the page. */
static int descend(struct walk *w, struct gwalk_result *res)
{
	const struct gwalk_state *st = w->st;
	const unsigned int index_bits = w->paging->index_bits;
	const u64 index_mask = (1U << index_bits) - 1;
	const unsigned int size = w->paging->entry_size;
	unsigned int shift = w->paging->top_shift, nr = 0;
	u64 table = w->table, reserved, entry, gpa;
	bool leaf;
	int err;

	for (;; shift -= index_bits) {
		gpa = table + ((w->linear >> shift) & index_mask) * size;
		entry = 0;
		err = st->read_entry(st->priv, gpa, &entry, size);
		if (err)
			return err;
		if (!(entry & ENTRY_P))
			return page_fault(w, res, 0);
		reserved = w->reserved;
		leaf = shift == PAGE_BITS;
		if ((entry & ENTRY_PS) && !leaf)
			reserved |= judge_ps(w, shift, &leaf);
		if (entry & reserved)
			return page_fault(w, res, GWALK_PF_P | GWALK_PF_RSVD);
		w->gpa[nr] = gpa;
		w->entry[nr++] = entry;
		w->all &= entry;
		w->any |= entry;
		if (leaf)
			break;
		table = entry & ADDRESS;
	}
	w->leaf = entry;
	w->shift = shift;
	w->nr = nr;
	return 0;
}

/* The top of PAE paging has a format of its own (SDM vol. 3 §4.4.1). */
static int read_pdpte(struct walk *w, struct gwalk_result *res)
{
	const struct gwalk_state *st = w->st;
	unsigned int index = (w->linear >> 30) & 3;
	u64 entry = 0;
	int err;

	if (st->pdpte) {
		entry = st->pdpte[index];
	} else {
		err = st->read_entry(st->priv,
				     (st->cr3 & bits(31, 5)) + 8 * index,
				     &entry, sizeof(entry));
		if (err)
			return err;
	}
	if (!(entry & ENTRY_P))
		return page_fault(w, res, 0);
	/* Bit 5 is reserved, too; QEMU TCG sets it as if it were the A flag. */
	if (entry & (bits(63, st->phys_bits) | bits(8, 6) | bits(2, 1)))
		return page_fault(w, res, GWALK_PF_P | GWALK_PF_RSVD);
	w->table = entry & ADDRESS;
	return 0;
}

/* From the registers to the top table. */
static int start(struct walk *w, struct gwalk_result *res)
{
	const struct gwalk_state *st = w->st;
	/* of 8-byte entries: no address bit beyond the CPU's */
	u64 reserved = ~0ULL << st->phys_bits;

	w->all = ~0ULL;
	w->any = 0;
	if (w->paging == &paging_32) {
		w->reserved = 0;
		w->table = st->cr3 & bits(31, 12);
		return 0;
	}
	if (st->efer & GW_EFER_NXE)
		reserved &= ~ENTRY_NX;
	if (w->paging == &paging_pae) {
		w->reserved = reserved;
		return read_pdpte(w, res);
	}
	w->reserved = reserved & (ADDRESS | ENTRY_NX);
	w->table = st->cr3 & ADDRESS;
	return 0;
}

/*
 * Protection keys guard data at user-mode addresses, from everyone (SDM vol. 3
 * §4.6.2). Returns which of DENY_READ and DENY_WRITE PKRU says.
 */
static u32 keys_deny(const struct walk *w)
{
	const struct gwalk_state *st = w->st;
	u32 rights;

	if (!(st->cr4 & GW_CR4_PKE) || !(st->efer & GW_EFER_LMA) ||
	    !(w->all & ENTRY_U) || (w->access & GWALK_FETCH))
		return 0;
	rights = st->pkru >> (2 * ENTRY_PKEY(w->leaf));
	if (rights & 1)
		return DENY_READ | DENY_WRITE;
	if ((rights & 2) && ((st->cr0 & GW_CR0_WP) || is_user(w)))
		return DENY_WRITE;
	return 0;
}

/* May supervisor-mode code touch a user-mode address at all (§4.6.1)? */
static bool supervisor_allowed(const struct walk *w)
{
	const struct gwalk_state *st = w->st;

	if (w->access & GWALK_FETCH)
		return !(st->cr4 & GW_CR4_SMEP);
	if (!(st->cr4 & GW_CR4_SMAP))
		return true;
	return (st->rflags & GW_RFLAGS_AC) && !(w->access & GWALK_IMPLICIT);
}

/* Compare what is asked with what the tables allow. */
static int check(const struct walk *w, struct gwalk_result *res)
{
	bool user_page = w->all & ENTRY_U;
	bool user = is_user(w);
	u32 denied = keys_deny(w);
	bool ok;

	res->writable = !(denied & DENY_WRITE) &&
			((w->all & ENTRY_W) ||
			 (!user && !(w->st->cr0 & GW_CR0_WP)));

	ok = user ? user_page : !user_page || supervisor_allowed(w);
	if (w->access & GWALK_FETCH)
		ok = ok && !(w->any & ENTRY_NX);
	else if (w->access & GWALK_WRITE)
		ok = ok && res->writable;
	else
		ok = ok && !(denied & DENY_READ);
	if (ok)
		return 0;

	if (!(w->access & GWALK_WRITE))
		denied &= DENY_READ;
	return page_fault(w, res, GWALK_PF_P | (denied ? GWALK_PF_PK : 0));
}

/* Accessed flags, and the dirty flag of a leaf written to (§4.8). */
static int mark(const struct walk *w)
{
	const struct gwalk_state *st = w->st;
	bool dirty = w->access & GWALK_WRITE;
	unsigned int i;
	u64 old, new;
	int err;

	if ((w->all & ENTRY_A) && (!dirty || (w->leaf & ENTRY_D)))
		return 0;
	for (i = 0; i < w->nr; i++) {
		old = w->entry[i];
		new = old | ENTRY_A;
		if (dirty && i == w->nr - 1)
			new |= ENTRY_D;
		if (new == old)
			continue;
		err = st->cmpxchg_entry(st->priv, w->gpa[i], old, new,
					w->paging->entry_size);
		if (err)
			return err;
	}
	return 0;
}

static u64 page_address(const struct walk *w)
{
	u64 offset = bits(w->shift - 1, 0);
	u64 page = w->leaf & ADDRESS & ~offset;

	if (w->paging == &paging_32 && w->shift > PAGE_BITS)
		page |= (w->leaf & bits(20, 13)) << (32 - 13);
	return page | (w->linear & offset);
}

static int attempt(struct walk *w, struct gwalk_result *res)
{
	int err;

	err = start(w, res);
	if (err)
		return err;
	err = descend(w, res);
	if (err)
		return err;
	err = check(w, res);
	if (err)
		return err;
	if (w->st->cmpxchg_entry) {
		err = mark(w);
		if (err)
			return err;
	}
	res->page_shift = w->shift;
	res->gpa = page_address(w);
	return 0;
}

int gwalk(const struct gwalk_state *st, u64 linear, u32 access,
	  struct gwalk_result *res)
{
	struct walk w;
	int i, ret;

	if (!(st->efer & GW_EFER_LMA))
		linear = (u32)linear;
	res->error_code = 0;
	if (!(st->cr0 & GW_CR0_PG)) {
		res->gpa = linear;
		res->page_shift = 32;
		res->writable = true;
		return 0;
	}

	w.st = st;
	w.table = 0;
	w.leaf = 0;
	w.shift = 0;
	w.nr = 0;
	w.linear = linear;
	w.access = access;
	if (st->efer & GW_EFER_LMA)
		w.paging = st->cr4 & GW_CR4_LA57 ? &paging_5 : &paging_4;
	else
		w.paging = st->cr4 & GW_CR4_PAE ? &paging_pae : &paging_32;

	for (i = 0; i < MAX_ATTEMPTS; i++) {
		ret = attempt(&w, res);
		if (ret != -EAGAIN)
			return ret;
	}
	return -EAGAIN;
}

KILN_EXPORT_FOR_KUNIT(gwalk);
