// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vring engine; see vring.h.
 *
 * A chain is walked by one loop, kiln_vring_pop(), whichever kind of ring it is
 * in and whether its descriptors lie in the ring or in an indirect table: what
 * differs is where the next descriptor is. Then the ring is advanced. Giving
 * back differs more: a split ring has a used ring, a packed one is written over.
 *
 * Barriers: the guest fills a chain in, then shows it with an index or a flag;
 * the engine reads that, then smp_rmb(), then the chain. In the other direction
 * data, smp_wmb(), index or flag. Who wants to be told of news writes that down,
 * then smp_mb(), then looks once more; who has news writes them, then smp_mb(),
 * then looks whether to tell. The guest's drivers have the counterparts.
 *
 * This file is built for the kernel, for KUnit and for user space: how memory
 * is touched is the business of the header below.
 */
#ifdef KILN_VRING_MEMORY
#include "vring_memory.h"
#else
#include "vring_access.h"
#endif

#define DESC_SIZE	sizeof(struct vring_desc)

/* Of either ring or of an indirect table. */
struct desc {
	u64 addr;
	u32 len;
	u16 flags;
	u16 next;	/* packed: the buffer's id */
};

/*
 * A chain being walked: its current descriptor and where it lies. In a ring or
 * table of @size descriptors at most that many can follow each other without
 * one coming twice; @left is how many more of them there may be.
 */
struct walk {
	struct desc desc;
	u64 table;
	u32 size;
	u32 index;
	u32 left;
	u16 id;
	u16 nr;
	bool in_table;
	bool wrap;
	bool writable;
};

int kiln_vring_break(struct kiln_vring *vr, int error, const char *cause)
{
	if (!vr->broken) {
		vr->cause = cause;
		/* who sees the errno sees the cause */
		smp_store_release(&vr->broken, error);
	}
	return vr->broken;
}

static int gone(struct kiln_vring *vr, const char *cause)
{
	return kiln_vring_break(vr, -EFAULT, cause);
}

static int rule(struct kiln_vring *vr, const char *cause)
{
	return kiln_vring_break(vr, -EINVAL, cause);
}

/* Where things are: virtio 1.2 §2.7.5, §2.7.6, §2.7.8; §2.8.13, §2.8.14 */

static unsigned long desc_at(const struct kiln_vring *vr, u32 index)
{
	return vr->desc + index * DESC_SIZE;
}

static unsigned long desc_rest_at(const struct kiln_vring *vr, u32 index)
{
	return desc_at(vr, index) + offsetof(struct vring_raw, rest);
}

static unsigned long avail_entry_at(const struct kiln_vring *vr, u16 index)
{
	return vr->avail + offsetof(struct vring_avail, ring) +
	       (index & (vr->num - 1)) * sizeof(__le16);
}

static unsigned long used_entry_at(const struct kiln_vring *vr, u16 index)
{
	return vr->used + offsetof(struct vring_used, ring) +
	       (index & (vr->num - 1)) * sizeof(struct vring_used_elem);
}

static size_t avail_size(u32 num)
{
	return offsetof(struct vring_avail, ring) + num * sizeof(__le16);
}

static size_t used_size(u32 num)
{
	return offsetof(struct vring_used, ring) +
	       num * sizeof(struct vring_used_elem);
}

/* The index the other side wants to hear of stands behind each ring. */
static unsigned long used_event_at(const struct kiln_vring *vr)
{
	return vr->avail + avail_size(vr->num);
}

static unsigned long avail_event_at(const struct kiln_vring *vr)
{
	return vr->used + used_size(vr->num);
}

/* Set-up */

static bool aligned(const struct kiln_vring *vr)
{
	return !(vr->desc % VRING_DESC_ALIGN_SIZE) &&
	       !(vr->avail % (vr->packed ? 4 : VRING_AVAIL_ALIGN_SIZE)) &&
	       !(vr->used % VRING_USED_ALIGN_SIZE);
}

static bool accessible(const struct kiln_vring *vr)
{
	size_t event = sizeof(struct vring_packed_desc_event);
	size_t avail = vr->packed ? event : avail_size(vr->num) + 2;
	size_t used = vr->packed ? event : used_size(vr->num) + 2;

	return vring_may_access(vr, vr->desc, vr->num * DESC_SIZE) &&
	       vring_may_access(vr, vr->avail, avail) &&
	       vring_may_access(vr, vr->used, used);
}

