// SPDX-License-Identifier: GPL-2.0-only
/*
 * The walk: read an entry per level, remember what the levels allow, compare
 * with what is asked (SDM vol. 3 §4.3 to §4.7), then mark what was used.
 */
#include <linux/errno.h>
#include <linux/types.h>

#include "compat.h"
#include "gwalk.h"

#define CR0_WP		(1ULL << 16)
#define CR0_PG		(1ULL << 31)
#define CR4_PSE		(1ULL << 4)
#define CR4_PAE		(1ULL << 5)
#define CR4_LA57	(1ULL << 12)
#define CR4_SMEP	(1ULL << 20)
#define CR4_SMAP	(1ULL << 21)
#define CR4_PKE		(1ULL << 22)
#define EFER_LMA	(1ULL << 10)
#define EFER_NXE	(1ULL << 11)
#define RFLAGS_AC	(1ULL << 18)

/* Bits of an entry, SDM vol. 3 §4.5.5 */
#define ENTRY_P		0x01ULL
#define ENTRY_W		0x02ULL
#define ENTRY_U		0x04ULL
#define ENTRY_A		0x20ULL
#define ENTRY_D		0x40ULL
#define ENTRY_PS	0x80ULL
#define ENTRY_NX	(1ULL << 63)
#define ENTRY_PKEY(e)	(((e) >> 59) & 0xf)

#define ADDRESS_BITS	52
#define DENY_READ	0x1
#define DENY_WRITE	0x2

#define MAX_LEVELS	5
#define MAX_ATTEMPTS	4	/* a guest that keeps changing its tables */

/* Bits lo to hi of a u64, both included; none if lo > hi. */
static u64 bits(unsigned int hi, unsigned int lo)
{
	return lo > hi ? 0 : (~0ULL >> (63 - hi)) & (~0ULL << lo);
}

struct paging {
	u8 levels;
	u8 index_bits;
	u8 entry_size;
};

static const struct paging paging_32 = { 2, 10, 4 };
static const struct paging paging_pae = { 2, 9, 8 };	/* below the PDPTE */
static const struct paging paging_4 = { 4, 9, 8 };
static const struct paging paging_5 = { 5, 9, 8 };

struct walk {
	const struct gwalk_state *st;
	const struct paging *paging;
	u64 linear;
	u64 table;		/* gpa of the table at the current level */
	u64 reserved;		/* must be clear in every entry */
	u64 allowed;		/* AND of all entries: W and U */
	u64 nx;			/* OR of all entries: NX */
	u32 access;
	u8 level;		/* of the entry last read; the leaf's, at the end */
	u64 gpa[MAX_LEVELS + 1];
	u64 entry[MAX_LEVELS + 1];
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
	    ((st->cr4 & CR4_SMEP) ||
	     ((st->cr4 & CR4_PAE) && (st->efer & EFER_NXE))))
		code |= GWALK_PF_I;
	res->error_code = code;
	return -EFAULT;
}

static unsigned int level_shift(const struct walk *w, unsigned int level)
{
	return 12 + (level - 1) * w->paging->index_bits;
}

/* Does this entry of level 2 or higher map a page itself? */
static bool is_large(const struct walk *w, u64 entry)
{
	if (!(entry & ENTRY_PS))
		return false;
	if (w->paging == &paging_32)
		return w->st->cr4 & CR4_PSE;
	return w->level == 2 || (w->level == 3 && w->st->gbpages);
}

/*
 * Reserved bits beyond w->reserved. Of a 4 MiB page, bits 20 to 13 are address
 * bits 39 to 32 (PSE-36, SDM vol. 3 §4.3), as far as the CPU has them.
 */
static u64 reserved_here(const struct walk *w, bool large)
{
	if (w->level == 1)
		return 0;
	if (!large)
		return w->paging == &paging_32 || w->level == 2 ? 0 : ENTRY_PS;
	if (w->paging == &paging_32)
		return bits(21, w->st->phys_bits < 40 ?
				w->st->phys_bits - 32 + 13 : 21);
	return bits(level_shift(w, w->level) - 1, 13);
}

/* Read and judge the entry of w->level. Returns 1 for a leaf, 0 to go on. */
static int step(struct walk *w, struct gwalk_result *res)
{
	const struct gwalk_state *st = w->st;
	const struct paging *paging = w->paging;
	u64 index = (w->linear >> level_shift(w, w->level)) &
		    ((1U << paging->index_bits) - 1);
	u64 gpa = w->table + index * paging->entry_size;
	u64 entry = 0;
	bool large;
	int err;

	err = st->read_entry(st->priv, gpa, &entry, paging->entry_size);
	if (err)
		return err;
	if (!(entry & ENTRY_P))
		return page_fault(w, res, 0);
	large = w->level > 1 && is_large(w, entry);
	if (entry & (w->reserved | reserved_here(w, large)))
		return page_fault(w, res, GWALK_PF_P | GWALK_PF_RSVD);

	w->gpa[w->level] = gpa;
	w->entry[w->level] = entry;
	w->allowed &= entry;
	w->nx |= entry & ENTRY_NX;
	if (large || w->level == 1)
		return 1;
	w->table = entry & bits(ADDRESS_BITS - 1, 12);
	return 0;
}

