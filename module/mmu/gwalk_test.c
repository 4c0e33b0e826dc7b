// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest page-table walker against 64 KiB of guest memory. Rights are
 * compared with expect_rights(), which says SDM vol. 3 §4.6 and §4.7 again in
 * the manual's own order, for every combination of what they depend on.
 */
#include <kunit/test.h>
#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/string.h>
#include <linux/types.h>

#include "gwalk.h"
#include "gwalk_test.h"

#define GW_CR0_WP	BIT_ULL(16)
#define GW_CR0_PG	BIT_ULL(31)
#define GW_CR4_PSE	BIT_ULL(4)
#define GW_CR4_PAE	BIT_ULL(5)
#define GW_CR4_LA57	BIT_ULL(12)
#define GW_CR4_PCIDE	BIT_ULL(17)
#define GW_CR4_SMEP	BIT_ULL(20)
#define GW_CR4_SMAP	BIT_ULL(21)
#define GW_CR4_PKE	BIT_ULL(22)
#define GW_EFER_LMA	BIT_ULL(10)
#define GW_EFER_NXE	BIT_ULL(11)
#define GW_RFLAGS_AC	BIT_ULL(18)

#define P		0x001ULL
#define W		0x002ULL
#define U		0x004ULL
#define A		0x020ULL
#define D		0x040ULL
#define PS		0x080ULL
#define NX		BIT_ULL(63)
#define PKEY(key)	((u64)(key) << 59)

#define MEMORY_SIZE	0x10000
#define TABLE(n)	((n) * 0x1000ULL)	/* gpa of the n-th table */
#define RWU		(P | W | U)
#define HUGE_GPA	0x0123c0000000ULL	/* 1 GiB-aligned */

struct memory {
	struct gwalk_state st;
	u64 pdpte[4];
	u8 *bytes;
	unsigned int reads, updates;
	unsigned int changes;		/* cmpxchg fails that many times */
	u64 change_to;			/* ... the entry now being this */
	int error;			/* answer of the callbacks */
};

static int read_entry(void *priv, u64 gpa, void *entry, unsigned int size)
{
	struct memory *m = priv;

	m->reads++;
	if (m->error)
		return m->error;
	if (gpa % size || gpa + size > MEMORY_SIZE)
		return -ENOENT;
	memcpy(entry, m->bytes + gpa, size);
	return 0;
}

static int cmpxchg_entry(void *priv, u64 gpa, u64 old, u64 new,
			 unsigned int size)
{
	struct memory *m = priv;

	m->updates++;
	if (m->changes) {
		m->changes--;
		memcpy(m->bytes + gpa, &m->change_to, size);
		return -EAGAIN;
	}
	if (memcmp(m->bytes + gpa, &old, size))
		return -EAGAIN;
	memcpy(m->bytes + gpa, &new, size);
	return 0;
}

static u64 get(const struct memory *m, u64 gpa)
{
	u64 entry;

	memcpy(&entry, m->bytes + gpa, sizeof(entry));
	return entry;
}

static void put(struct memory *m, u64 gpa, u64 entry)
{
	memcpy(m->bytes + gpa, &entry, sizeof(entry));
}

static void put32(struct memory *m, u64 gpa, u32 entry)
{
	memcpy(m->bytes + gpa, &entry, sizeof(entry));
}

/* Supervisor, WP, no page yet. */
static void memory_init(struct kunit *test, struct memory *m)
{
	memset(m, 0, sizeof(*m));
	m->bytes = kunit_kzalloc(test, MEMORY_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, m->bytes);
	m->st.cr0 = GW_CR0_PG | GW_CR0_WP;
	m->st.cr3 = TABLE(1);
	m->st.phys_bits = 46;
	m->st.gbpages = true;
	m->st.read_entry = read_entry;
	m->st.cmpxchg_entry = cmpxchg_entry;
	m->st.priv = m;
}

static void use_32(struct memory *m)
{
	m->st.cr4 = GW_CR4_PSE;
}

static void use_pae(struct memory *m)
{
	m->st.cr4 = GW_CR4_PAE;
	m->st.efer = GW_EFER_NXE;
}

