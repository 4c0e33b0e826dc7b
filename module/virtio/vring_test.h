/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the suites of the vring engine share: a ring in memory that is made up,
 * and the pen of a driver that writes whatever it likes.
 */
#ifndef KILN_VIRTIO_VRING_TEST_H
#define KILN_VIRTIO_VRING_TEST_H

#include "vring_memory.h"
#include "vring_suites.h"

struct kunit;

/* What lies where, as offsets into the memory. */
#define AT_DESC		0x0000
#define AT_AVAIL	0x1000
#define AT_USED		0x2000
#define AT_TABLE	0x3000
#define AT_DATA		0x8000
#define AT_ROM		0xc000
#define AT_SECOND	0xe000
#define MEMORY_SIZE	0xf000

/*
 * The guest's memory: a slot that begins with the rings, one that follows it
 * there though not in the memory, and one to be read only.
 */
#define RAM		0x100000ULL
#define SECOND		(RAM + AT_ROM)
#define SECOND_SIZE	0x1000
#define ROM		0x200000ULL
#define ROM_SIZE	0x2000
#define DATA		(RAM + AT_DATA)
#define TABLE		(RAM + AT_TABLE)

#define USER(offset)	(VRING_MEMORY_BASE + (offset))

#define MAX_IOV		64
#define MAX_NUM		256

#define SPLIT		BIT_ULL(VIRTIO_F_VERSION_1)
#define PACKED		(SPLIT | BIT_ULL(VIRTIO_F_RING_PACKED))
#define INDIRECT	BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT_IDX	BIT_ULL(VIRTIO_RING_F_EVENT_IDX)
#define IN_ORDER	BIT_ULL(VIRTIO_F_IN_ORDER)

#define F_NEXT		VRING_DESC_F_NEXT
#define F_WRITE		VRING_DESC_F_WRITE
#define F_INDIRECT	VRING_DESC_F_INDIRECT

/**
 * struct ring - a ring under test, and its driver
 * @memory: all there is
 * @bytes: of @memory
 * @reads: of @memory
 * @vr: the device's side
 * @config: what it was set up with
 * @iov: of @chain
 * @chain: what was popped last
 * @avail: where the driver makes available next; split: its index
 * @wrap: packed: the driver's wrap counter
 */
struct ring {
	struct vring_memory memory;
	u8 bytes[MEMORY_SIZE];
	u8 reads[MEMORY_SIZE];
	struct kiln_vring vr;
	struct kiln_vring_config config;
	struct iovec iov[MAX_IOV];
	struct kiln_vring_chain chain;
	u16 avail;
	bool wrap;
};

/**
 * ring_setup() - a ring at its beginning
 * @test: fails if there is none
 * @features: negotiated
 * @num: descriptors, at most MAX_NUM
 *
 * Return: the ring; it goes with the test.
 */
struct ring *ring_setup(struct kunit *test, u64 features, u32 num);

/* Zeroed memory becomes a ring that is yet to be set up. */
static inline void ring_memory_init(struct ring *r)
{
	r->memory = (struct vring_memory) {
		.bytes = r->bytes,
		.size = MEMORY_SIZE,
		.reads = r->reads,
		.slots = {
			{ .gpa = RAM, .len = AT_ROM },
			{ .gpa = SECOND, .len = SECOND_SIZE,
			  .offset = AT_SECOND },
			{ .gpa = ROM, .len = ROM_SIZE, .offset = AT_ROM,
			  .readonly = true },
		},
		.hole = SIZE_MAX,
		.readonly = SIZE_MAX,
	};
	r->chain.iov = r->iov;
	r->chain.iov_max = MAX_IOV;
	r->wrap = true;
}

/* Pop into the ring's own chain, with each byte read at most once. */
int ring_pop(struct kunit *test, struct ring *r);

/* The same, with an outcome: broken, everywhere and for good. */
void ring_pop_broken(struct kunit *test, struct ring *r, int error,
		     const char *cause);

/* The ring is broken with this. */
void ring_is_broken(struct kunit *test, struct ring *r, int error,
		    const char *cause);

/* The piece @i of the chain popped last. */
void ring_piece(struct kunit *test, struct ring *r, unsigned int i,
		size_t offset, size_t len);

/* The counts of the chain popped last. */
void ring_counts(struct kunit *test, struct ring *r, u32 nr_out, u64 out_len,
		 u32 nr_in, u64 in_len);

static inline void ring_put(struct ring *r, size_t offset, u64 val, size_t len)
{
	memcpy(r->bytes + offset, &val, len);
}

static inline u64 ring_get(const struct ring *r, size_t offset, size_t len)
{
	u64 val = 0;

	memcpy(&val, r->bytes + offset, len);
	return val;
}

/* A descriptor of a split ring, or of a table of one, at @offset. */
static inline void split_put(struct ring *r, size_t offset, u16 index, u64 addr,
			     u32 len, u16 flags, u16 next)
{
	offset += index * 16;
	ring_put(r, offset, addr, 8);
	ring_put(r, offset + 8, len, 4);
	ring_put(r, offset + 12, flags, 2);
	ring_put(r, offset + 14, next, 2);
}

static inline void split_desc(struct ring *r, u16 index, u64 addr, u32 len,
			      u16 flags, u16 next)
{
	split_put(r, AT_DESC, index, addr, len, flags, next);
}

/* Make a chain available. */
static inline void split_offer(struct ring *r, u16 head)
{
	ring_put(r, AT_AVAIL + 4 + r->avail % r->config.num * 2, head, 2);
	ring_put(r, AT_AVAIL + 2, ++r->avail, 2);
}

/* The same for packed rings and their tables. */
static inline void packed_put(struct ring *r, size_t offset, u16 index,
			      u64 addr, u32 len, u16 id, u16 flags)
{
	offset += index * 16;
	ring_put(r, offset, addr, 8);
	ring_put(r, offset + 8, len, 4);
	ring_put(r, offset + 12, id, 2);
	ring_put(r, offset + 14, flags, 2);
}

/* The next descriptor of the ring, available. */
static inline void packed_desc(struct ring *r, u64 addr, u32 len, u16 id,
			       u16 flags)
{
	flags |= r->wrap ? 1 << VRING_PACKED_DESC_F_AVAIL :
			   1 << VRING_PACKED_DESC_F_USED;
	packed_put(r, AT_DESC, r->avail, addr, len, id, flags);
	if (++r->avail == r->config.num) {
		r->avail = 0;
		r->wrap = !r->wrap;
	}
}

#endif /* KILN_VIRTIO_VRING_TEST_H */
