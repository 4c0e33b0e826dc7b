// SPDX-License-Identifier: GPL-2.0-only
/*
 * Network device (virtio 1.2 §5.1) on a tap: its packets.
 *
 * To the wire: a chain holds a header and a packet, which is what the tap's
 * socket takes; it is copied, so the chain is given back at once. Packets that
 * need nothing more of the tap are handed to it many at a time. That is the
 * host's own network code running, which needs no other thread: a vCPU's does it
 * in its own exit.
 *
 * From the wire: the tap wakes the queue's worker, or a halted vCPU that waits
 * for an answer. How long the next packet is and whom it is for is known before
 * a buffer is taken, so no buffer is taken in vain, and with mergeable buffers
 * as many as it needs.
 *
 * Packets of taps whose own queues the driver does not use (§5.1.6.5.5) are
 * received on those it does use.
 */
#include <linux/errno.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/sched/stat.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "../compat.h"
#include "net.h"

#define MTU_MIN	68	/* §5.1.4 */
#define MTU_MAX	U16_MAX

/* What any tap can do. */
#define FEATURES						\
	(BIT_ULL(VIRTIO_NET_F_CSUM) |				\
	 BIT_ULL(VIRTIO_NET_F_HOST_TSO4) |			\
	 BIT_ULL(VIRTIO_NET_F_HOST_TSO6) |			\
	 BIT_ULL(VIRTIO_NET_F_HOST_ECN) |			\
	 KILN_NET_HOST_USO |					\
	 NET_GUEST_OFFLOADS |					\
	 BIT_ULL(VIRTIO_NET_F_MAC) |				\
	 BIT_ULL(VIRTIO_NET_F_STATUS) |				\
	 BIT_ULL(VIRTIO_NET_F_MRG_RXBUF) |			\
	 BIT_ULL(VIRTIO_NET_F_CTRL_VQ) |			\
	 BIT_ULL(VIRTIO_NET_F_CTRL_RX) |			\
	 BIT_ULL(VIRTIO_NET_F_CTRL_RX_EXTRA) |			\
	 BIT_ULL(VIRTIO_NET_F_CTRL_VLAN) |			\
	 BIT_ULL(VIRTIO_NET_F_CTRL_MAC_ADDR) |			\
	 BIT_ULL(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))

/**
 * struct merge - the chains one packet is received in
 * @nr: how many
 * @pieces: of theirs in queue->iov
 * @room: bytes of theirs, saturated
 * @used: of each, where written is its room until it is known better
 */
struct merge {
	u32 nr;
	u32 pieces;
	size_t room;
	struct kiln_vring_used used[KILN_VIRTIO_MAX_NUM];
};

/*
 * No packet is longer: 64 KiB behind headers, and some. Taps take lengths for
 * ints here and there, and allocate what they are given.
 */
#define NET_SEND_MAX	(NET_HDR + SZ_128K)

/* Each takes the lock of the host's network configuration, and is told. */
#define NET_CHANGES		256
#define NET_CHANGES_INTERVAL	(10 * HZ)

static void count_drop(struct kiln_virtio *dev)
{
	atomic64_inc(&dev->vm->stats.virtio_drop);
}

/* --------------------------------------------------------- what is offered */

static u64 net_offered(struct kiln_virtio *dev)
{
	const struct nic *nic = dev->priv;
	u64 features = FEATURES;

	if (nic->args.mtu)
		features |= BIT_ULL(VIRTIO_NET_F_MTU);
	if (nic->nr_pairs > 1)
		features |= BIT_ULL(VIRTIO_NET_F_MQ);
	return features;
}

static __virtio16 status_of(bool link)
{
	return (__force __virtio16)cpu_to_le16(link ? VIRTIO_NET_S_LINK_UP : 0);
}

static void fill_config(struct kiln_virtio *dev)
{
	struct virtio_net_config *config = (void *)dev->config;
	const struct nic *nic = dev->priv;

	memcpy(config->mac, nic->args.mac, ETH_ALEN);
	config->status = status_of(nic->link);
	config->max_virtqueue_pairs = (__force __virtio16)
		cpu_to_le16(nic->nr_pairs);
	config->mtu = (__force __virtio16)cpu_to_le16(nic->args.mtu);
}