static void use_4_levels(struct memory *m)
{
	m->st.cr4 = GW_CR4_PAE;
	m->st.efer = GW_EFER_LMA | GW_EFER_NXE;
}

/*
 * Linear addresses 0 and up: tables 1 (top) to 4 in 4-level paging, one entry
 * each, leading to @leaf at @level.
 */
static void map(struct memory *m, unsigned int level, u64 leaf)
{
	unsigned int i;

	for (i = 4; i > level; i--)
		put(m, TABLE(5 - i), TABLE(6 - i) | RWU);
	put(m, TABLE(5 - level), leaf | (level > 1 ? PS : 0));
}

static void expect_page(struct kunit *test, struct memory *m, u64 linear,
			u64 gpa, unsigned int shift)
{
	struct gwalk_result res;

	KUNIT_EXPECT_EQ_MSG(test, gwalk(&m->st, linear, 0, &res), 0, "%llx",
			    linear);
	KUNIT_EXPECT_EQ_MSG(test, res.gpa, gpa, "%llx", linear);
	KUNIT_EXPECT_EQ_MSG(test, res.page_shift, shift, "%llx", linear);
}

static void expect_fault(struct kunit *test, struct memory *m, u64 linear,
			 u32 access, u32 code)
{
	struct gwalk_result res;

	KUNIT_EXPECT_EQ_MSG(test, gwalk(&m->st, linear, access, &res), -EFAULT,
			    "%llx access %u", linear, access);
	KUNIT_EXPECT_EQ_MSG(test, res.error_code, code, "%llx access %u",
			    linear, access);
}

static void without_paging_addresses_are_physical(struct kunit *test)
{
	struct gwalk_result res;
	struct memory m;

	memory_init(test, &m);
	m.st.cr0 = 0;
	KUNIT_EXPECT_EQ(test, gwalk(&m.st, 0x1fee00300ULL, GWALK_WRITE, &res),
			0);
	KUNIT_EXPECT_EQ(test, res.gpa, 0xfee00300);
	KUNIT_EXPECT_TRUE(test, res.writable);
	KUNIT_EXPECT_EQ(test, m.reads, 0);
}

static void paging_32_maps_4_kib(struct kunit *test)
{
	struct memory m;

	memory_init(test, &m);
	use_32(&m);
	put32(&m, TABLE(1) + 4 * 0x3fb, TABLE(2) | RWU);
	put32(&m, TABLE(2) + 4 * 0x200, 0xfee00000 | RWU);
	expect_page(test, &m, 0xfee00320, 0xfee00320, 12);
	expect_page(test, &m, 0x5fee00320, 0xfee00320, 12);
	KUNIT_EXPECT_EQ(test, (u32)get(&m, TABLE(2) + 4 * 0x200),
			0xfee00000 | RWU | A);
}

static void paging_32_maps_4_mib(struct kunit *test)
{
	struct memory m;

	memory_init(test, &m);
	use_32(&m);
	put32(&m, TABLE(1) + 4 * 3, 0x80000000 | RWU | PS);
	expect_page(test, &m, 0x00c12345, 0x80012345, 22);
	/* PSE-36: bits 20 to 13 are address bits 39 to 32 */
	put32(&m, TABLE(1) + 4 * 3, 0x80000000 | 0xab << 13 | RWU | PS);
	expect_page(test, &m, 0x00c12345, 0xab80012345, 22);
	/* without CR4.PSE, PS is ignored */
	m.st.cr4 = 0;
	put32(&m, TABLE(1) + 4 * 3, TABLE(2) | RWU | PS);
	put32(&m, TABLE(2) + 4 * 0x12, 0x7000 | RWU);
	expect_page(test, &m, 0x00c12345, 0x7345, 12);
}

