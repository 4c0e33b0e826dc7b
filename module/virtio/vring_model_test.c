// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver that obeys and a device that uses the vring engine, both at random:
 * each chain arrives as it was made, comes back once with what was written, and
 * neither side sleeps while there is something for it to do.
 */
#include <kunit/test.h>
#include <linux/errno.h>

#include "vring_test.h"

#define NUM		16
#define STEPS		5000
#define MAX_PARTS	4

/* A chain as the driver knows it, by its id. */
struct model_chain {
	u16 nr;
	u16 desc[MAX_PARTS];
	u32 out;
	u32 in;
	u32 written;
	bool busy;
	bool pushed;
};

/* Ids in the order in which they are expected. */
struct model_queue {
	u16 id[NUM];
	unsigned int head;
	unsigned int nr;
};

/*
 * The driver's @free descriptors (packed: ids; @nr_desc descriptors), and where
 * it reaps next. Chains it made @available, those @held by the device, and with
 * VIRTIO_F_IN_ORDER all that the device has taken. Who sleeps wants to be woken.
 */
struct model {
	struct ring *ring;
	struct kunit *test;
	u32 seed;
	u16 free[NUM];
	unsigned int nr_free;
	unsigned int nr_desc;
	struct model_chain chain[NUM];
	struct model_queue available;
	struct model_queue in_use;
	struct kiln_vring_used held[NUM];
	unsigned int nr_held;
	u16 used;
	bool used_wrap;
	bool device_sleeps;
	bool driver_sleeps;
	unsigned int reaped;
	unsigned int wakes;
};

static u32 roll(struct model *m, u32 sides)
{
	m->seed ^= m->seed << 13;
	m->seed ^= m->seed >> 17;
	m->seed ^= m->seed << 5;
	return m->seed % sides;
}

static void queue_add(struct model_queue *q, u16 id)
{
	q->id[(q->head + q->nr++) % NUM] = id;
}

static u16 queue_take(struct model_queue *q)
{
	u16 id = q->id[q->head];

	q->head = (q->head + 1) % NUM;
	q->nr--;
	return id;
}

/* One part of a chain; the device may write all from @writable on. */
static u32 add_part(struct model *m, struct model_chain *c, bool write,
		    u32 *len)
{
	*len = 1 + roll(m, 64);
	if (write)
		c->in += *len;
	else
		c->out += *len;
	return AT_DATA + roll(m, 0x1000);
}

static void add_split(struct model *m, struct model_chain *c, u16 id,
		      unsigned int parts, unsigned int readable, bool table)
{
	struct ring *r = m->ring;
	size_t at = table ? AT_TABLE + id * MAX_PARTS * 16 : AT_DESC;
	unsigned int i;
	u32 data, len;
	u16 flags, self, next;

	for (i = 0; i < parts; i++) {
		data = add_part(m, c, i >= readable, &len);
		flags = i >= readable ? F_WRITE : 0;
		if (i < parts - 1)
			flags |= F_NEXT;
		self = table ? i : c->desc[i];
		next = i == parts - 1 ? 0 : table ? i + 1 : c->desc[i + 1];
		split_put(r, at, self, RAM + data, len, flags, next);
	}
	if (table)
		split_desc(r, id, RAM + at, parts * 16, F_INDIRECT, 0);
	split_offer(r, id);
}

static void add_packed(struct model *m, struct model_chain *c, u16 id,
		       unsigned int parts, unsigned int readable, bool table)
{
	struct ring *r = m->ring;
	size_t at = AT_TABLE + id * MAX_PARTS * 16;
	unsigned int i;
	u32 data, len;
	u16 flags;

	for (i = 0; i < parts; i++) {
		data = add_part(m, c, i >= readable, &len);
		flags = i >= readable ? F_WRITE : 0;
		if (table)
			packed_put(r, at, i, RAM + data, len, 0, flags);
		else
			packed_desc(r, RAM + data, len, id,
				    flags | (i < parts - 1 ? F_NEXT : 0));
	}
	if (table)
		packed_desc(r, RAM + at, parts * 16, id, F_INDIRECT);
}

/* Would the driver kick, now that it has gone on by @nr? */
static bool wants_kick(struct model *m, u16 old, u16 nr)
{
	struct ring *r = m->ring;
	u16 event = ring_get(r, AT_USED, 2), at = event & 0x7fff;
	u16 flags;

	if (!r->vr.packed && !r->vr.event_idx)
		return !(event & VRING_USED_F_NO_NOTIFY);
	if (!r->vr.packed)
		return vring_need_event(ring_get(r, AT_USED + 4 + NUM * 8, 2),
					r->avail, old);
	flags = ring_get(r, AT_USED + 2, 2);
	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
	if ((event >> 15) != r->wrap)
		at -= NUM;
	return vring_need_event(at, r->avail, r->avail - nr);
}