/* Context: any that may take spinlocks: a change is told once. */
static void set_link(struct kiln_virtio *dev, bool link)
{
	struct virtio_net_config *config = (void *)dev->config;
	struct nic *nic = dev->priv;

	if (xchg(&nic->link, link) == link)
		return;
	WRITE_ONCE(config->status, status_of(link));
	kiln_virtio_config_changed(dev);
}

/* -------------------------------------------------------------- to the wire */

/* Their chains go back all at once: one look at the ring for many. */
static void send_burst(struct kiln_queue *queue)
{
	struct net_burst *burst = queue->priv;
	unsigned int dropped, nr = burst->nr;

	if (!nr)
		return;
	dropped = kiln_tap_send_burst(kiln_net_tap(queue), burst);
	if (unlikely(dropped))
		atomic64_add(dropped, &queue->dev->vm->stats.virtio_drop);
	kiln_queue_push_batch(queue, burst->used, nr);
}

/* Those before it were good. */
static void refuse(struct kiln_queue *queue,
		   const struct kiln_vring_chain *chain, int error,
		   const char *cause)
{
	send_burst(queue);
	kiln_queue_push(queue, chain, 0);
	kiln_virtio_break(queue, error, cause);
}

/* Return false if the tap takes no more for now. */
static bool send(struct kiln_queue *queue, const struct kiln_vring_chain *chain)
{
	struct nic *nic = queue->dev->priv;
	int r = -ENETDOWN;

	if (unlikely(chain->out_len > NET_SEND_MAX))
		r = -EMSGSIZE;
	else if (likely(READ_ONCE(nic->link)))
		r = kiln_tap_send(kiln_net_tap(queue), chain->iov, chain->nr_out,
				  chain->out_len);
	if (unlikely(r == -EAGAIN))
		return false;
	if (unlikely(r == -EFAULT)) {
		refuse(queue, chain, r, "a packet to be sent cannot be read");
		return true;
	}
	if (unlikely(r < 0))
		count_drop(queue->dev);
	kiln_queue_push(queue, chain, 0);
	return true;
}

/* Return false if it is to be sent alone. Otherwise it is done with. */
static bool gather(struct kiln_queue *queue,
		   const struct kiln_vring_chain *chain)
{
	struct nic *nic = queue->dev->priv;
	struct net_burst *burst = queue->priv;
	int r = 0;

	if (likely(READ_ONCE(nic->link)))
		r = kiln_tap_gather(kiln_net_tap(queue), burst, chain->iov,
				    chain->nr_out, chain->out_len);
	if (unlikely(r < 0)) {
		refuse(queue, chain, r, "a packet to be sent cannot be read");
		return true;
	}
	if (r)
		burst->used[burst->nr - 1] = kiln_vring_used(chain, 0);
	if (!r || burst->nr == NET_BATCH)
		send_burst(queue);
	return r;
}

static bool take_tx(struct kiln_queue *queue, unsigned int *budget)
{
	struct kiln_vring_chain chain;

	for (; *budget; --*budget) {
		if (!kiln_queue_pop(queue, &chain))
			return false;
		if (chain.in_len) {
			refuse(queue, &chain, -EINVAL,
			       "a packet to be sent has a part that the device may write");
		} else if (chain.out_len < NET_HDR) {
			refuse(queue, &chain, -EINVAL,
			       "a packet to be sent has no header");
		} else if (!gather(queue, &chain) && !send(queue, &chain)) {
			kiln_queue_unpop(queue, &chain);
			return false;
		}
	}
	return true;
}

static bool serve_tx(struct kiln_queue *queue, unsigned int *budget)
{
	bool more = take_tx(queue, budget);

	send_burst(queue);
	WRITE_ONCE(kiln_net_tap(queue)->sent, true);
	return more;
}