static void pae_maps_4_kib_and_2_mib(struct kunit *test)
{
	struct memory m;

	memory_init(test, &m);
	use_pae(&m);
	m.st.cr3 = TABLE(1) + 0x20;
	put(&m, TABLE(1) + 0x20 + 8 * 3, TABLE(2) | P);
	put(&m, TABLE(2) + 8 * 0x1f7, TABLE(3) | RWU);
	put(&m, TABLE(3), 0x123fee00000ULL | RWU);
	put(&m, TABLE(2) + 8 * 5, 0x12340000000ULL | RWU | PS);
	expect_page(test, &m, 0xfee00320, 0x123fee00320ULL, 12);
	expect_page(test, &m, 0xc0a12345, 0x12340012345ULL, 21);
	/* those the CPU holds win over those in memory */
	m.pdpte[0] = TABLE(2) | P;
	m.st.pdpte = m.pdpte;
	expect_page(test, &m, 0x00a12345, 0x12340012345ULL, 21);
	expect_fault(test, &m, 0xfee00320, 0, 0);
}

static void four_levels_map_4_kib_2_mib_and_1_gib(struct kunit *test)
{
	struct memory m;

	memory_init(test, &m);
	use_4_levels(&m);
	map(&m, 1, 0x123456789000ULL | RWU);
	expect_page(test, &m, 0xabc, 0x123456789abcULL, 12);
	map(&m, 2, 0x123456600000ULL | RWU);
	expect_page(test, &m, 0x1abcde, 0x1234567abcdeULL, 21);
	map(&m, 3, HUGE_GPA | RWU);
	expect_page(test, &m, 0x3abcdef0, HUGE_GPA + 0x3abcdef0, 30);
}

static void each_level_takes_its_own_bits(struct kunit *test)
{
	const u64 linear = 0xffff8123456789abULL;
	unsigned int level;
	struct memory m;

	memory_init(test, &m);
	use_4_levels(&m);
	for (level = 4; level >= 1; level--)
		put(&m, TABLE(5 - level) +
		    8 * ((linear >> (12 + 9 * (level - 1))) & 0x1ff),
		    level == 1 ? 0x5000 | RWU : TABLE(6 - level) | RWU);
	expect_page(test, &m, linear, 0x59ab, 12);
	KUNIT_EXPECT_EQ(test, m.reads, 4);
}

static void five_levels_use_one_more(struct kunit *test)
{
	struct memory m;

	memory_init(test, &m);
	use_4_levels(&m);
	map(&m, 1, 0x5000 | RWU);
	m.st.cr4 |= GW_CR4_LA57;
	m.st.cr3 = TABLE(6);
	put(&m, TABLE(6) + 8 * 0x13, TABLE(1) | RWU);
	expect_page(test, &m, 0x13ULL << 48 | 0x123, 0x5123, 12);
	expect_fault(test, &m, 0x123, 0, 0);
}

static void cr3_ignores_pcid_and_cache_bits(struct kunit *test)
{
	struct memory m;

	memory_init(test, &m);
	use_4_levels(&m);
	m.st.cr4 |= GW_CR4_PCIDE;
	m.st.cr3 |= 0xfff | 1ULL << 63;
	map(&m, 1, 0x5000 | RWU);
	expect_page(test, &m, 0x123, 0x5123, 12);
}

/* Whatever is asked, and at whatever level it is missing. */
static void absent_entries_fault_without_p(struct kunit *test)
{
	unsigned int level;
	struct memory m;

	for (level = 1; level <= 4; level++) {
		memory_init(test, &m);
		use_4_levels(&m);
		map(&m, 1, 0x5000 | RWU);
		put(&m, TABLE(5 - level), ~P);
		expect_fault(test, &m, 0, 0, 0);
		expect_fault(test, &m, 0, GWALK_WRITE, GWALK_PF_W);
		expect_fault(test, &m, 0, GWALK_FETCH, GWALK_PF_I);
		m.st.cpl = 3;
		expect_fault(test, &m, 0, GWALK_WRITE, GWALK_PF_W | GWALK_PF_U);
		expect_fault(test, &m, 0, GWALK_IMPLICIT, 0);
		KUNIT_EXPECT_EQ(test, m.updates, 0);
	}
}

