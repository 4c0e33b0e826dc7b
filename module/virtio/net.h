/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Between the files of the network device: net.c moves the packets, net_tap.c
 * is where they come from and go to, net_ctrl.c has the control queue and what
 * is filtered on its behalf.
 */
#ifndef KILN_VIRTIO_NET_H
#define KILN_VIRTIO_NET_H

#include <linux/if_ether.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/seqlock.h>
#include <net/xdp.h>
#include <uapi/linux/virtio_net.h>

#include "private.h"

struct ptr_ring;
struct socket;

#define NET_PAIRS	8
#define NET_MAX_QUEUES	(2 * NET_PAIRS + 1)
/* Before each packet, with VIRTIO_F_VERSION_1 (§5.1.6). */
#define NET_HDR		sizeof(struct virtio_net_hdr_mrg_rxbuf)
/* A packet is received in chains until they have so many pieces. */
#define NET_PIECES	1024
/*
 * Pieces of a chain at most: behind those of others there is still room for one
 * with all descriptors a ring may have (§2.7.5.3.1).
 */
#define NIC_IOV		(NET_PIECES + KILN_VIRTIO_MAX_NUM)
/* Packets taken from a tap, or given to it, at a time. */
#define NET_BATCH	64
/* Packets received within that time of each other are a burst, ns. */
#define NET_BURST_NS	100000
/* How long one gathers. */
#define NET_PACE_NS	50000

/* The configuration space up to what virtio 1.1 has. */
#define NET_CONFIG_SIZE	offsetofend(struct virtio_net_config, mtu)

/* Offloads of packets to the guest: VIRTIO_NET_F_GUEST_*. */
#define NET_GUEST_OFFLOADS					\
	(BIT_ULL(VIRTIO_NET_F_GUEST_CSUM) |			\
	 BIT_ULL(VIRTIO_NET_F_GUEST_TSO4) |			\
	 BIT_ULL(VIRTIO_NET_F_GUEST_TSO6) |			\
	 BIT_ULL(VIRTIO_NET_F_GUEST_ECN) |			\
	 KILN_NET_GUEST_USO)

/* ------------------------------------------------------------------- taps */

/**
 * struct net_tap - one queue of a tap
 * @file: [d] a reference is held, or NULL. Constant while at work
 * @sock: [d] of @file
 * @ring: [d] of @file: packets to the guest
 * @drop: [d] frees one of those
 * @wait: [d] on the socket's wait queue
 * @head: [d] that wait queue, or NULL
 * @poll: [d] puts @wait there
 * @rx: [l] the only queue its packets are received on; read by any
 * @tx: [c] the queue that sends to it
 * @tx_waits: set by @tx when the tap takes no more; cleared by who wakes it
 * @served: [q] when @rx was looked at last, ns
 * @sent: packets went to the tap since then
 * @lock: packets are taken
 * @batch: [l] packets taken from @ring
 * @first: [l] the first of them that is still there
 * @end: [l] behind the last
 *
 * Locks: [c] const after creation; [d] dev->lock; [l] @lock; [q] the lock of
 * the queue that has this tap for its own.
 */
struct net_tap {
	struct file *file;
	struct socket *sock;
	struct ptr_ring *ring;
	void (*drop)(void *packet);
	wait_queue_entry_t wait;
	wait_queue_head_t *head;
	poll_table poll;
	struct kiln_queue *rx;
	struct kiln_queue *tx;
	bool tx_waits;
	u64 served;
	bool sent;
	struct mutex lock;		/* batch, rx */
	void *batch[NET_BATCH];
	unsigned int first;
	unsigned int end;
};

/* dev->lock. @fd: of a tap. 0, -EBADF, -EINVAL: no tap, -EBADFD: no interface */
int kiln_tap_open(struct net_tap *tap, int fd);
void kiln_tap_close(struct net_tap *tap);

/* Begin and end to hear of packets. dev->lock. */
void kiln_tap_attach(struct net_tap *tap);
void kiln_tap_detach(struct net_tap *tap);

/*
 * Which of NET_GUEST_OFFLOADS the packets to the guest may need. Takes the
 * network's own lock, so it may take a while.
 */
int kiln_tap_set_offloads(struct net_tap *tap, u64 offloads);

/* The next packet to the guest, or NULL. tap->lock; RCU has nothing to say. */
void *kiln_tap_next(struct net_tap *tap);

/* Bytes of a packet, without a header. */
u32 kiln_tap_len(void *packet);

/**
 * kiln_tap_head() - the beginning of a packet
 * @packet: of kiln_tap_next()
 * @buf: room for VLAN_ETH_HLEN bytes, in case they have to be put together
 *
 * Return: the first bytes as they go over the wire, @buf or where they lie:
 * ETH_HLEN, and the tag if it has one; NULL: it is shorter.
 */
const u8 *kiln_tap_head(void *packet, u8 *buf);

/* Drop what kiln_tap_next() said. */
void kiln_tap_skip(struct net_tap *tap);

/*
 * Receive what kiln_tap_next() said, which is gone then. Returns the bytes
 * written or an errno: -EFAULT: not all of @pieces could be.
 */
int kiln_tap_receive(struct net_tap *tap, const struct iovec *pieces, u32 nr,
		     size_t len);

