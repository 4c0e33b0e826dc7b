/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The driver's side of a virtqueue, split (virtio 1.2 §2.7) or packed (§2.8), for a guest as well as for a test that
 * plays the guest: everything goes by guest-physical address, and @base is what is added to it (0 in the guest).
 *
 * As small as it can be: chains take descriptors in turn, and may only be as many as the ring has descriptors before they
 * are collected. Nothing here may call a library: it is inlined into guest code.
 */
#ifndef KILN_SELFTESTS_RING_H
#define KILN_SELFTESTS_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "guest.h"

#define RING_NEXT	1
#define RING_WRITE	2
#define RING_INDIRECT	4
#define RING_AVAIL	(1 << 7)
#define RING_USED	(1 << 15)
#define RING_NO_NOTIFY	1	/* in the flags of a ring; packed: in its event structure */

struct ring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct ring_packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

struct ring_used_elem {
	uint32_t id, len;
};

/* A piece of a buffer. */
struct ring_piece {
	uint64_t addr;
	uint32_t len;
	bool in;	/* the device writes it */
};

/*
 * Guest-physical addresses, and positions. desc, avail and used are those of struct vhost_vring_addr, less the base.
 * A ring of @num descriptors takes RING_SIZE(num) bytes from an address that is a multiple of 16.
 */
struct ring {
	uint64_t base;
	uint64_t desc, avail, used;
	uint16_t num;
	bool packed;
	bool event_idx;
	uint16_t next;		/* descriptor to be used next */
	uint16_t avail_idx;	/* split: free running; packed: = next */
	bool avail_wrap;
	uint16_t used_idx;	/* where the next used one comes */
	bool used_wrap;
	uint16_t taken[256];	/* packed: descriptors of the chain by id */
};

#define RING_ALIGN(x)	(((x) + 63) & ~63UL)
#define RING_SIZE(num)	(RING_ALIGN((num) * 16) + RING_ALIGN((num) * 2 + 6) + RING_ALIGN((num) * 8 + 6))

#define ring_at(r, type, addr)	((volatile type *)(uintptr_t)((r)->base + (addr)))

__always void ring_barrier(void) { asm volatile("mfence" : : : "memory"); }

/* The memory is expected to be zero. */
__always void ring_init(struct ring *r, uint64_t base, uint64_t at, uint16_t num, bool packed, bool event_idx)
{
	r->base = base;
	r->desc = at;
	r->avail = at + RING_ALIGN(num * 16);
	r->used = r->avail + RING_ALIGN(num * 2 + 6);
	r->num = num;
	r->packed = packed;
	r->event_idx = event_idx;
	r->next = r->avail_idx = r->used_idx = 0;
	r->avail_wrap = r->used_wrap = true;
}

__always void ring_packed_put(struct ring *r, uint16_t at, const struct ring_piece *p, uint16_t id, uint16_t flags)
{
	volatile struct ring_packed_desc *d = ring_at(r, struct ring_packed_desc, r->desc) + at;

	d->addr = p->addr;
	d->len = p->len;
	d->id = id;
	asm volatile("" : : : "memory");
	d->flags = flags;
}

/* Make a chain available; returns its id. */
__always uint16_t ring_add_packed(struct ring *r, const struct ring_piece *p, unsigned int n, uint16_t extra)
{
	uint16_t head = r->next, head_flags = 0;

	for (unsigned int i = 0; i < n; i++) {
		uint16_t flags = extra | (p[i].in ? RING_WRITE : 0) | (i + 1 < n ? RING_NEXT : 0) |
				 (r->avail_wrap ? RING_AVAIL : RING_USED);

		/* The first one last: then the device sees all of them. */
		if (i)
			ring_packed_put(r, r->next, &p[i], head, flags);
		else
			head_flags = flags;
		if (++r->next == r->num) {
			r->next = 0;
			r->avail_wrap = !r->avail_wrap;
		}
	}
	r->taken[head] = n;
	ring_packed_put(r, head, &p[0], head, head_flags);
	return head;
}