/* I is reported only where the CPU can tell fetches apart. */
static void fetch_is_reported_with_nxe_or_smep(struct kunit *test)
{
	struct memory m;

	memory_init(test, &m);
	use_32(&m);
	expect_fault(test, &m, 0, GWALK_FETCH, 0);
	m.st.cr4 |= GW_CR4_SMEP;
	expect_fault(test, &m, 0, GWALK_FETCH, GWALK_PF_I);
	m.st.cr4 = 0;
	m.st.efer = GW_EFER_NXE;
	expect_fault(test, &m, 0, GWALK_FETCH, 0);
	m.st.cr4 = GW_CR4_PAE;
	expect_fault(test, &m, 0, GWALK_FETCH, GWALK_PF_I);
	m.st.efer = 0;
	expect_fault(test, &m, 0, GWALK_FETCH, 0);
}

/* Set each bit of an otherwise good entry: which make it a RSVD fault? */
static u64 reserved_bits(struct memory *m, u64 gpa, u64 entry, u64 linear)
{
	struct gwalk_result res;
	u64 reserved = 0;
	unsigned int i;

	for (i = 1; i < 64; i++) {
		put(m, gpa, entry | 1ULL << i);
		if (gwalk(&m->st, linear, 0, &res) == -EFAULT &&
		    (res.error_code & GWALK_PF_RSVD))
			reserved |= 1ULL << i;
	}
	put(m, gpa, entry);
	return reserved;
}

#define BITS(hi, lo)	((~0ULL >> (63 - (hi))) & (~0ULL << (lo)))

static void reserved_bits_of_4_levels(struct kunit *test)
{
	const u64 address = BITS(51, 46);
	struct memory m;

	memory_init(test, &m);
	use_4_levels(&m);
	map(&m, 1, 0x5000 | RWU);
	KUNIT_EXPECT_EQ(test, reserved_bits(&m, TABLE(4), 0x5000 | RWU, 0),
			address);
	KUNIT_EXPECT_EQ(test, reserved_bits(&m, TABLE(1), TABLE(2) | RWU, 0),
			address | PS);
	/* with PS, the table's address has a bit a 2 MiB page must not have */
	KUNIT_EXPECT_EQ(test, reserved_bits(&m, TABLE(3), TABLE(4) | RWU, 0),
			address | PS);
	map(&m, 2, 0x40000000 | RWU);
	KUNIT_EXPECT_EQ(test, reserved_bits(&m, TABLE(3),
					    0x40000000 | RWU | PS, 0),
			address | BITS(20, 13));
	map(&m, 3, HUGE_GPA | RWU);
	KUNIT_EXPECT_EQ(test, reserved_bits(&m, TABLE(2), HUGE_GPA | RWU | PS,
					    0),
			address | BITS(29, 13));
	m.st.gbpages = false;
	expect_fault(test, &m, 0, 0, GWALK_PF_P | GWALK_PF_RSVD);
	m.st.gbpages = true;
	m.st.efer = GW_EFER_LMA;
	KUNIT_EXPECT_EQ(test, reserved_bits(&m, TABLE(2), HUGE_GPA | RWU | PS,
					    0),
			address | BITS(29, 13) | NX);
	m.st.phys_bits = 52;
	KUNIT_EXPECT_EQ(test, reserved_bits(&m, TABLE(2), HUGE_GPA | RWU | PS,
					    0),
			BITS(29, 13) | NX);
}

/* A page of 512 GiB or more there is not: PS of a higher level is reserved. */
static void large_pages_end_at_1_gib(struct kunit *test)
{
	struct memory m;

	memory_init(test, &m);
	use_4_levels(&m);
	put(&m, TABLE(1), RWU | PS);
	expect_fault(test, &m, 0, 0, GWALK_PF_P | GWALK_PF_RSVD);
	m.st.cr4 |= GW_CR4_LA57;
	expect_fault(test, &m, 0, 0, GWALK_PF_P | GWALK_PF_RSVD);
}