static bool valid_num(const struct kiln_vring *vr)
{
	if (!vr->num || vr->num > KILN_VRING_MAX_NUM)
		return false;
	return vr->packed || !(vr->num & (vr->num - 1));
}

int kiln_vring_setup(struct kiln_vring *vr, struct kiln_mmu *mmu,
		     const struct kiln_vring_config *config)
{
	u64 features = config->features;
	struct kiln_vring new = {
		.mmu = mmu,
		.num = config->num,
		.packed = features & BIT_ULL(VIRTIO_F_RING_PACKED),
		.indirect = features & BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC),
		.event_idx = features & BIT_ULL(VIRTIO_RING_F_EVENT_IDX),
		.in_order = features & BIT_ULL(VIRTIO_F_IN_ORDER),
		.avail_wrap = true,
		.used_wrap = true,
		.desc = config->desc,
		.avail = config->avail,
		.used = config->used,
	};

	if (!valid_num(&new) || !aligned(&new))
		return -EINVAL;
	if (!accessible(&new))
		return -EFAULT;
	if (!new.packed &&
	    vring_get16(&new, new.used + offsetof(struct vring_used, idx),
			&new.used_idx))
		return -EFAULT;
	*vr = new;
	return 0;
}

#define WRAP_COUNTER	BIT(15)

/* The halves of a packed ring's base, and what event suppression holds. */
static u16 position(u16 index, bool wrap)
{
	return index | (wrap ? WRAP_COUNTER : 0);
}

int kiln_vring_set_base(struct kiln_vring *vr, u32 base)
{
	u16 avail = base & 0xffff, used = base >> 16;

	if (!vr->packed) {
		if (base > U16_MAX)
			return -EINVAL;
		vr->avail_idx = avail;
		vr->avail_seen = avail;
		return 0;
	}
	if ((avail & ~WRAP_COUNTER) >= vr->num ||
	    (used & ~WRAP_COUNTER) >= vr->num)
		return -EINVAL;
	vr->avail_idx = avail & ~WRAP_COUNTER;
	vr->avail_wrap = avail & WRAP_COUNTER;
	vr->used_idx = used & ~WRAP_COUNTER;
	vr->used_wrap = used & WRAP_COUNTER;
	return 0;
}

u32 kiln_vring_get_base(const struct kiln_vring *vr)
{
	if (!vr->packed)
		return vr->avail_idx;
	return position(vr->avail_idx, vr->avail_wrap) |
	       (u32)position(vr->used_idx, vr->used_wrap) << 16;
}

/* Going on by @nr descriptors in a packed ring (§2.8.1). */
static void advance(const struct kiln_vring *vr, u16 *index, bool *wrap, u16 nr)
{
	u32 next = *index + nr;

	if (next >= vr->num) {
		next -= vr->num;
		*wrap = !*wrap;
	}
	*index = next;
}

/* Is there a chain? 1, 0, or the errno of a broken ring. */

static int split_available(struct kiln_vring *vr)
{
	u16 idx;

	if (vr->avail_seen != vr->avail_idx)
		return 1;
	if (vring_get16(vr, vr->avail + offsetof(struct vring_avail, idx),
			&idx))
		return gone(vr, "the available ring is not in memory");
	if ((u16)(idx - vr->avail_idx) > vr->num)
		return rule(vr, "the available index went on by more than the ring has entries");
	if (idx == vr->avail_idx)
		return 0;
	vr->avail_seen = idx;
	/* the index before what it shows; pairs with the driver's smp_wmb() */
	smp_rmb();
	return 1;
}

static bool packed_is_available(u16 flags, bool wrap)
{
	bool avail = flags & BIT(VRING_PACKED_DESC_F_AVAIL);
	bool used = flags & BIT(VRING_PACKED_DESC_F_USED);

	return avail == wrap && used != wrap;
}