/* ------------------------------------------------------------ from the wire */

static void unpop(struct kiln_queue *queue, struct merge *merge)
{
	struct kiln_vring_chain chain;

	while (merge->nr) {
		chain.nr = merge->used[--merge->nr].nr;
		kiln_queue_unpop(queue, &chain);
	}
}

/* What is wrong with a buffer, or NULL. */
static const char *chain_fault(const struct kiln_vring_chain *chain)
{
	if (chain->out_len)
		return "a receive buffer has a part that the device may not write";
	if (chain->in_len < NET_HDR)
		return "a receive buffer has no room for the header";
	return NULL;
}

/*
 * Is there no more to wait for? Neither where there are as many pieces as a
 * packet may have, nor where the ring has no room for another chain like @last.
 */
static bool is_all(const struct kiln_queue *queue, const struct merge *merge,
		   const struct kiln_vring_chain *last)
{
	const struct kiln_vring *ring = &queue->ring;

	return merge->pieces >= NET_PIECES ||
	       ring->in_flight + last->nr > ring->num;
}

/*
 * Chains for @need bytes, or for less if there will never be enough. Return
 * false if the guest has too few for now.
 */
static bool collect(struct kiln_queue *queue, struct merge *merge, size_t need)
{
	bool mergeable = kiln_virtio_has(queue->dev, VIRTIO_NET_F_MRG_RXBUF);
	struct kiln_vring_chain chain;
	const char *cause;

	merge->nr = 0;
	merge->pieces = 0;
	merge->room = 0;
	do {
		if (!kiln_queue_pop_behind(queue, &chain, merge->pieces)) {
			unpop(queue, merge);
			return false;
		}
		merge->used[merge->nr++] = kiln_vring_used(&chain, U32_MAX);
		merge->pieces += chain.nr_in;
		merge->room += chain.in_len;
		cause = chain_fault(&chain);
		if (unlikely(cause)) {
			unpop(queue, merge);
			kiln_virtio_break(queue, -EINVAL, cause);
			return false;
		}
	} while (mergeable && merge->room < need &&
		 !is_all(queue, merge, &chain));
	return true;
}

/* Also with buffers that are not mergeable it is 1 (§5.1.6.4). */
static bool put_num_buffers(struct kiln_queue *queue, const struct merge *merge)
{
	const size_t at = offsetof(struct virtio_net_hdr_mrg_rxbuf,
				   num_buffers);
	__le16 nr = cpu_to_le16(merge->nr);
	struct iov_iter to;

	if (likely(queue->iov->iov_len >= NET_HDR))
		return !put_user(nr, (__le16 __user *)(queue->iov->iov_base +
						       at));
	iov_iter_init(&to, ITER_DEST, queue->iov, merge->pieces, NET_HDR);
	iov_iter_advance(&to, at);
	return copy_to_iter(&nr, sizeof(nr), &to) == sizeof(nr);
}

/* The last chain is not full; those before are. */
static void push(struct kiln_queue *queue, struct merge *merge, size_t len)
{
	struct kiln_vring_used *last = &merge->used[merge->nr - 1];
	size_t before = merge->room - last->written;

	if (len < merge->room) {
		last->written = len - before;
		last->whole = false;
	}
	kiln_queue_push_batch(queue, merge->used, merge->nr);
}

/* Return false if it has to wait for the guest's buffers. */
static bool receive_packet(struct kiln_queue *queue, struct net_tap *tap,
			   void *packet)
{
	struct merge *merge = queue->priv;
	size_t need = NET_HDR + kiln_tap_len(packet);
	bool whole;
	int r;

	if (!collect(queue, merge, need))
		return false;
	if (unlikely(merge->room < need)) {
		unpop(queue, merge);
		kiln_tap_skip(tap);
		count_drop(queue->dev);
		return true;
	}
	r = kiln_tap_receive(tap, queue->iov, merge->pieces, need);
	whole = r == need && put_num_buffers(queue, merge);
	kiln_queue_wrote(queue, queue->iov, merge->pieces, need);
	if (likely(whole)) {
		push(queue, merge, need);
		return true;
	}
	/* Or the header is not of the size that was agreed on. */
	unpop(queue, merge);
	count_drop(queue->dev);
	if (r == need || r == -EFAULT)
		kiln_virtio_break(queue, -EFAULT,
				  "a receive buffer cannot be written");
	return queue->running;
}