/* The top of PAE paging has a format of its own (SDM vol. 3 §4.4.1). */
static int step_pdpte(struct walk *w, struct gwalk_result *res)
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
	if (entry & (bits(63, st->phys_bits) | bits(8, 5) | bits(2, 1)))
		return page_fault(w, res, GWALK_PF_P | GWALK_PF_RSVD);
	w->table = entry & bits(ADDRESS_BITS - 1, 12);
	return 0;
}

/* From the registers to the first table. */
static int start(struct walk *w, struct gwalk_result *res)
{
	const struct gwalk_state *st = w->st;

	w->allowed = ENTRY_W | ENTRY_U;
	w->nx = 0;
	w->level = w->paging->levels;
	if (w->paging == &paging_32) {
		w->reserved = 0;
		w->table = st->cr3 & bits(31, 12);
		return 0;
	}
	w->reserved = st->efer & EFER_NXE ? 0 : ENTRY_NX;
	if (w->paging == &paging_pae) {
		w->reserved |= bits(62, st->phys_bits);
		return step_pdpte(w, res);
	}
	w->reserved |= bits(ADDRESS_BITS - 1, st->phys_bits);
	w->table = st->cr3 & bits(st->phys_bits - 1, 12);
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

	if (!(st->cr4 & CR4_PKE) || !(st->efer & EFER_LMA) ||
	    !(w->allowed & ENTRY_U) || (w->access & GWALK_FETCH))
		return 0;
	rights = st->pkru >> (2 * ENTRY_PKEY(w->entry[w->level]));
	if (rights & 1)
		return DENY_READ | DENY_WRITE;
	if ((rights & 2) && ((st->cr0 & CR0_WP) || is_user(w)))
		return DENY_WRITE;
	return 0;
}

/* May supervisor-mode code touch a user-mode address at all (§4.6.1)? */
static bool supervisor_allowed(const struct walk *w)
{
	const struct gwalk_state *st = w->st;

	if (w->access & GWALK_FETCH)
		return !(st->cr4 & CR4_SMEP);
	if (!(st->cr4 & CR4_SMAP))
		return true;
	return (st->rflags & RFLAGS_AC) && !(w->access & GWALK_IMPLICIT);
}

/* Compare what is asked with what the tables allow. */
static int check(const struct walk *w, struct gwalk_result *res)
{
	bool user_page = w->allowed & ENTRY_U;
	bool user = is_user(w);
	u32 denied = keys_deny(w);
	bool ok;

	res->writable = !(denied & DENY_WRITE) &&
			((w->allowed & ENTRY_W) ||
			 (!user && !(w->st->cr0 & CR0_WP)));

	ok = user ? user_page : !user_page || supervisor_allowed(w);
	if (w->access & GWALK_FETCH)
		ok = ok && !(w->nx & ENTRY_NX);
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
	unsigned int level;
	u64 old, new;
	int err;

	for (level = w->paging->levels; level >= w->level; level--) {
		old = w->entry[level];
		new = old | ENTRY_A;
		if (level == w->level && (w->access & GWALK_WRITE))
			new |= ENTRY_D;
		if (new == old)
			continue;
		err = st->cmpxchg_entry(st->priv, w->gpa[level], old, new,
					w->paging->entry_size);
		if (err)
			return err;
	}
	return 0;
}

static u64 leaf_address(const struct walk *w, unsigned int shift)
{
	u64 leaf = w->entry[w->level];
	u64 offset = bits(shift - 1, 0);
	u64 page = leaf & bits(ADDRESS_BITS - 1, 12) & ~offset;

	if (w->paging == &paging_32 && w->level == 2)
		page |= (leaf & bits(20, 13)) << (32 - 13);
	return page | (w->linear & offset);
}

static int attempt(struct walk *w, struct gwalk_result *res)
{
	unsigned int shift;
	int ret;

	ret = start(w, res);
	if (ret)
		return ret;
	for (;;) {
		ret = step(w, res);
		if (ret < 0)
			return ret;
		if (ret)
			break;
		w->level--;
	}
	ret = check(w, res);
	if (ret)
		return ret;
	if (w->st->cmpxchg_entry) {
		ret = mark(w);
		if (ret)
			return ret;
	}
	shift = level_shift(w, w->level);
	res->page_shift = shift;
	res->gpa = leaf_address(w, shift);
	return 0;
}

int gwalk(const struct gwalk_state *st, u64 linear, u32 access,
	  struct gwalk_result *res)
{
	struct walk w;
	int i, ret;

	if (!(st->efer & EFER_LMA))
		linear = (u32)linear;
	res->error_code = 0;
	if (!(st->cr0 & CR0_PG)) {
		res->gpa = linear;
		res->page_shift = 32;
		res->writable = true;
		return 0;
	}

	w.st = st;
	w.table = 0;
	w.linear = linear;
	w.access = access;
	if (st->efer & EFER_LMA)
		w.paging = st->cr4 & CR4_LA57 ? &paging_5 : &paging_4;
	else
		w.paging = st->cr4 & CR4_PAE ? &paging_pae : &paging_32;

	for (i = 0; i < MAX_ATTEMPTS; i++) {
		ret = attempt(&w, res);
		if (ret != -EAGAIN)
			return ret;
	}
	return -EAGAIN;
}
KILN_EXPORT_FOR_KUNIT(gwalk);