/* @rest: of the descriptor that says so; it is not to be read again. */
static int packed_available(struct kiln_vring *vr, u64 *rest)
{
	if (vring_get64(vr, desc_rest_at(vr, vr->avail_idx), rest))
		return gone(vr, "the descriptor ring is not in memory");
	if (!packed_is_available(*rest >> 48, vr->avail_wrap))
		return 0;
	/* the flags before all else; pairs with the driver's smp_wmb() */
	smp_rmb();
	return 1;
}

static int available(struct kiln_vring *vr)
{
	u64 rest;

	return vr->packed ? packed_available(vr, &rest) : split_available(vr);
}

/* Walking a chain */

/* struct vring_desc and struct vring_packed_desc */
static void decode(const struct kiln_vring *vr, const struct vring_raw *raw,
		   struct desc *desc)
{
	u16 third = raw->rest >> 32, fourth = raw->rest >> 48;

	desc->addr = raw->addr;
	desc->len = (u32)raw->rest;
	desc->flags = vr->packed ? fourth : third;
	desc->next = vr->packed ? third : fourth;
}

/* A descriptor of the ring: one more that is the chain's. */
static void walk_ring(const struct kiln_vring *vr, struct walk *w,
		      const struct vring_raw *raw)
{
	decode(vr, raw, &w->desc);
	w->nr++;
	w->left--;
	/* in the last descriptor of the chain (§2.8.6) */
	if (vr->packed)
		w->id = w->desc.next;
}

static int fetch_ring(struct kiln_vring *vr, struct walk *w)
{
	struct vring_raw raw;

	if (vring_get_raw(vr, desc_at(vr, w->index), &raw))
		return gone(vr, "the descriptor ring is not in memory");
	walk_ring(vr, w, &raw);
	if (vr->packed && !packed_is_available(w->desc.flags, w->wrap))
		return rule(vr, "a chain goes on in a descriptor that is not available");
	return 1;
}

static int fetch_table(struct kiln_vring *vr, struct walk *w)
{
	struct vring_raw raw;

	if (vring_get_guest(vr, w->table + w->index * DESC_SIZE, &raw))
		return gone(vr, "an indirect table is not in memory");
	decode(vr, &raw, &w->desc);
	w->left--;
	/* the only flag there is in such a table (§2.8.7) */
	if (vr->packed)
		w->desc.flags &= VRING_DESC_F_WRITE;
	return 1;
}

static int split_head(struct kiln_vring *vr, struct walk *w)
{
	int r = split_available(vr);
	u16 head;

	if (r <= 0)
		return r;
	if (vring_get16(vr, avail_entry_at(vr, vr->avail_idx), &head))
		return gone(vr, "the available ring is not in memory");
	if (head >= vr->num)
		return rule(vr, "a chain begins beyond the descriptor table");
	w->id = head;
	w->index = array_index_nospec(head, vr->num);
	return fetch_ring(vr, w);
}

static int packed_head(struct kiln_vring *vr, struct walk *w)
{
	struct vring_raw raw;
	int r = packed_available(vr, &raw.rest);

	if (r <= 0)
		return r;
	w->index = vr->avail_idx;
	w->wrap = vr->avail_wrap;
	if (vring_get64(vr, desc_at(vr, w->index), &raw.addr))
		return gone(vr, "the descriptor ring is not in memory");
	walk_ring(vr, w, &raw);
	return 1;
}

/* Where the current descriptor says that the next one is. */
static int split_next(struct kiln_vring *vr, struct walk *w)
{
	u16 next = w->desc.next;

	if (!(w->desc.flags & VRING_DESC_F_NEXT))
		return 0;
	if (!w->left)
		return rule(vr, "a chain is longer than its table, or loops");
	if (next >= w->size)
		return rule(vr, "a chain goes on beyond its table");
	w->index = array_index_nospec(next, w->size);
	return 1;
}

static int packed_next(struct kiln_vring *vr, struct walk *w)
{
	u16 index = w->index;

	if (w->in_table) {
		w->index++;
		return w->index < w->size;
	}
	if (!(w->desc.flags & VRING_DESC_F_NEXT))
		return 0;
	if (!w->left)
		return rule(vr, "a chain is longer than the ring");
	advance(vr, &index, &w->wrap, 1);
	w->index = index;
	return 1;
}