static void driver_add(struct model *m)
{
	struct ring *r = m->ring;
	unsigned int parts = 1 + roll(m, MAX_PARTS), i;
	bool table = r->vr.indirect && roll(m, 2);
	struct model_chain *c;
	u16 old = r->avail, id, nr = table ? 1 : parts;

	if (m->nr_desc < nr)
		return;
	id = m->free[m->nr_free - 1];
	c = &m->chain[id];
	*c = (struct model_chain) { .nr = nr, .busy = true };
	/* a packed chain has one id, a split one as many as descriptors */
	for (i = 0; i < (r->vr.packed ? 1 : nr); i++)
		c->desc[i] = m->free[--m->nr_free];
	m->nr_desc -= nr;
	if (r->vr.packed)
		add_packed(m, c, id, parts, roll(m, parts + 1), table);
	else
		add_split(m, c, id, parts, roll(m, parts + 1), table);
	queue_add(&m->available, id);
	if (!wants_kick(m, old, nr))
		return;
	m->wakes += m->device_sleeps;
	m->device_sleeps = false;
}

/* The next used entry, if there is one. */
static bool next_used(struct model *m, u16 *id, u32 *len)
{
	struct ring *r = m->ring;
	u64 val;
	u16 flags;

	if (!r->vr.packed) {
		val = ring_get(r, AT_USED + 4 + m->used % NUM * 8, 8);
		*id = val;
		*len = val >> 32;
		return ring_get(r, AT_USED + 2, 2) != m->used;
	}
	val = ring_get(r, AT_DESC + m->used * 16 + 8, 8);
	flags = val >> 48;
	*id = val >> 32;
	*len = val;
	return !(flags >> VRING_PACKED_DESC_F_USED & 1) == !m->used_wrap &&
	       !(flags >> VRING_PACKED_DESC_F_AVAIL & 1) == !m->used_wrap;
}

static void free_chain(struct model *m, u16 id, u32 written)
{
	struct model_chain *c = &m->chain[id];
	unsigned int i;

	KUNIT_EXPECT_TRUE(m->test, c->busy && c->pushed);
	KUNIT_EXPECT_EQ(m->test, c->written, written);
	c->busy = false;
	for (i = m->ring->vr.packed ? 1 : c->nr; i > 0; i--)
		m->free[m->nr_free++] = c->desc[i - 1];
	m->nr_desc += c->nr;
	m->reaped++;
	if (!m->ring->vr.packed) {
		m->used++;
		return;
	}
	m->used += c->nr;
	if (m->used >= NUM) {
		m->used -= NUM;
		m->used_wrap = !m->used_wrap;
	}
}

static bool driver_reap(struct model *m)
{
	u16 id, first;
	u32 len;

	if (!next_used(m, &id, &len))
		return false;
	KUNIT_ASSERT_EQ_MSG(m->test, id < NUM, 1, "id %u", id);
	/* in order, all before it are used as a whole */
	while (m->ring->vr.in_order) {
		KUNIT_ASSERT_EQ_MSG(m->test, m->in_use.nr > 0, 1, "id %u", id);
		first = queue_take(&m->in_use);
		if (first == id)
			break;
		free_chain(m, first, m->chain[first].in);
	}
	free_chain(m, id, len);
	return true;
}

/* To be woken by the next one: false if there is one already. */
static bool driver_sleep(struct model *m)
{
	struct ring *r = m->ring;
	u16 id;
	u32 len;

	if (!r->vr.packed) {
		ring_put(r, AT_AVAIL + 4 + NUM * 2, m->used, 2);
	} else if (r->vr.event_idx) {
		ring_put(r, AT_AVAIL, m->used | m->used_wrap << 15, 2);
		ring_put(r, AT_AVAIL + 2, VRING_PACKED_EVENT_FLAG_DESC, 2);
	}
	m->driver_sleeps = !next_used(m, &id, &len);
	return m->driver_sleeps;
}

static void device_pop(struct model *m)
{
	struct ring *r = m->ring;
	const struct model_chain *c;
	int got = kiln_vring_pop(&r->vr, &r->chain);

	KUNIT_EXPECT_EQ(m->test, got, m->available.nr > 0);
	if (got != 1)
		return;
	if (!roll(m, 5)) {
		kiln_vring_unpop(&r->vr, &r->chain);
		return;
	}
	KUNIT_EXPECT_EQ(m->test, r->chain.id, queue_take(&m->available));
	if (r->vr.in_order)
		queue_add(&m->in_use, r->chain.id);
	c = &m->chain[r->chain.id];
	KUNIT_EXPECT_EQ(m->test, r->chain.nr, c->nr);
	KUNIT_EXPECT_EQ(m->test, r->chain.out_len, c->out);
	KUNIT_EXPECT_EQ(m->test, r->chain.in_len, c->in);
	m->held[m->nr_held++] =
		kiln_vring_used(&r->chain, roll(m, 2) ? c->in :
						roll(m, c->in + 1));
}

