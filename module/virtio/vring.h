/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The vring engine: the device's side of a virtqueue, split (virtio 1.2 §2.7)
 * or packed (§2.8).
 *
 * The rings themselves are given as addresses of the process that owns the VM,
 * as in struct vhost_vring_addr. The buffers that descriptors name are
 * guest-physical; they are handed out as pieces of that process' address space,
 * found through the VM's memory slots.
 *
 * The guest is hostile. Everything it writes is read once and checked before
 * it is used; a ring that breaks the rules, or whose memory is gone, is broken
 * from then on: every call says so, nothing of it is touched any more, and a
 * sentence tells why. The device is to ask for its reset.
 *
 * A back end's worker goes like this::
 *
 *	kiln_vring_disable_kicks(vr);
 *	for (;;) {
 *		r = kiln_vring_pop(vr, &chain);
 *		if (r < 0)
 *			break;			// vr->cause
 *		if (!r) {
 *			if (!kiln_vring_enable_kicks(vr))
 *				break;		// the next kick continues
 *			kiln_vring_disable_kicks(vr);
 *			continue;
 *		}
 *		... use chain.iov ...
 *		kiln_vring_push(vr, &chain, written);
 *	}
 *	if (kiln_vring_should_signal(vr))
 *		... raise the queue's interrupt ...
 *
 * Context of all calls that touch the ring: process, of the VM's mm (a vCPU's
 * thread, an ioctl, a worker within kthread_use_mm()); may sleep; one caller at
 * a time for each vring. Whoever wants the addresses in a chain to stay those
 * of the guest's memory holds slots_lock of the VM's mmu for reading from
 * kiln_vring_pop() until it has used them, or has taken references to the pages.
 *
 * Nothing here allocates memory.
 */
#ifndef KILN_VIRTIO_VRING_H
#define KILN_VIRTIO_VRING_H

#include <linux/bits.h>
#include <linux/types.h>
#include <linux/uio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "../mmu/span.h"

/* Descriptors a queue has at most; entries of an indirect table, too. */
#define KILN_VRING_MAX_NUM	32768

/* Those VIRTIO_F_* the engine is told of; others are not its business. */
#define KILN_VRING_FEATURES					\
	(BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) |			\
	 BIT_ULL(VIRTIO_RING_F_EVENT_IDX) |			\
	 BIT_ULL(VIRTIO_F_VERSION_1) |				\
	 BIT_ULL(VIRTIO_F_RING_PACKED) |			\
	 BIT_ULL(VIRTIO_F_IN_ORDER))

enum kiln_vring_kicks {
	KILN_VRING_KICKS_UNKNOWN,	/* by whoever had the ring before */
	KILN_VRING_KICKS_ON,
	KILN_VRING_KICKS_OFF,
};

/**
 * struct kiln_vring - one virtqueue
 * @mmu: [c] guest memory
 * @num: [c] descriptors of the ring
 * @packed: [c] VIRTIO_F_RING_PACKED; otherwise split
 * @indirect: [c] VIRTIO_RING_F_INDIRECT_DESC
 * @event_idx: [c] VIRTIO_RING_F_EVENT_IDX
 * @in_order: [c] VIRTIO_F_IN_ORDER
 * @avail_wrap: [q] packed: wrap counter that goes with @avail_idx
 * @used_wrap: [q] packed: wrap counter that goes with @used_idx
 * @kicks: [q] what the guest was told about kicks
 * @desc: [c] descriptor table or ring, user address
 * @avail: [c] available ring, or the driver's event suppression
 * @used: [c] used ring, or the device's event suppression
 * @avail_idx: [q] where the next chain is taken; split: runs freely, packed:
 *	0 to @num - 1
 * @avail_seen: [q] split: the guest's index as it was read last
 * @used_idx: [q] where the next used chain is written; as @avail_idx
 * @in_flight: [q] ring descriptors of chains that were popped and not pushed
 * @unsignalled: [q] how far @used_idx went since kiln_vring_should_signal(),
 *	at most @num
 * @broken: [q] 0, or the errno it broke with; may be read by anyone
 * @cause: [q] a sentence; constant once @broken is not 0
 * @span: [q] the slot a buffer was found in last
 *
 * [c] constant from kiln_vring_setup() on; [q] belongs to the one caller there
 * may be at a time.
 */