/* 1: there is another descriptor; 0: that was the last. */
static int walk_next(struct kiln_vring *vr, struct walk *w)
{
	int r = vr->packed ? packed_next(vr, w) : split_next(vr, w);

	if (r <= 0)
		return r;
	return w->in_table ? fetch_table(vr, w) : fetch_ring(vr, w);
}

/*
 * From a descriptor that refers to a table to the first one there. A split
 * chain may have others before it (§2.7.5.3.2), a packed one may not (§2.8.19).
 */
static int walk_enter(struct kiln_vring *vr, struct walk *w)
{
	const struct desc *desc = &w->desc;

	if (!vr->indirect)
		return rule(vr, "an indirect table, though none were negotiated");
	if (w->in_table)
		return rule(vr, "an indirect table within another");
	if (desc->flags & VRING_DESC_F_NEXT)
		return rule(vr, "a chain goes on after an indirect table");
	if (vr->packed && w->nr > 1)
		return rule(vr, "an indirect table at the end of a packed chain");
	if (!desc->len || desc->len % DESC_SIZE)
		return rule(vr, "the size of an indirect table is no number of descriptors");
	if (desc->len / DESC_SIZE > KILN_VRING_MAX_NUM)
		return rule(vr, "an indirect table is longer than any queue");
	if (desc->addr + desc->len < desc->addr)
		return rule(vr, "an indirect table wraps around the address space");
	w->in_table = true;
	w->table = desc->addr;
	w->size = desc->len / DESC_SIZE;
	w->left = w->size;
	w->index = 0;
	return fetch_table(vr, w);
}

static int bad_buffer(struct kiln_vring *vr, int error)
{
	return kiln_vring_break(vr, error, error == -EPERM ?
				"a buffer to be written is in read-only memory" :
				"a buffer is where there is no memory");
}

/* The pieces of address space that a buffer's guest addresses are. */
static int add_pieces(struct kiln_vring *vr, struct kiln_vring_chain *chain,
		      u64 gpa, u64 len, bool write)
{
	unsigned long hva;
	struct iovec *iov;
	u64 piece;
	int r;

	for (; len; len -= piece, gpa += piece) {
		if (chain->nr_out + chain->nr_in == chain->iov_max)
			return kiln_vring_break(vr, -E2BIG,
						"a chain has more pieces than the device can take");
		r = vring_translate(vr, gpa, len, write, &hva, &piece);
		if (unlikely(r))
			return bad_buffer(vr, r);
		iov = &chain->iov[chain->nr_out + chain->nr_in];
		iov->iov_base = (void __user *)hva;
		iov->iov_len = piece;
		if (write)
			chain->nr_in++;
		else
			chain->nr_out++;
	}
	return 0;
}

static int add_buffer(struct kiln_vring *vr, struct kiln_vring_chain *chain,
		      struct walk *w)
{
	const struct desc *desc = &w->desc;
	bool write = desc->flags & VRING_DESC_F_WRITE;

	if (w->writable && !write)
		return rule(vr, "a buffer to be read comes after one to be written");
	if (desc->addr + desc->len < desc->addr)
		return rule(vr, "a buffer wraps around the address space");
	w->writable = write;
	if (write)
		chain->in_len += desc->len;
	else
		chain->out_len += desc->len;
	if (chain->in_len + chain->out_len > BIT_ULL(32))
		return rule(vr, "a chain is longer than 4 GiB");
	return add_pieces(vr, chain, desc->addr, desc->len, write);
}

/* The chain is whole and good: it is the device's now. */
static int take(struct kiln_vring *vr, struct kiln_vring_chain *chain,
		const struct walk *w)
{
	if (w->nr > vr->num - vr->in_flight)
		return rule(vr, "more descriptors are available and in use than the ring has");
	vr->in_flight += w->nr;
	chain->id = w->id;
	chain->nr = w->nr;
	if (vr->packed)
		advance(vr, &vr->avail_idx, &vr->avail_wrap, w->nr);
	else
		vr->avail_idx++;
	return 1;
}