enum tap_state { TAP_EMPTY, TAP_WAITS, TAP_MORE };

static enum tap_state drain(struct kiln_queue *queue, struct net_tap *tap,
			    unsigned int *budget)
{
	struct nic *nic = queue->dev->priv;
	void *packet;

	lockdep_assert_held(&tap->lock);
	while ((packet = kiln_tap_next(tap))) {
		if (!*budget)
			return TAP_MORE;
		--*budget;
		if (unlikely(!READ_ONCE(nic->link)))
			kiln_tap_skip(tap);
		else if (!kiln_net_wanted(nic, packet))
			kiln_tap_skip(tap);
		else if (!receive_packet(queue, tap, packet))
			return TAP_WAITS;
	}
	return TAP_EMPTY;
}

/*
 * Packets that follow each other that closely, with nothing sent in between,
 * are a burst: nobody waits for the single packet. Where the CPU has others to
 * run, among them who makes the burst and who gets it, the worker would take it
 * from them for each packet. It looks again a little later instead, and until
 * then tap_wakeup() leaves it alone.
 */
static void pace(struct kiln_queue *queue)
{
	struct net_tap *tap = kiln_net_tap(queue);
	u64 now = ktime_get_ns();
	bool burst = now - tap->served < NET_BURST_NS && !READ_ONCE(tap->sent);

	tap->served = now;
	WRITE_ONCE(tap->sent, false);
	if (burst && current == queue->worker.task && !single_task_running())
		kiln_queue_wait(queue, NET_PACE_NS);
}

static bool serve_rx(struct kiln_queue *queue, unsigned int *budget)
{
	struct nic *nic = queue->dev->priv;
	u32 active = READ_ONCE(nic->active), i = queue->index / 2;
	enum tap_state state = TAP_EMPTY;

	if (i >= active)
		return false;
	for (; i < nic->nr_pairs && state == TAP_EMPTY; i += active) {
		mutex_lock(&nic->taps[i].lock);
		/* Or pairs have changed, and whose it is now was kicked. */
		if (likely(nic->taps[i].rx == queue))
			state = drain(queue, &nic->taps[i], budget);
		mutex_unlock(&nic->taps[i].lock);
	}
	if (unlikely(kiln_tap_gone(kiln_net_tap(queue))))
		set_link(queue->dev, false);
	if (state == TAP_EMPTY)
		pace(queue);
	return state == TAP_MORE;
}

void kiln_net_set_active(struct kiln_virtio *dev, u32 pairs)
{
	struct nic *nic = dev->priv;
	struct net_tap *tap;
	u32 i;

	WRITE_ONCE(nic->active, pairs);
	for (i = 0; i < nic->nr_pairs; i++) {
		tap = &nic->taps[i];
		/* Waits for who is receiving its packets, on whichever queue. */
		mutex_lock(&tap->lock);
		WRITE_ONCE(tap->rx, &dev->queues[2 * (i % pairs)]);
		mutex_unlock(&tap->lock);
	}
	for (i = 0; i < pairs; i++)
		kiln_queue_kick(&dev->queues[2 * i]);
}

/* --------------------------------------------------------- roles of queues */

enum role { ROLE_NONE, ROLE_RX, ROLE_TX, ROLE_CTRL };

static enum role role_of(const struct kiln_queue *queue)
{
	const struct kiln_virtio *dev = queue->dev;
	u32 end = 2 * kiln_net_pairs(dev);

	if (queue->index < end)
		return queue->index % 2 ? ROLE_TX : ROLE_RX;
	if (queue->index == end && kiln_virtio_has(dev, VIRTIO_NET_F_CTRL_VQ))
		return ROLE_CTRL;
	return ROLE_NONE;
}