static void reserved_bits_of_pae(struct kunit *test)
{
	struct memory m;

	memory_init(test, &m);
	use_pae(&m);
	put(&m, TABLE(1), TABLE(2) | P);
	put(&m, TABLE(2), 0x40000000 | RWU | PS);
	/* bit 5, too, by the manual; see read_pdpte() */
	KUNIT_EXPECT_EQ(test, reserved_bits(&m, TABLE(1), TABLE(2) | P, 0),
			BITS(63, 46) | BITS(8, 6) | BITS(2, 1));
	KUNIT_EXPECT_EQ(test, reserved_bits(&m, TABLE(2),
					    0x40000000 | RWU | PS, 0),
			BITS(62, 46) | BITS(20, 13));
	put(&m, TABLE(2), TABLE(3) | RWU);
	KUNIT_EXPECT_EQ(test, reserved_bits(&m, TABLE(3), 0x5000 | RWU, 0),
			BITS(62, 46));
	m.st.efer = 0;
	KUNIT_EXPECT_EQ(test, reserved_bits(&m, TABLE(3), 0x5000 | RWU, 0),
			BITS(63, 46));
}

static void reserved_bits_of_32(struct kunit *test)
{
	struct memory m;

	memory_init(test, &m);
	use_32(&m);
	put32(&m, TABLE(1), 0x40000000 | RWU | PS);
	KUNIT_EXPECT_EQ(test, reserved_bits(&m, TABLE(1),
					    0x40000000 | RWU | PS, 0),
			BITS(21, 21));
	m.st.phys_bits = 36;
	KUNIT_EXPECT_EQ(test, reserved_bits(&m, TABLE(1),
					    0x40000000 | RWU | PS, 0),
			BITS(21, 17));
	put32(&m, TABLE(1), TABLE(2) | RWU);
	KUNIT_EXPECT_EQ(test, reserved_bits(&m, TABLE(2), 0x5000 | RWU, 0), 0);
}

/* Every level must allow a write or a user, and none may forbid execution. */
static void rights_are_those_of_all_levels(struct kunit *test)
{
	unsigned int level;
	struct memory m;

	for (level = 1; level <= 4; level++) {
		memory_init(test, &m);
		use_4_levels(&m);
		map(&m, 1, 0x5000 | RWU);
		put(&m, TABLE(5 - level), get(&m, TABLE(5 - level)) & ~W);
		expect_fault(test, &m, 0, GWALK_WRITE, GWALK_PF_P | GWALK_PF_W);
		expect_page(test, &m, 0, 0x5000, 12);

		map(&m, 1, 0x5000 | RWU);
		put(&m, TABLE(5 - level), get(&m, TABLE(5 - level)) & ~U);
		m.st.cpl = 3;
		expect_fault(test, &m, 0, 0, GWALK_PF_P | GWALK_PF_U);

		map(&m, 1, 0x5000 | RWU);
		put(&m, TABLE(5 - level), get(&m, TABLE(5 - level)) | NX);
		expect_fault(test, &m, 0, GWALK_FETCH,
			     GWALK_PF_P | GWALK_PF_U | GWALK_PF_I);
		expect_page(test, &m, 0, 0x5000, 12);
	}
}

/* One combination of all that rights depend on. */
struct rights {
	bool user_page, writable, nx;
	bool wp, smep, smap, nxe, pke, ac;
	bool cpl3, implicit;
	bool key_ad, key_wd;
	bool write, fetch;
};

#define NR_RIGHTS_BITS	15

static void rights_from(struct rights *r, unsigned int bits)
{
	bool *field = &r->user_page;
	unsigned int i;

	for (i = 0; i < NR_RIGHTS_BITS; i++)
		field[i] = bits & (1 << i);
}

/* SDM vol. 3 §4.6.2: do protection keys stand against a data access? */
static bool keys_forbid(const struct rights *r, bool user_mode)
{
	if (!r->pke || !r->user_page || r->fetch)
		return false;
	if (r->key_ad)
		return true;
	return r->key_wd && r->write && (user_mode || r->wp);
}

/* SDM vol. 3 §4.6.1, for supervisor-mode accesses. */
static bool supervisor_may(const struct rights *r)
{
	bool smap_forbids = r->user_page && r->smap &&
			    (r->implicit || !r->ac);

	if (r->fetch) {
		if (r->user_page && r->smep)
			return false;
		return !r->nx;
	}
	if (smap_forbids)
		return false;
	return !r->write || !r->wp || r->writable;
}