int kiln_vring_pop(struct kiln_vring *vr, struct kiln_vring_chain *chain)
{
	struct walk w = { .size = vr->num, .left = vr->num };
	int r;

	if (unlikely(vr->broken))
		return vr->broken;
	r = vr->packed ? packed_head(vr, &w) : split_head(vr, &w);
	if (r <= 0)
		return r;
	chain->nr_out = 0;
	chain->nr_in = 0;
	chain->out_len = 0;
	chain->in_len = 0;
	do {
		if (w.desc.flags & VRING_DESC_F_INDIRECT) {
			r = walk_enter(vr, &w);
			continue;
		}
		r = add_buffer(vr, chain, &w);
		if (likely(!r))
			r = walk_next(vr, &w);
	} while (r > 0);
	return r ?: take(vr, chain, &w);
}

void kiln_vring_unpop(struct kiln_vring *vr,
		      const struct kiln_vring_chain *chain)
{
	vr->in_flight -= chain->nr;
	if (!vr->packed) {
		vr->avail_idx--;
		return;
	}
	/* all the way round but for the chain, and one lap back */
	advance(vr, &vr->avail_idx, &vr->avail_wrap, vr->num - chain->nr);
	vr->avail_wrap = !vr->avail_wrap;
}

/* Giving back */

/*
 * How many of the chains in @used one entry stands for, which is that of the
 * last of them (§2.7.9, §2.8.8).
 */
static unsigned int stands_for(const struct kiln_vring *vr,
			       const struct kiln_vring_used *used,
			       unsigned int nr)
{
	unsigned int n = 1;

	while (vr->in_order && n < nr && used[n - 1].whole)
		n++;
	return n;
}

static int split_push(struct kiln_vring *vr, const struct kiln_vring_used *used,
		      unsigned int nr)
{
	const struct kiln_vring_used *last;
	unsigned int i, n;

	for (i = 0; i < nr; i += n) {
		n = stands_for(vr, used + i, nr - i);
		last = &used[i + n - 1];
		if (vring_put64(vr, used_entry_at(vr, vr->used_idx + i),
				last->id | (u64)last->written << 32))
			return -EFAULT;
	}
	vr->used_idx += nr;
	vr->unsignalled += nr;
	/* data and entries before the index; pairs with the driver's smp_rmb() */
	smp_wmb();
	return vring_put16(vr, vr->used + offsetof(struct vring_used, idx),
			   vr->used_idx);
}

/* Length, id and flags of a used descriptor: written at once. */
static u64 packed_used(const struct kiln_vring *vr,
		       const struct kiln_vring_used *used)
{
	u16 flags = used->written ? VRING_DESC_F_WRITE : 0;

	if (vr->used_wrap)
		flags |= BIT(VRING_PACKED_DESC_F_AVAIL) |
			 BIT(VRING_PACKED_DESC_F_USED);
	return used->written | (u64)used->id << 32 | (u64)flags << 48;
}

/* The first descriptor is written last: only then the guest looks further. */
static int packed_push(struct kiln_vring *vr,
		       const struct kiln_vring_used *used, unsigned int nr)
{
	unsigned long first = desc_rest_at(vr, vr->used_idx);
	unsigned int i, n;
	u64 rest, first_rest = 0;

	for (i = 0; i < nr; i += n) {
		n = stands_for(vr, used + i, nr - i);
		rest = packed_used(vr, &used[i + n - 1]);
		if (!i)
			first_rest = rest;
		else if (vring_put64(vr, desc_rest_at(vr, vr->used_idx), rest))
			return -EFAULT;
		for (; n; n--, i++) {
			advance(vr, &vr->used_idx, &vr->used_wrap, used[i].nr);
			vr->unsignalled += used[i].nr;
		}
	}
	/* data and other descriptors before it; pairs with the driver's smp_rmb() */
	smp_wmb();
	return vring_put64(vr, first, first_rest);
}

int kiln_vring_push_batch(struct kiln_vring *vr,
			  const struct kiln_vring_used *used, unsigned int nr)
{
	unsigned int i;
	int r;

	if (unlikely(vr->broken))
		return vr->broken;
	r = vr->packed ? packed_push(vr, used, nr) : split_push(vr, used, nr);
	vr->unsignalled = min(vr->unsignalled, vr->num);
	if (unlikely(r))
		return gone(vr, "the used ring is not in writable memory");
	for (i = 0; i < nr; i++)
		vr->in_flight -= used[i].nr;
	return 0;
}