static bool net_serve(struct kiln_queue *queue, unsigned int *budget)
{
	switch (role_of(queue)) {
	case ROLE_RX:
		return serve_rx(queue, budget);
	case ROLE_TX:
		return serve_tx(queue, budget);
	default:
		return kiln_net_serve_ctrl(queue, budget);
	}
}

/* Queues with even numbers receive or have commands, those with odd ones send. */
static size_t private_size(const struct kiln_queue *queue)
{
	return queue->index % 2 ? sizeof(struct net_burst) :
				  sizeof(struct merge);
}

static int net_start_queue(struct kiln_queue *queue)
{
	enum role role = role_of(queue);

	if (role == ROLE_NONE)
		return -EINVAL;
	if (!queue->priv) {
		queue->priv = kvzalloc(private_size(queue), GFP_KERNEL_ACCOUNT);
		if (!queue->priv)
			return -ENOMEM;
	}
	/* Offloads wait for the network's lock; an exit should not. */
	WRITE_ONCE(queue->inline_ok, role != ROLE_CTRL);
	return 0;
}

static void free_private(struct kiln_queue *queue)
{
	struct net_burst *burst = queue->priv;

	if (queue->index % 2 && burst && burst->page.page)
		put_page(burst->page.page);
	kvfree(queue->priv);
}

/* --------------------------------------------------------------- the taps */

static void close_taps(struct nic *nic)
{
	u32 i;

	for (i = 0; i < NET_PAIRS; i++)
		kiln_tap_close(&nic->taps[i]);
	nic->nr_pairs = 0;
}

static int check_args(const struct kiln_virtio *dev,
		      const struct kiln_virtio_net *args)
{
	if (args->nr_pairs > NET_PAIRS ||
	    args->nr_pairs > (dev->nr_queues - 1) / 2)
		return -EINVAL;
	if (args->mtu && (args->mtu < MTU_MIN || args->mtu > MTU_MAX))
		return -EINVAL;
	if (args->link > 1 || args->mac[0] & 1 ||
	    memchr_inv(args->reserved, 0, sizeof(args->reserved)))
		return -EINVAL;
	return 0;
}

/* Only the link may change, and the taps must be those there are. */
static int change_link(struct kiln_virtio *dev,
		       const struct kiln_virtio_net *args)
{
	struct nic *nic = dev->priv;

	if (args->nr_pairs != nic->nr_pairs || args->mtu != nic->args.mtu ||
	    memcmp(args->mac, nic->args.mac, ETH_ALEN) ||
	    memcmp(args->fd, nic->args.fd, args->nr_pairs * sizeof(*args->fd)))
		return -EBUSY;
	set_link(dev, args->link);
	return 0;
}

static int open_taps(struct net_tap *taps, const struct kiln_virtio_net *args)
{
	u32 i;
	int r = 0;

	for (i = 0; i < args->nr_pairs && !r; i++)
		r = kiln_tap_open(&taps[i], args->fd[i]);
	return r;
}

static void init_taps(struct kiln_virtio *dev, struct net_tap *taps)
{
	u32 i;

	for (i = 0; i < NET_PAIRS; i++)
		mutex_init(&taps[i].lock);
	for (i = 0; i < (dev->nr_queues - 1) / 2; i++) {
		taps[i].rx = &dev->queues[2 * i];
		taps[i].tx = &dev->queues[2 * i + 1];
	}
}