/* Some of what is held: the oldest in order, or any. */
static void device_push(struct model *m)
{
	unsigned int nr, at, i;

	if (!m->nr_held)
		return;
	nr = 1 + roll(m, m->nr_held);
	at = m->ring->vr.in_order ? 0 : roll(m, m->nr_held - nr + 1);
	for (i = at; i < at + nr; i++) {
		m->chain[m->held[i].id].pushed = true;
		m->chain[m->held[i].id].written = m->held[i].written;
	}
	KUNIT_EXPECT_EQ(m->test, kiln_vring_push_batch(&m->ring->vr,
						       m->held + at, nr), 0);
	for (i = at; i + nr < m->nr_held; i++)
		m->held[i] = m->held[i + nr];
	m->nr_held -= nr;
}

static void device_signal(struct model *m)
{
	if (!kiln_vring_should_signal(&m->ring->vr))
		return;
	m->wakes += m->driver_sleeps;
	m->driver_sleeps = false;
}

static void device_sleep(struct model *m)
{
	device_signal(m);
	m->device_sleeps = !kiln_vring_enable_kicks(&m->ring->vr);
	if (!m->device_sleeps)
		kiln_vring_disable_kicks(&m->ring->vr);
}

static void driver_step(struct model *m)
{
	u16 id;
	u32 len;

	if (roll(m, 2))
		driver_add(m);
	if (m->driver_sleeps) {
		/* whatever is used by now, the device is yet to signal */
		if (!m->ring->vr.unsignalled)
			KUNIT_EXPECT_FALSE(m->test, next_used(m, &id, &len));
		return;
	}
	if (!driver_reap(m) && roll(m, 2))
		driver_sleep(m);
}

static void device_step(struct model *m)
{
	if (m->device_sleeps) {
		KUNIT_EXPECT_EQ(m->test, m->available.nr, 0);
		return;
	}
	switch (roll(m, 4)) {
	case 0:
	case 1:
		device_pop(m);
		break;
	case 2:
		device_push(m);
		if (roll(m, 2))
			device_signal(m);
		break;
	case 3:
		device_sleep(m);
		break;
	}
}

/* The device wakes up by itself, too, when its disk has done something. */
static void device_event(struct model *m)
{
	if (!m->device_sleeps || !m->nr_held)
		return;
	m->device_sleeps = false;
	kiln_vring_disable_kicks(&m->ring->vr);
}

static void run(struct kunit *test, u64 features)
{
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, m);
	m->ring = ring_setup(test, features, NUM);
	m->test = test;
	m->seed = 0x2545f491 ^ (u32)(features >> 28);
	m->used_wrap = true;
	m->nr_desc = NUM;
	for (i = 0; i < NUM; i++)
		m->free[m->nr_free++] = i;
	for (i = 0; i < STEPS && !m->ring->vr.broken; i++) {
		driver_step(m);
		device_step(m);
		if (!roll(m, 4))
			device_event(m);
	}
	KUNIT_EXPECT_EQ_MSG(test, m->ring->vr.broken, 0, "%s",
			    m->ring->vr.cause ?: "");
	KUNIT_EXPECT_TRUE(test, m->reaped > STEPS / 20);
	KUNIT_EXPECT_TRUE(test, m->wakes > STEPS / 100);
	kunit_kfree(test, m->ring);
	kunit_kfree(test, m);
}

/* With and without tables and event indices. */
static void run_each(struct kunit *test, u64 features)
{
	run(test, features);
	run(test, features | INDIRECT);
	run(test, features | EVENT_IDX);
	run(test, features | INDIRECT | EVENT_IDX);
}

static void split_rings(struct kunit *test)
{
	run_each(test, SPLIT);
}

static void split_rings_in_order(struct kunit *test)
{
	run_each(test, SPLIT | IN_ORDER);
}

static void packed_rings(struct kunit *test)
{
	run_each(test, PACKED);
}

static void packed_rings_in_order(struct kunit *test)
{
	run_each(test, PACKED | IN_ORDER);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(split_rings),
	KUNIT_CASE(split_rings_in_order),
	KUNIT_CASE(packed_rings),
	KUNIT_CASE(packed_rings_in_order),
	{}
};

struct kunit_suite vring_model_suite = {
	.name = "kiln_vring_model",
	.test_cases = cases,
};