int kiln_vring_push(struct kiln_vring *vr, const struct kiln_vring_chain *chain,
		    u32 written)
{
	struct kiln_vring_used used = kiln_vring_used(chain, written);

	return kiln_vring_push_batch(vr, &used, 1);
}

/* Telling the guest, and being told (§2.7.7, §2.7.10, §2.8.10) */

static bool split_wants_signal(struct kiln_vring *vr, u16 moved)
{
	u16 wanted;

	if (vring_get16(vr, vr->event_idx ? used_event_at(vr) : vr->avail,
			&wanted)) {
		gone(vr, "the available ring is not in memory");
		return false;
	}
	if (!vr->event_idx)
		return !(wanted & VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(wanted, vr->used_idx, vr->used_idx - moved);
}

/*
 * Was the descriptor passed that the guest named? Positions count from the
 * start of the current lap, so one of the lap before is negative.
 */
static bool packed_passed(const struct kiln_vring *vr, u16 event, u16 moved)
{
	bool wrap = event & WRAP_COUNTER;
	u16 index = event & ~WRAP_COUNTER;

	if (wrap != vr->used_wrap)
		index -= vr->num;
	return vring_need_event(index, vr->used_idx, vr->used_idx - moved);
}

static bool packed_wants_signal(struct kiln_vring *vr, u16 moved)
{
	u32 wanted;

	/* both halves of struct vring_packed_desc_event at once */
	if (vring_get32(vr, vr->avail, &wanted)) {
		gone(vr, "the driver's event suppression is not in memory");
		return false;
	}
	switch (wanted >> 16 & 3) {
	case VRING_PACKED_EVENT_FLAG_ENABLE:
		return true;
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		if (vr->event_idx)
			return packed_passed(vr, wanted, moved);
		rule(vr, "an event index, though none were negotiated");
		return false;
	}
	rule(vr, "reserved flags of event suppression");
	return false;
}

bool kiln_vring_should_signal(struct kiln_vring *vr)
{
	u16 moved = vr->unsignalled;

	if (vr->broken || !moved)
		return false;
	vr->unsignalled = 0;
	/* news before the wish; pairs with that of a driver that wants them */
	smp_mb();
	return vr->packed ? packed_wants_signal(vr, moved) :
			    split_wants_signal(vr, moved);
}

static int split_write_kicks(struct kiln_vring *vr, bool on)
{
	/* flags stay 0, and the index where it is: passed soon enough */
	if (vr->event_idx)
		return on ? vring_put16(vr, avail_event_at(vr), vr->avail_idx) :
			    0;
	return vring_put16(vr, vr->used, on ? 0 : VRING_USED_F_NO_NOTIFY);
}

static int packed_write_kicks(struct kiln_vring *vr, bool on)
{
	u32 flags = VRING_PACKED_EVENT_FLAG_DISABLE;

	if (on)
		flags = vr->event_idx ? VRING_PACKED_EVENT_FLAG_DESC :
					VRING_PACKED_EVENT_FLAG_ENABLE;
	return vring_put32(vr, vr->used,
			   position(vr->avail_idx, vr->avail_wrap) |
			   flags << 16);
}

static void write_kicks(struct kiln_vring *vr, bool on)
{
	vr->kicks = on ? KILN_VRING_KICKS_ON : KILN_VRING_KICKS_OFF;
	if (vr->packed ? packed_write_kicks(vr, on) : split_write_kicks(vr, on))
		gone(vr, "the used ring is not in writable memory");
}

void kiln_vring_disable_kicks(struct kiln_vring *vr)
{
	if (!vr->broken && vr->kicks != KILN_VRING_KICKS_OFF)
		write_kicks(vr, false);
}

bool kiln_vring_enable_kicks(struct kiln_vring *vr)
{
	/* an index has to be written anew each time */
	if (!vr->broken && (vr->event_idx || vr->kicks != KILN_VRING_KICKS_ON))
		write_kicks(vr, true);
	/* the wish before news; pairs with that of a driver that has some */
	smp_mb();
	return !kiln_vring_empty(vr);
}

bool kiln_vring_empty(struct kiln_vring *vr)
{
	return vr->broken || available(vr) <= 0;
}