/* Nothing has changed unless all of them could be opened. */
static int set_taps(struct kiln_virtio *dev, const struct kiln_virtio_net *args)
{
	struct nic *nic = dev->priv, *fresh;
	u32 i;
	int r;

	/* The driver knows how many there are. */
	if (dev->status & VIRTIO_CONFIG_S_FEATURES_OK && nic->nr_pairs &&
	    nic->nr_pairs != args->nr_pairs)
		return -EBUSY;
	fresh = kvzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT);
	if (!fresh)
		return -ENOMEM;
	for (i = 0; i < NET_PAIRS; i++)
		mutex_init(&fresh->taps[i].lock);
	r = open_taps(fresh->taps, args);
	if (r) {
		close_taps(fresh);
		goto out;
	}
	close_taps(nic);
	for (i = 0; i < args->nr_pairs; i++) {
		nic->taps[i].file = fresh->taps[i].file;
		nic->taps[i].sock = fresh->taps[i].sock;
		nic->taps[i].ring = fresh->taps[i].ring;
		nic->taps[i].drop = fresh->taps[i].drop;
		kiln_tap_attach(&nic->taps[i]);
	}
	nic->args = *args;
	nic->nr_pairs = args->nr_pairs;
	nic->link = args->link;
	fill_config(dev);
	/* One that is suspended has a driver, which hears of it when it goes on. */
	kiln_virtio_config_changed(dev);
out:
	kvfree(fresh);
	return r;
}

static long net_ioctl(struct kiln_virtio *dev, unsigned int cmd,
		      void __user *user)
{
	struct kiln_virtio_net args;
	int r;

	if (cmd != KILN_VIRTIO_SET_NET)
		return -ENOTTY;
	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	r = check_args(dev, &args);
	if (r)
		return r;
	return kiln_virtio_at_work(dev) ? change_link(dev, &args) :
					  set_taps(dev, &args);
}

/* ------------------------------------------------------------------- life */

static int net_create(struct kiln_virtio *dev)
{
	struct nic *nic = kvzalloc(sizeof(*nic), GFP_KERNEL_ACCOUNT);

	if (!nic)
		return -ENOMEM;
	seqlock_init(&nic->filter_lock);
	ratelimit_state_init(&nic->changes, NET_CHANGES_INTERVAL, NET_CHANGES);
	ratelimit_set_flags(&nic->changes, RATELIMIT_MSG_ON_RELEASE);
	dev->priv = nic;
	init_taps(dev, nic->taps);
	return 0;
}

static void net_destroy(struct kiln_virtio *dev)
{
	struct nic *nic = dev->priv;
	u32 i;

	close_taps(nic);
	for (i = 0; i < dev->nr_queues; i++)
		free_private(&dev->queues[i]);
	kvfree(nic);
}

static void net_close(struct kiln_virtio *dev)
{
	struct nic *nic = dev->priv;
	u32 i;

	for (i = 0; i < nic->nr_pairs; i++)
		kiln_tap_detach(&nic->taps[i]);
}

/* Of a driver that begins; one that goes on has told already. */
static void begin(struct kiln_virtio *dev)
{
	struct nic *nic = dev->priv;

	nic->offloads = dev->features & NET_GUEST_OFFLOADS;
	nic->active = 1;
	kiln_net_reset_filter(dev);
	nic->begun = true;
}

static int net_start(struct kiln_virtio *dev)
{
	struct nic *nic = dev->priv;
	u32 i;
	int r;

	if (!nic->nr_pairs)
		return -ENXIO;
	if (!nic->begun)
		begin(dev);
	for (i = 0; i < nic->nr_pairs; i++) {
		r = kiln_tap_set_offloads(&nic->taps[i], nic->offloads);
		if (r)
			return r;
	}
	kiln_net_set_active(dev, nic->active);
	return 0;
}

static void net_reset(struct kiln_virtio *dev)
{
	struct nic *nic = dev->priv;

	nic->begun = false;
	/* An address the driver set was the driver's. */
	fill_config(dev);
}

const struct kiln_virtio_ops kiln_virtio_net = {
	.id = VIRTIO_ID_NET,
	.name = "net",
	.min_queues = 3,
	.max_queues = NET_MAX_QUEUES,
	.config_size = NET_CONFIG_SIZE,
	.iov_max = NIC_IOV,
	.create = net_create,
	.destroy = net_destroy,
	.offered = net_offered,
	.start = net_start,
	.start_queue = net_start_queue,
	.serve = net_serve,
	.reset = net_reset,
	.close = net_close,
	.ioctl = net_ioctl,
};