/* The same, for user-mode accesses. */
static bool user_may(const struct rights *r)
{
	if (!r->user_page)
		return false;
	if (r->fetch)
		return !r->nx;
	return !r->write || r->writable;
}

/* §4.7: the error code, or -1 if the access is allowed. */
static int expect_rights(const struct rights *r)
{
	bool user_mode = r->cpl3 && !r->implicit;
	bool key = keys_forbid(r, user_mode);
	int code = GWALK_PF_P;

	if ((user_mode ? user_may(r) : supervisor_may(r)) && !key)
		return -1;
	if (r->write)
		code |= GWALK_PF_W;
	if (user_mode)
		code |= GWALK_PF_U;
	if (r->fetch && (r->smep || r->nxe))
		code |= GWALK_PF_I;
	if (key)
		code |= GWALK_PF_PK;
	return code;
}

static void set_rights(struct memory *m, const struct rights *r)
{
	m->st.cr0 = GW_CR0_PG | (r->wp ? GW_CR0_WP : 0);
	m->st.cr4 = GW_CR4_PAE | (r->smep ? GW_CR4_SMEP : 0) |
		    (r->smap ? GW_CR4_SMAP : 0) | (r->pke ? GW_CR4_PKE : 0);
	m->st.efer = GW_EFER_LMA | (r->nxe ? GW_EFER_NXE : 0);
	m->st.rflags = r->ac ? GW_RFLAGS_AC : 0;
	m->st.cpl = r->cpl3 ? 3 : 0;
	/* key 5; all the others forbid everything */
	m->st.pkru = (~0U & ~(3 << 10)) | (u32)r->key_ad << 10 |
		     (u32)r->key_wd << 11;
	put(m, TABLE(4), 0x5000 | P | PKEY(5) | (r->writable ? W : 0) |
	    (r->user_page ? U : 0) | (r->nx ? NX : 0));
}