struct kiln_vring {
	struct kiln_mmu *mmu;
	u32 num;
	bool packed;
	bool indirect;
	bool event_idx;
	bool in_order;
	bool avail_wrap;
	bool used_wrap;
	enum kiln_vring_kicks kicks;
	unsigned long desc;
	unsigned long avail;
	unsigned long used;
	u16 avail_idx;
	u16 avail_seen;
	u16 used_idx;
	u32 in_flight;
	u32 unsignalled;
	int broken;
	const char *cause;
	struct kiln_mmu_span span;
};

/**
 * struct kiln_vring_config - argument of kiln_vring_setup()
 * @features: what was negotiated, all bits
 * @num: descriptors; split: a power of two; at most KILN_VRING_MAX_NUM
 * @desc: user address of the descriptor table or ring
 * @avail: of the available ring; packed: of the driver's event suppression
 * @used: of the used ring; packed: of the device's event suppression
 */
struct kiln_vring_config {
	u64 features;
	u32 num;
	u64 desc;
	u64 avail;
	u64 used;
};

/**
 * struct kiln_vring_chain - a buffer of the guest's
 * @iov: in: the caller's, where the pieces are put: the @nr_out that the
 *	device may read, then the @nr_in that it may write
 * @iov_max: in: how many pieces there is room for
 * @nr_out: pieces to be read
 * @nr_in: pieces to be written
 * @out_len: bytes to be read
 * @in_len: bytes to be written; with @out_len at most 2^32
 * @id: names the chain to the guest. Means nothing to the device: a hostile
 *	guest may use one for two chains at a time
 * @nr: descriptors of the ring it takes, 1 to the ring's number. Those of all
 *	chains in flight are together at most as many as the ring has
 *
 * All but @iov and @iov_max is set by kiln_vring_pop(). Pieces are never empty;
 * there may be none at all.
 */
struct kiln_vring_chain {
	struct iovec *iov;
	u32 iov_max;
	u32 nr_out;
	u32 nr_in;
	u64 out_len;
	u64 in_len;
	u16 id;
	u16 nr;
};

/**
 * struct kiln_vring_used - a chain the device is done with
 * @id: the chain's
 * @nr: the chain's
 * @written: bytes, from the start of the first piece to be written
 * @whole: all there was to write has been written
 */
struct kiln_vring_used {
	u16 id;
	u16 nr;
	u32 written;
	bool whole;
};

/**
 * kiln_vring_setup() - a ring at its beginning
 * @vr: to be initialised
 * @mmu: guest memory of the VM
 * @config: from user space, unchecked
 *
 * A split ring's used index is taken from the ring; nothing else is read, and
 * nothing is written.
 *
 * Return: 0; -EINVAL: @num out of range or not a power of two, an address that
 * is not aligned (§2.7: 16, 2, 4; §2.8: 16, 4, 4); -EFAULT: a ring that is no
 * memory of the process. Upon an error @vr is as it was.
 */
int kiln_vring_setup(struct kiln_vring *vr, struct kiln_mmu *mmu,
		     const struct kiln_vring_config *config);

/**
 * kiln_vring_set_base() - continue where a ring was stopped
 * @vr: set up; no chain is in flight
 * @base: of kiln_vring_get_base()
 *
 * Return: 0; -EINVAL: packed: an index beyond the ring; split: above 65535. Then
 * nothing has changed.
 */
int kiln_vring_set_base(struct kiln_vring *vr, u32 base);

/**
 * kiln_vring_get_base() - where a ring is
 * @vr: set up; no chain is in flight
 *
 * Return: split: the available index; packed: the available index in bits 0-14,
 * its wrap counter in bit 15, the used index and its wrap counter likewise in
 * the upper half.
 * Context: any.
 */
u32 kiln_vring_get_base(const struct kiln_vring *vr);