__always uint16_t ring_add_split(struct ring *r, const struct ring_piece *p, unsigned int n, uint16_t extra)
{
	volatile struct ring_desc *d = ring_at(r, struct ring_desc, r->desc);
	volatile uint16_t *avail = ring_at(r, uint16_t, r->avail);
	uint16_t head = r->next;

	for (unsigned int i = 0; i < n; i++) {
		uint16_t at = r->next;

		r->next = at + 1 == r->num ? 0 : at + 1;
		d[at].addr = p[i].addr;
		d[at].len = p[i].len;
		d[at].flags = extra | (p[i].in ? RING_WRITE : 0) | (i + 1 < n ? RING_NEXT : 0);
		d[at].next = r->next;
	}
	avail[2 + r->avail_idx % r->num] = head;
	asm volatile("" : : : "memory");
	avail[1] = ++r->avail_idx;
	return head;
}

__always uint16_t ring_add(struct ring *r, const struct ring_piece *p, unsigned int n)
{
	uint16_t id = r->packed ? ring_add_packed(r, p, n, 0) : ring_add_split(r, p, n, 0);

	ring_barrier();
	return id;
}

/* The same through a table at @table, with room for @n descriptors. */
__always uint16_t ring_add_indirect(struct ring *r, uint64_t table, const struct ring_piece *p, unsigned int n)
{
	struct ring_piece one = { table, n * 16, false };
	uint16_t id;

	for (unsigned int i = 0; i < n; i++) {
		uint16_t flags = p[i].in ? RING_WRITE : 0;

		if (r->packed) {
			volatile struct ring_packed_desc *d = ring_at(r, struct ring_packed_desc, table) + i;

			d->addr = p[i].addr;
			d->len = p[i].len;
			d->flags = flags;
		} else {
			volatile struct ring_desc *d = ring_at(r, struct ring_desc, table) + i;

			d->addr = p[i].addr;
			d->len = p[i].len;
			d->flags = flags | (i + 1 < n ? RING_NEXT : 0);
			d->next = i + 1;
		}
	}
	id = r->packed ? ring_add_packed(r, &one, 1, RING_INDIRECT) : ring_add_split(r, &one, 1, RING_INDIRECT);
	ring_barrier();
	return id;
}

/* Does the device want to be told of what was added? Without event index only. */
__always bool ring_wants_kick(struct ring *r)
{
	ring_barrier();
	if (r->packed)
		return *ring_at(r, uint16_t, r->used + 2) != RING_NO_NOTIFY;
	return !(*ring_at(r, uint16_t, r->used) & RING_NO_NOTIFY);
}

/* Ask for no interrupts, or for all of them. */
__always void ring_set_quiet(struct ring *r, bool quiet)
{
	*ring_at(r, uint16_t, r->avail + (r->packed ? 2 : 0)) = quiet ? RING_NO_NOTIFY : 0;
	ring_barrier();
}

/* Is there a used chain to take? */
__always bool ring_has_used(struct ring *r)
{
	uint16_t flags;

	if (!r->packed)
		return *ring_at(r, uint16_t, r->used + 2) != r->used_idx;
	flags = (ring_at(r, struct ring_packed_desc, r->desc) + r->used_idx)->flags;
	return !!(flags & RING_USED) == r->used_wrap && !!(flags & RING_AVAIL) == r->used_wrap;
}

/* Take a used chain, if there is one: its id, and how much was written. */
__always bool ring_collect(struct ring *r, uint32_t *id, uint32_t *len)
{
	if (r->packed) {
		volatile struct ring_packed_desc *d = ring_at(r, struct ring_packed_desc, r->desc) + r->used_idx;

		if (!ring_has_used(r))
			return false;
		ring_barrier();
		*id = d->id;
		*len = d->len;
		r->used_idx += r->taken[*id & 255];
		if (r->used_idx >= r->num) {
			r->used_idx -= r->num;
			r->used_wrap = !r->used_wrap;
		}
		return true;
	}
	if (!ring_has_used(r))
		return false;
	ring_barrier();
	*id = ring_at(r, struct ring_used_elem, r->used + 4)[r->used_idx % r->num].id;
	*len = ring_at(r, struct ring_used_elem, r->used + 4)[r->used_idx % r->num].len;
	r->used_idx++;
	/* Event index: an interrupt for the next one, please. */
	if (r->event_idx)
		ring_at(r, uint16_t, r->avail)[2 + r->num] = r->used_idx;
	ring_barrier();
	return true;
}

#endif