static void rights_are_those_of_the_manual(struct kunit *test)
{
	struct gwalk_result res;
	unsigned int bits, bad = 0;
	struct rights r;
	struct memory m;
	int want, got;
	u32 access;

	memory_init(test, &m);
	map(&m, 1, 0x5000 | RWU);
	for (bits = 0; bits < 1 << NR_RIGHTS_BITS; bits++) {
		rights_from(&r, bits);
		/* no such access; NX without NXE is a reserved bit */
		if ((r.write && r.fetch) || (r.nx && !r.nxe))
			continue;
		set_rights(&m, &r);
		access = (r.write ? GWALK_WRITE : 0) |
			 (r.fetch ? GWALK_FETCH : 0) |
			 (r.implicit ? GWALK_IMPLICIT : 0);
		want = expect_rights(&r);
		got = gwalk(&m.st, 0x123, access, &res) ?
		      (int)res.error_code : -1;
		if (got != want || (r.write && got == -1 && !res.writable))
			bad++;
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
}

/* With LMA clear there are no protection keys, whatever CR4 says. */
static void keys_need_ia_32e_mode(struct kunit *test)
{
	struct memory m;

	memory_init(test, &m);
	use_pae(&m);
	m.st.cr4 |= GW_CR4_PKE;
	m.st.pkru = ~0U;
	put(&m, TABLE(1), TABLE(2) | P);
	put(&m, TABLE(2), 0x40000000 | RWU | PS);
	expect_page(test, &m, 0x123, 0x40000123, 21);
}

static void accessed_and_dirty_are_set_as_used(struct kunit *test)
{
	struct gwalk_result res;
	struct memory m;
	unsigned int i;

	memory_init(test, &m);
	use_4_levels(&m);
	map(&m, 1, 0x5000 | RWU);
	KUNIT_EXPECT_EQ(test, gwalk(&m.st, 0, 0, &res), 0);
	for (i = 1; i <= 4; i++)
		KUNIT_EXPECT_EQ(test, get(&m, TABLE(i)) & (A | D), A);
	KUNIT_EXPECT_EQ(test, gwalk(&m.st, 0, GWALK_WRITE, &res), 0);
	for (i = 1; i <= 3; i++)
		KUNIT_EXPECT_EQ(test, get(&m, TABLE(i)) & (A | D), A);
	KUNIT_EXPECT_EQ(test, get(&m, TABLE(4)) & (A | D), A | D);
	KUNIT_EXPECT_EQ(test, m.updates, 5);
	/* nothing left to set */
	KUNIT_EXPECT_EQ(test, gwalk(&m.st, 0, GWALK_WRITE, &res), 0);
	KUNIT_EXPECT_EQ(test, m.updates, 5);
}

static void the_pdpte_of_pae_has_no_accessed_flag(struct kunit *test)
{
	struct gwalk_result res;
	struct memory m;

	memory_init(test, &m);
	use_pae(&m);
	put(&m, TABLE(1), TABLE(2) | P);
	put(&m, TABLE(2), 0x40000000 | RWU | PS);
	KUNIT_EXPECT_EQ(test, gwalk(&m.st, 0, GWALK_WRITE, &res), 0);
	KUNIT_EXPECT_EQ(test, get(&m, TABLE(1)), TABLE(2) | P);
	KUNIT_EXPECT_EQ(test, get(&m, TABLE(2)) & (A | D), A | D);
}

static void refused_accesses_mark_nothing(struct kunit *test)
{
	struct memory m;

	memory_init(test, &m);
	use_4_levels(&m);
	map(&m, 1, 0x5000 | P | U);
	expect_fault(test, &m, 0, GWALK_WRITE, GWALK_PF_P | GWALK_PF_W);
	KUNIT_EXPECT_EQ(test, m.updates, 0);
	KUNIT_EXPECT_EQ(test, get(&m, TABLE(4)), 0x5000 | P | U);
}

static void without_cmpxchg_nothing_is_marked(struct kunit *test)
{
	struct gwalk_result res;
	struct memory m;

	memory_init(test, &m);
	use_4_levels(&m);
	m.st.cmpxchg_entry = NULL;
	map(&m, 1, 0x5000 | RWU);
	KUNIT_EXPECT_EQ(test, gwalk(&m.st, 0, GWALK_WRITE, &res), 0);
	KUNIT_EXPECT_EQ(test, get(&m, TABLE(4)), 0x5000 | RWU);
}

/* An entry changed under the walk is judged again, as it now is. */
static void changed_entries_are_walked_again(struct kunit *test)
{
	struct gwalk_result res;
	struct memory m;

	memory_init(test, &m);
	use_4_levels(&m);
	map(&m, 1, 0x5000 | RWU);
	m.changes = 1;
	m.change_to = TABLE(6) | RWU;		/* in the top table */
	put(&m, TABLE(6), TABLE(3) | RWU);
	put(&m, TABLE(4), 0x7000 | RWU);
	KUNIT_EXPECT_EQ(test, gwalk(&m.st, 0, 0, &res), 0);
	KUNIT_EXPECT_EQ(test, res.gpa, 0x7000);
	KUNIT_EXPECT_EQ(test, get(&m, TABLE(6)) & A, A);

	memory_init(test, &m);
	use_4_levels(&m);
	map(&m, 1, 0x5000 | RWU);
	m.changes = 1;
	m.change_to = 0;
	expect_fault(test, &m, 0, 0, 0);
}

static void endless_changes_end(struct kunit *test)
{
	struct gwalk_result res;
	struct memory m;

	memory_init(test, &m);
	use_4_levels(&m);
	map(&m, 1, 0x5000 | RWU);
	m.changes = -1;
	m.change_to = TABLE(2) | RWU;
	KUNIT_EXPECT_EQ(test, gwalk(&m.st, 0, 0, &res), -EAGAIN);
	KUNIT_EXPECT_LE(test, m.reads, 64);
}

/* A table that is its own entry, as in recursive mappings: levels end it. */
static void tables_may_point_to_themselves(struct kunit *test)
{
	struct memory m;

	memory_init(test, &m);
	use_4_levels(&m);
	put(&m, TABLE(1), TABLE(1) | RWU);
	expect_page(test, &m, 0x123, TABLE(1) + 0x123, 12);
	/* twice: marking the entry changes what the other levels have read */
	KUNIT_EXPECT_EQ(test, m.reads, 8);
}

static void callbacks_errors_come_through(struct kunit *test)
{
	struct gwalk_result res;
	struct memory m;

	memory_init(test, &m);
	use_4_levels(&m);
	m.error = -EIO;
	KUNIT_EXPECT_EQ(test, gwalk(&m.st, 0, 0, &res), -EIO);
	/* a table outside memory */
	m.error = 0;
	m.st.cr3 = 0x100000;
	KUNIT_EXPECT_EQ(test, gwalk(&m.st, 0, 0, &res), -ENOENT);
}

/* Random tables: any answer will do, but it comes after a few reads. */
static void random_tables_are_survived(struct kunit *test)
{
	unsigned int i, j, bad = 0;
	struct gwalk_result res;
	u64 x = 88172645463325252ULL;
	struct memory m;
	int ret;

	memory_init(test, &m);
	for (i = 0; i < 20000; i++) {
		for (j = 1; j < 16; j++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			/* mostly present, mostly in memory, some reserved */
			put(&m, TABLE(j), (x & 0xfff) | P |
			    ((x >> 12) & 0xf) << 12 |
			    (x >> 62 ? 0 : x & BITS(62, 40)));
		}
		m.reads = 0;
		m.st.cr4 = x >> 8 & (GW_CR4_PSE | GW_CR4_PAE | GW_CR4_LA57 |
				     GW_CR4_SMEP | GW_CR4_SMAP | GW_CR4_PKE);
		m.st.efer = 0;
		if (x & 1) {
			m.st.cr4 |= GW_CR4_PAE;
			m.st.efer = GW_EFER_LMA;
		}
		m.st.cpl = x >> 1 & 3;
		ret = gwalk(&m.st, 0, x >> 3 & 7, &res);
		if (m.reads > 20 || (ret && ret != -EFAULT && ret != -ENOENT))
			bad++;
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
}

static struct kunit_case gwalk_cases[] = {
	KUNIT_CASE(without_paging_addresses_are_physical),
	KUNIT_CASE(paging_32_maps_4_kib),
	KUNIT_CASE(paging_32_maps_4_mib),
	KUNIT_CASE(pae_maps_4_kib_and_2_mib),
	KUNIT_CASE(four_levels_map_4_kib_2_mib_and_1_gib),
	KUNIT_CASE(each_level_takes_its_own_bits),
	KUNIT_CASE(five_levels_use_one_more),
	KUNIT_CASE(cr3_ignores_pcid_and_cache_bits),
	KUNIT_CASE(absent_entries_fault_without_p),
	KUNIT_CASE(fetch_is_reported_with_nxe_or_smep),
	KUNIT_CASE(reserved_bits_of_4_levels),
	KUNIT_CASE(large_pages_end_at_1_gib),
	KUNIT_CASE(reserved_bits_of_pae),
	KUNIT_CASE(reserved_bits_of_32),
	KUNIT_CASE(rights_are_those_of_all_levels),
	KUNIT_CASE(rights_are_those_of_the_manual),
	KUNIT_CASE(keys_need_ia_32e_mode),
	KUNIT_CASE(accessed_and_dirty_are_set_as_used),
	KUNIT_CASE(the_pdpte_of_pae_has_no_accessed_flag),
	KUNIT_CASE(refused_accesses_mark_nothing),
	KUNIT_CASE(without_cmpxchg_nothing_is_marked),
	KUNIT_CASE(changed_entries_are_walked_again),
	KUNIT_CASE(endless_changes_end),
	KUNIT_CASE(tables_may_point_to_themselves),
	KUNIT_CASE(callbacks_errors_come_through),
	KUNIT_CASE(random_tables_are_survived),
	{ }
};

struct kunit_suite gwalk_suite = {
	.name = "kiln_gwalk",
	.test_cases = gwalk_cases,
};