/**
 * kiln_vring_pop() - take the next chain the guest made available
 * @vr: set up
 * @chain: with @iov and @iov_max set; the rest is filled in
 *
 * Return: 1: taken, to be given back by kiln_vring_push() or
 * kiln_vring_unpop(); 0: there is none; -errno: broken. -EINVAL: the guest broke
 * a rule; -EFAULT: memory of the ring or of a buffer is not there, or may not
 * be written; -E2BIG: more pieces than @chain has room for.
 */
int kiln_vring_pop(struct kiln_vring *vr, struct kiln_vring_chain *chain);

/**
 * kiln_vring_unpop() - pretend that a chain had not been taken
 * @vr: set up
 * @chain: the one that was popped last among those not given back yet; its
 *	buffers have not been written
 *
 * The next kiln_vring_pop() takes it again, and reads it again.
 *
 * Context: any, one caller at a time.
 */
void kiln_vring_unpop(struct kiln_vring *vr,
		      const struct kiln_vring_chain *chain);

/**
 * kiln_vring_push() - give a chain back to the guest
 * @vr: set up
 * @chain: popped; in any order, but in that of popping with VIRTIO_F_IN_ORDER
 * @written: bytes written, counted from the start of the first piece to be
 *	written; what is more than @chain->in_len does not count
 *
 * Data written before is seen by the guest that sees the chain as used.
 *
 * Return: 0, or the errno it is broken with.
 */
int kiln_vring_push(struct kiln_vring *vr, const struct kiln_vring_chain *chain,
		    u32 written);

/**
 * kiln_vring_push_batch() - give chains back so that the guest sees all or none
 * @vr: set up
 * @used: as for kiln_vring_push(), in the order they are to be used
 * @nr: how many, at least 1
 *
 * With VIRTIO_F_IN_ORDER a chain that is @whole and not the last is not written
 * at all: the guest infers it (§2.7.9, §2.8.8).
 *
 * Return: 0, or the errno it is broken with.
 */
int kiln_vring_push_batch(struct kiln_vring *vr,
			  const struct kiln_vring_used *used, unsigned int nr);

/**
 * kiln_vring_used() - what kiln_vring_push_batch() wants to know of a chain
 * @chain: popped
 * @written: as for kiln_vring_push()
 *
 * Return: to be kept where @chain is not.
 */
static inline struct kiln_vring_used
kiln_vring_used(const struct kiln_vring_chain *chain, u32 written)
{
	bool whole = written >= chain->in_len;

	return (struct kiln_vring_used) {
		.id = chain->id,
		.nr = chain->nr,
		.written = whole ? (u32)chain->in_len : written,
		.whole = whole,
	};
}

/**
 * kiln_vring_should_signal() - does the guest want to hear of what was pushed?
 * @vr: set up
 *
 * To be asked after one push or several, before waiting for anything.
 *
 * Return: true: raise the interrupt. Of a ring that breaks in here, false.
 */
bool kiln_vring_should_signal(struct kiln_vring *vr);

/**
 * kiln_vring_disable_kicks() - tell the guest that it need not kick
 * @vr: set up
 *
 * A hint: kicks may come all the same.
 */
void kiln_vring_disable_kicks(struct kiln_vring *vr);

/**
 * kiln_vring_enable_kicks() - ask the guest for a kick
 * @vr: set up
 *
 * Return: true if a chain is available that there may have been no kick for:
 * look again; false if a kick will come, or if the ring is broken.
 */
bool kiln_vring_enable_kicks(struct kiln_vring *vr);

/**
 * kiln_vring_empty() - is no chain available?
 * @vr: set up
 *
 * Return: true, too, if the ring is broken.
 */
bool kiln_vring_empty(struct kiln_vring *vr);

/**
 * kiln_vring_break() - no more of this ring
 * @vr: set up
 * @error: -errno
 * @cause: a sentence that outlives the ring; without a full stop
 *
 * For back ends, too, whose guest breaks their rules. The first cause stays.
 *
 * Return: the errno the ring is broken with.
 * Context: any, one caller at a time.
 */
int kiln_vring_break(struct kiln_vring *vr, int error, const char *cause);

#endif /* KILN_VIRTIO_VRING_H */