/* Send. -EAGAIN: tap->tx is kicked when it can be tried again. */
int kiln_tap_send(struct net_tap *tap, const struct iovec *pieces, u32 nr,
		  size_t len);

/**
 * struct net_burst - packets copied from the guest, to be sent at once
 * @page: where the next one is copied to
 * @nr: how many there are
 * @buffs: those
 * @used: the chains they came in, which are given back once they are sent
 *
 * All: the lock of the queue that sends.
 */
struct net_burst {
	struct page_frag page;
	unsigned int nr;
	struct xdp_buff buffs[NET_BATCH];
	struct kiln_vring_used used[NET_BATCH];
};

/*
 * Copy a packet, to be sent with others. Returns 1, or 0 if it is to be sent by
 * kiln_tap_send() after them, or -EFAULT. There is room in the burst.
 */
int kiln_tap_gather(struct net_tap *tap, struct net_burst *burst,
		    const struct iovec *pieces, u32 nr, size_t len);

/* Send those, if any. Returns how many were dropped. */
unsigned int kiln_tap_send_burst(struct net_tap *tap, struct net_burst *burst);

/* Has the interface gone? As a hint. */
bool kiln_tap_gone(const struct net_tap *tap);

/* ---------------------------------------------------------------- filters */

#define NET_MACS	64	/* of either kind; more: all of the kind */

/* What is let through, whatever the tables say. */
#define NET_PROMISC	BIT(VIRTIO_NET_CTRL_RX_PROMISC)
#define NET_ALLMULTI	BIT(VIRTIO_NET_CTRL_RX_ALLMULTI)
#define NET_ALLUNI	BIT(VIRTIO_NET_CTRL_RX_ALLUNI)
#define NET_NOMULTI	BIT(VIRTIO_NET_CTRL_RX_NOMULTI)
#define NET_NOUNI	BIT(VIRTIO_NET_CTRL_RX_NOUNI)
#define NET_NOBCAST	BIT(VIRTIO_NET_CTRL_RX_NOBCAST)

/**
 * struct net_macs - addresses of one kind
 * @nr: how many
 * @overflow: there were more than fit: all are let through
 * @mac: the addresses
 */
struct net_macs {
	u32 nr;
	bool overflow;
	u8 mac[NET_MACS][ETH_ALEN];
};

/**
 * struct net_filter - which packets the guest wants (§5.1.6.5)
 * @mode: NET_*
 * @mac: the guest's own
 * @unicast: other addresses of its
 * @multicast: groups it is in
 * @by_vlan: VIRTIO_NET_F_CTRL_VLAN was negotiated
 * @vlans: those that are let through, if @by_vlan
 */
struct net_filter {
	u32 mode;
	u8 mac[ETH_ALEN];
	struct net_macs unicast;
	struct net_macs multicast;
	bool by_vlan;
	DECLARE_BITMAP(vlans, 4096);
};

/* ----------------------------------------------------------------- device */

/**
 * struct nic - a network device
 * @args: [d] of the last KILN_VIRTIO_SET_NET; @fd means nothing
 * @nr_pairs: [d] of taps; constant while at work, 0: no back end
 * @active: [q] pairs the driver uses, of those; read by any
 * @begun: [d] what the driver told is worth keeping
 * @offloads: [q] of NET_GUEST_OFFLOADS, what the driver wants now
 * @link: up; read by any
 * @filter_lock: guards @filter
 * @filter: what the driver wants to receive
 * @scratch: [q] where the control queue puts together a table
 * @taps: the first @nr_pairs are open
 *
 * Locks: [d] dev->lock; [q] the control queue's lock, or dev->lock while no
 * queue runs.
 */
struct nic {
	struct kiln_virtio_net args;
	u32 nr_pairs;
	u32 active;
	bool begun;
	u64 offloads;
	struct ratelimit_state changes;	/* of @offloads, by commands */
	bool link;
	seqlock_t filter_lock;		/* filter */
	struct net_filter filter;
	struct net_macs scratch[2];
	struct net_tap taps[NET_PAIRS];
};

/* The one that a queue of packets has for its own. */
static inline struct net_tap *kiln_net_tap(const struct kiln_queue *queue)
{
	struct nic *nic = queue->dev->priv;

	return &nic->taps[queue->index / 2];
}

/* Pairs there are queues for: all, or one to a driver without MQ (§5.1.2). */
static inline u32 kiln_net_pairs(const struct kiln_virtio *dev)
{
	const struct nic *nic = dev->priv;

	return kiln_virtio_has(dev, VIRTIO_NET_F_MQ) ? nic->nr_pairs : 1;
}

/*
 * Serve @pairs from now on: packets for the others come to these. When it
 * returns, no other queue receives any more. No tap->lock.
 */
void kiln_net_set_active(struct kiln_virtio *dev, u32 pairs);

/* As virtio 1.2 §5.1.6.5 has it for a driver that said nothing yet. */
void kiln_net_reset_filter(struct kiln_virtio *dev);

/* Does the guest want this packet? */
bool kiln_net_wanted(struct nic *nic, void *packet);

/* Take the control queue's chains. */
bool kiln_net_serve_ctrl(struct kiln_queue *queue, unsigned int *budget);

#endif /* KILN_VIRTIO_NET_H */
