// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver that does anything, and a device that checks what it is given. The
 * input is a ring's set-up and then operations, each a byte and its arguments.
 * What does not hold ends the program, as does what a sanitizer finds.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../vring_test.h"

#define MAX_HELD	MAX_NUM

/* Chains the device holds, and what the driver does while the engine reads. */
struct fuzz {
	struct ring ring;
	const uint8_t *in;
	const uint8_t *end;
	struct kiln_vring_used held[MAX_HELD];
	unsigned int nr_held;
	struct kiln_vring_chain last;
	bool last_held;
	unsigned int change_after;
	u16 change_at;
	u8 change_to;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One at a time. */
static struct fuzz *fuzz;

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

#define MUST(condition)	must(condition, #condition)

/* Little-endian; zeros after the end of the input. */
static u32 next(unsigned int bytes)
{
	u32 val = 0;
	unsigned int i;

	for (i = 0; i < bytes && fuzz->in < fuzz->end; i++)
		val |= (u32)*fuzz->in++ << i * 8;
	return val;
}

/* A guest address: mostly of memory, sometimes at an edge. */
static u64 next_gpa(void)
{
	static const u64 base[] = {
		DATA, RAM, SECOND, ROM, TABLE, SECOND + SECOND_SIZE - 16, 0,
		0 - 0x40ULL,
	};

	return base[next(1) % ARRAY_SIZE(base)] + next(1);
}

static u32 next_len(void)
{
	static const u8 shift[] = { 0, 0, 4, 4, 8, 12, 20, 24 };
	u32 val = next(1);

	return (val >> 3) << shift[val & 7];
}

/* A descriptor of the ring or of the table, by its index. */
static void put_desc(bool table)
{
	struct ring *r = &fuzz->ring;
	size_t at = (table ? AT_TABLE : AT_DESC) + next(1) * 16;
	u64 addr = next_gpa();
	u32 len = next_len();
	u16 flags = next(1), id = next(1);

	if (r->vr.packed) {
		if (flags & 8)
			flags |= 1 << VRING_PACKED_DESC_F_AVAIL;
		if (flags & 16)
			flags |= 1 << VRING_PACKED_DESC_F_USED;
		packed_put(r, at, 0, addr, len, id, flags);
	} else {
		split_put(r, at, 0, addr, len, flags, id);
	}
}

/* As a driver does it that obeys. */
static void offer(void)
{
	struct ring *r = &fuzz->ring;
	u64 addr = next_gpa();
	u32 len = next_len();
	u16 flags = next(1) & 7, id = next(1);

	if (r->vr.packed) {
		packed_desc(r, addr, len, id, flags);
		return;
	}
	split_desc(r, id, addr, len, flags, id + 1);
	split_offer(r, id);
}

static void after_read(struct vring_memory *memory, size_t offset, size_t len)
{
	if (fuzz->change_after && !--fuzz->change_after)
		memory->bytes[fuzz->change_at % MEMORY_SIZE] = fuzz->change_to;
}

static void check_piece(const struct iovec *iov, bool write)
{
	size_t offset = (unsigned long)iov->iov_base - VRING_MEMORY_BASE;

	MUST(iov->iov_len > 0);
	MUST(offset < MEMORY_SIZE);
	MUST(iov->iov_len <= MEMORY_SIZE - offset);
	if (write)
		MUST(offset + iov->iov_len <= AT_ROM || offset >= AT_SECOND);
}

static void check_chain(const struct kiln_vring_chain *chain)
{
	u64 out = 0, in = 0;
	u32 i;

	MUST(chain->nr_out + chain->nr_in <= chain->iov_max);
	for (i = 0; i < chain->nr_out; i++) {
		check_piece(&chain->iov[i], false);
		out += chain->iov[i].iov_len;
	}
	for (; i < chain->nr_out + chain->nr_in; i++) {
		check_piece(&chain->iov[i], true);
		in += chain->iov[i].iov_len;
	}
	MUST(out == chain->out_len);
	MUST(in == chain->in_len);
	MUST(out + in <= BIT_ULL(32));
	MUST(chain->nr >= 1 && chain->nr <= fuzz->ring.vr.num);
}

static void check_ring(void)
{
	const struct ring *r = &fuzz->ring;
	const struct kiln_vring *vr = &r->vr;
	size_t at = r->memory.last_write;
	u32 i, held = 0;

	for (i = 0; i < fuzz->nr_held; i++)
		held += fuzz->held[i].nr;
	if (!vr->broken)
		MUST(held == vr->in_flight);
	MUST(held <= vr->num);
	MUST(vr->unsignalled <= vr->num);
	MUST(!vr->broken == !vr->cause);
	if (vr->packed)
		MUST(vr->avail_idx < vr->num && vr->used_idx < vr->num);
	if (at == SIZE_MAX)
		return;
	/* nothing but what is the device's to write */
	if (vr->packed && at < AT_AVAIL)
		MUST(at < vr->num * 16 && at % 16 == 8);
	else
		MUST(at >= AT_USED &&
		     at < AT_USED + (vr->packed ? 4 : 6 + vr->num * 8));
}

static void pop(void)
{
	struct ring *r = &fuzz->ring;
	bool broken = r->vr.broken;
	int ret;

	r->chain.iov_max = MAX_IOV;
	ret = kiln_vring_pop(&r->vr, &r->chain);
	if (ret <= 0) {
		MUST(ret == r->vr.broken);
		return;
	}
	MUST(ret == 1 && !broken);
	check_chain(&r->chain);
	MUST(fuzz->nr_held < MAX_HELD);
	fuzz->last = r->chain;
	fuzz->last_held = true;
	fuzz->held[fuzz->nr_held++] = kiln_vring_used(&r->chain, next_len());
}

static void unpop(void)
{
	struct kiln_vring *vr = &fuzz->ring.vr;

	if (!fuzz->last_held)
		return;
	kiln_vring_unpop(vr, &fuzz->last);
	fuzz->nr_held--;
	fuzz->last_held = false;
}

/* From the front with VIRTIO_F_IN_ORDER, from anywhere without. */
static void push(unsigned int nr)
{
	struct kiln_vring *vr = &fuzz->ring.vr;
	unsigned int at, i;

	if (!fuzz->nr_held)
		return;
	nr = 1 + nr % fuzz->nr_held;
	at = vr->in_order ? 0 : next(1) % (fuzz->nr_held - nr + 1);
	if (kiln_vring_push_batch(vr, fuzz->held + at, nr))
		MUST(vr->broken);
	for (i = at; i + nr < fuzz->nr_held; i++)
		fuzz->held[i] = fuzz->held[i + nr];
	fuzz->nr_held -= nr;
	fuzz->last_held = false;
}

static void set_base(void)
{
	struct kiln_vring *vr = &fuzz->ring.vr;
	u32 base = next(4);

	if (fuzz->nr_held || vr->broken)
		return;
	if (!kiln_vring_set_base(vr, base))
		MUST(kiln_vring_get_base(vr) == base);
	fuzz->ring.avail = vr->avail_idx;
	fuzz->ring.wrap = vr->avail_wrap;
}

static void do_one(u8 op)
{
	struct ring *r = &fuzz->ring;
	u16 at;

	switch (op % 16) {
	case 0:
	case 1:
		put_desc(op % 16);
		break;
	case 2:
	case 3:
		offer();
		break;
	case 4:
	case 5:
		pop();
		break;
	case 6:
		push(0);
		break;
	case 7:
		push(next(1));
		break;
	case 8:
		unpop();
		break;
	case 9:
		if (kiln_vring_should_signal(&r->vr))
			MUST(!r->vr.broken);
		break;
	case 10:
		kiln_vring_disable_kicks(&r->vr);
		break;
	case 11:
		if (kiln_vring_enable_kicks(&r->vr))
			MUST(!r->vr.broken);
		break;
	case 12:
		/* the rings, and what they end with */
		at = next(2) % (AT_TABLE + 0x200);
		ring_put(r, at, next(2), 2);
		break;
	case 13:
		fuzz->change_after = next(1);
		fuzz->change_at = next(2);
		fuzz->change_to = next(1);
		break;
	case 14:
		at = next(2);
		r->memory.hole = at & 0x8000 ? SIZE_MAX : at;
		at = next(2);
		r->memory.readonly = at & 0x8000 ? SIZE_MAX : at;
		break;
	case 15:
		set_base();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz state;
	struct ring *r = &state.ring;
	u8 features, num;

	memset(&state, 0, sizeof(state));
	fuzz = &state;
	fuzz->in = data;
	fuzz->end = data + size;
	ring_memory_init(r);
	r->memory.reads = NULL;
	r->memory.last_write = SIZE_MAX;
	r->memory.after_read = after_read;
	features = next(1);
	num = next(1);
	ring_put(r, AT_USED + 2, next(2), 2);
	r->config = (struct kiln_vring_config) {
		.features = (features & 1 ? PACKED : SPLIT) |
			    (features & 2 ? INDIRECT : 0) |
			    (features & 4 ? EVENT_IDX : 0) |
			    (features & 8 ? IN_ORDER : 0),
		.num = features & 1 ? num + 1 : 1 << num % 9,
		.desc = USER(AT_DESC),
		.avail = USER(AT_AVAIL),
		.used = USER(AT_USED),
	};
	MUST(!kiln_vring_setup(&r->vr, vring_memory_mmu(&r->memory),
			       &r->config));
	while (fuzz->in < fuzz->end) {
		do_one(next(1));
		check_ring();
	}
	return 0;
}
