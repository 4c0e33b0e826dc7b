// SPDX-License-Identifier: GPL-2.0-only
/*
 * Taps: the host's end of the wire, by the kernel's own interface to them: a
 * socket that packets are sent to, a ring of those that wait for the guest.
 *
 * tun and macvtap are modules that may not be there, so their functions are
 * looked up when a descriptor may be one of theirs; the descriptor keeps its
 * module loaded. What the packets are worth, the tap judges: a header with
 * nonsense in it is refused there.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/if_tap.h>
#include <linux/if_tun.h>
#include <linux/if_vlan.h>
#include <linux/module.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/ptr_ring.h>
#include <linux/skbuff.h>
#include <linux/socket.h>
#include <linux/uaccess.h>
#include <linux/virtio_byteorder.h>
#include <net/sock.h>

#include "../compat.h"
#include "net.h"

/* ------------------------------------------------------------ which kind */

static void drop_skb(void *packet)
{
	kfree_skb(packet);
}

static void take_functions(struct net_tap *tap, struct socket *sock,
			   struct ptr_ring *ring, void (*drop)(void *packet))
{
	tap->sock = sock;
	tap->ring = ring;
	tap->drop = drop;
}

static int open_tun(struct net_tap *tap, struct file *file)
{
	struct socket *(*get_socket)(struct file *file) =
		symbol_get(tun_get_socket);
	struct ptr_ring *(*get_ring)(struct file *file);
	void (*drop)(void *packet);
	struct socket *sock;

	if (!get_socket)
		return -EINVAL;
	sock = get_socket(file);
	if (!IS_ERR(sock)) {
		/* Of the same module, and it is there. */
		get_ring = symbol_get(tun_get_tx_ring);
		drop = symbol_get(tun_ptr_free);
		take_functions(tap, sock, get_ring(file), drop);
		symbol_put(tun_ptr_free);
		symbol_put(tun_get_tx_ring);
	}
	symbol_put(tun_get_socket);
	return PTR_ERR_OR_ZERO(sock);
}

static int open_macvtap(struct net_tap *tap, struct file *file)
{
	struct socket *(*get_socket)(struct file *file) =
		symbol_get(tap_get_socket);
	struct ptr_ring *(*get_ring)(struct file *file);
	struct socket *sock;

	if (!get_socket)
		return -EINVAL;
	sock = get_socket(file);
	if (!IS_ERR(sock)) {
		get_ring = symbol_get(tap_get_ptr_ring);
		take_functions(tap, sock, get_ring(file), drop_skb);
		symbol_put(tap_get_ptr_ring);
	}
	symbol_put(tap_get_socket);
	return PTR_ERR_OR_ZERO(sock);
}

static int (* const kinds[])(struct net_tap *tap, struct file *file) = {
	open_tun,
	open_macvtap,
};

/* ------------------------------------------------------------- descriptors */

static int open_file(struct net_tap *tap, struct file *file)
{
	int i, r = -EINVAL;

	if ((file->f_mode & (FMODE_READ | FMODE_WRITE)) !=
	    (FMODE_READ | FMODE_WRITE))
		return -EBADF;
	for (i = 0; i < ARRAY_SIZE(kinds) && r == -EINVAL; i++)
		r = kinds[i](tap, file);
	if (r)
		return r;
	tap->file = file;
	/* Is there an interface? */
	r = kiln_tap_set_offloads(tap, 0);
	if (r)
		tap->file = NULL;
	return r;
}

int kiln_tap_open(struct net_tap *tap, int fd)
{
	struct file *file = fget(fd);
	int r;

	if (!file)
		return -EBADF;
	r = open_file(tap, file);
	if (r)
		fput(file);
	return r;
}

void kiln_tap_close(struct net_tap *tap)
{
	if (!tap->file)
		return;
	kiln_tap_detach(tap);
	mutex_lock(&tap->lock);
	while (tap->first < tap->end)
		kiln_tap_skip(tap);
	mutex_unlock(&tap->lock);
	fput(tap->file);
	tap->file = NULL;
}

/* ---------------------------------------------------------------- wake-ups */

/*
 * A guest that has sent since it got something waits for an answer. If its vCPU
 * halts, or was preempted by who answers, its thread receives it, which saves
 * waking the worker and switching to it and back. What makes a burst is the
 * worker's, which gathers it.
 */
static void tell(struct kiln_queue *rx)
{
	struct kiln_queue *tx = rx + 1;

	if (!READ_ONCE(kiln_net_tap(rx)->sent) ||
	    !kiln_queue_ask(rx, READ_ONCE(tx->vcpu)))
		kiln_queue_kick(rx);
}

/* Called with the wait queue's lock held, maybe in a softirq. */
static int tap_wakeup(wait_queue_entry_t *wait, unsigned int mode, int sync,
		      void *key)
{
	struct net_tap *tap = container_of(wait, struct net_tap, wait);
	__poll_t events = key_to_poll(key);
	struct kiln_queue *rx = READ_ONCE(tap->rx);

	/* The timer looks after this packet was there: a wake-up is a barrier. */
	if ((!events || events & EPOLLIN) && READ_ONCE(rx->running) &&
	    !hrtimer_is_queued(&rx->timer))
		tell(rx);
	if ((!events || events & EPOLLOUT) && READ_ONCE(tap->tx_waits)) {
		WRITE_ONCE(tap->tx_waits, false);
		kiln_queue_kick(tap->tx);
	}
	return 0;
}

static void tap_enqueue(struct file *file, wait_queue_head_t *head,
			poll_table *poll)
{
	struct net_tap *tap = container_of(poll, struct net_tap, poll);

	tap->head = head;
	add_wait_queue(head, &tap->wait);
}

void kiln_tap_attach(struct net_tap *tap)
{
	init_waitqueue_func_entry(&tap->wait, tap_wakeup);
	init_poll_funcptr(&tap->poll, tap_enqueue);
	vfs_poll(tap->file, &tap->poll);
}

void kiln_tap_detach(struct net_tap *tap)
{
	if (tap->head)
		remove_wait_queue(tap->head, &tap->wait);
	tap->head = NULL;
}

/* ---------------------------------------------------------------- offloads */

static const struct {
	u64 guest;
	unsigned int tun;
} offload_rows[] = {
	{ BIT_ULL(VIRTIO_NET_F_GUEST_CSUM), TUN_F_CSUM },
	{ BIT_ULL(VIRTIO_NET_F_GUEST_TSO4), TUN_F_TSO4 },
	{ BIT_ULL(VIRTIO_NET_F_GUEST_TSO6), TUN_F_TSO6 },
	{ BIT_ULL(VIRTIO_NET_F_GUEST_ECN), TUN_F_TSO_ECN },
	{ KILN_NET_GUEST_USO, KILN_TUN_F_USO },
};

/* §5.1.3.1: each needs another one; a driver that errs gets less. */
static unsigned int tun_offloads(u64 offloads)
{
	unsigned int flags = 0;
	int i;

	if (!(offloads & BIT_ULL(VIRTIO_NET_F_GUEST_CSUM)))
		return 0;
	for (i = 0; i < ARRAY_SIZE(offload_rows); i++) {
		if (offload_rows[i].guest &&
		    (offloads & offload_rows[i].guest) == offload_rows[i].guest)
			flags |= offload_rows[i].tun;
	}
	if (!(flags & (TUN_F_TSO4 | TUN_F_TSO6)))
		flags &= ~TUN_F_TSO_ECN;
	return flags;
}

int kiln_tap_set_offloads(struct net_tap *tap, u64 offloads)
{
	struct file *file = tap->file;

	/* The flags are the argument: no memory of a user's is touched. */
	return file->f_op->unlocked_ioctl(file, TUNSETOFFLOAD,
					  tun_offloads(offloads));
}

/* ----------------------------------------------------------------- packets */

void *kiln_tap_next(struct net_tap *tap)
{
	lockdep_assert_held(&tap->lock);
	if (tap->first == tap->end) {
		tap->first = 0;
		tap->end = ptr_ring_consume_batched(tap->ring, tap->batch,
						    NET_BATCH);
		if (!tap->end)
			return NULL;
	}
	return tap->batch[tap->first];
}

void kiln_tap_skip(struct net_tap *tap)
{
	lockdep_assert_held(&tap->lock);
	tap->drop(tap->batch[tap->first++]);
}

static const u8 *skb_head(const struct sk_buff *skb, u8 *buf)
{
	const u8 *head = skb_header_pointer(skb, 0, ETH_HLEN, buf);

	if (!head)
		return NULL;
	if (skb_vlan_tag_present(skb)) {
		__be16 tag[2] = { skb->vlan_proto, htons(skb_vlan_tag_get(skb)) };

		memmove(buf, head, 2 * ETH_ALEN);
		memcpy(buf + 2 * ETH_ALEN, tag, sizeof(tag));
		return buf;
	}
	/* A tag among the data. Without one there is no need for more. */
	if (skb->len < VLAN_ETH_HLEN) {
		memmove(buf, head, ETH_HLEN);
		memset(buf + ETH_HLEN, 0, VLAN_HLEN);
		return buf;
	}
	return skb_header_pointer(skb, 0, VLAN_ETH_HLEN, buf);
}

const u8 *kiln_tap_head(void *packet, u8 *buf)
{
	const struct xdp_frame *frame;

	if (!tun_is_xdp_frame(packet))
		return skb_head(packet, buf);
	frame = tun_ptr_to_xdp(packet);
	return frame->len < VLAN_ETH_HLEN ? NULL : frame->data;
}

u32 kiln_tap_len(void *packet)
{
	const struct sk_buff *skb = packet;

	if (tun_is_xdp_frame(packet))
		return ((struct xdp_frame *)tun_ptr_to_xdp(packet))->len;
	return skb->len + (skb_vlan_tag_present(skb) ? VLAN_HLEN : 0);
}

int kiln_tap_receive(struct net_tap *tap, const struct iovec *pieces, u32 nr,
		     size_t len)
{
	struct msghdr msg = { .msg_control = tap->batch[tap->first++] };
	int r;

	lockdep_assert_held(&tap->lock);
	iov_iter_init(&msg.msg_iter, ITER_DEST, pieces, nr, len);
	r = tap->sock->ops->recvmsg(tap->sock, &msg, len,
				    MSG_DONTWAIT | MSG_TRUNC);
	/* tun says so of the header only. */
	if (unlikely(r == len && iov_iter_count(&msg.msg_iter)))
		return -EFAULT;
	return r;
}

static bool writable(struct net_tap *tap)
{
	return vfs_poll(tap->file, NULL) & (EPOLLOUT | EPOLLERR);
}

int kiln_tap_send(struct net_tap *tap, const struct iovec *pieces, u32 nr,
		  size_t len)
{
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT };
	int r;

	iov_iter_init(&msg.msg_iter, ITER_SOURCE, pieces, nr, len);
	r = tap->sock->ops->sendmsg(tap->sock, &msg, len);
	if (likely(r != -EAGAIN))
		return r;
	WRITE_ONCE(tap->tx_waits, true);
	/* Asking makes the socket tell; it may have room by now. */
	if (writable(tap))
		kiln_queue_kick(tap->tx);
	return r;
}

/* Before a packet that the tap is given whole: its own notes, our header. */
#define BURST_PAD	SKB_DATA_ALIGN(NET_SKB_PAD + NET_IP_ALIGN)

static size_t burst_room(size_t len)
{
	return SKB_DATA_ALIGN(BURST_PAD + len) +
	       SKB_DATA_ALIGN(sizeof(struct skb_shared_info));
}

/*
 * A tap that limits what it holds (TUNSETSNDBUF) or looks at packets before the
 * host does (XDP) has its own way with each.
 */
static bool may_gather(const struct net_tap *tap, size_t len)
{
	return len >= NET_HDR + ETH_HLEN && burst_room(len) <= PAGE_SIZE &&
	       tap->sock->sk->sk_sndbuf == INT_MAX &&
	       !sock_flag(tap->sock->sk, SOCK_XDP);
}

/* An interface that is down takes nothing; asked once for each burst. */
static bool is_up(struct net_tap *tap)
{
	return vfs_poll(tap->file, NULL) & EPOLLOUT;
}

/* Segments and nonsense are the business of kiln_tap_send(). */
static bool is_plain(const struct virtio_net_hdr *hdr, size_t len)
{
	u32 sum = __virtio16_to_cpu(true, hdr->csum_start) +
		  __virtio16_to_cpu(true, hdr->csum_offset);

	if (hdr->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return false;
	return !(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
	       sum + sizeof(__sum16) <= len;
}

/*
 * What is behind the single underscore leaves out the look whether the buffer
 * is a whole object of the kernel's: a part of a page is none, and there is
 * room for all that @pieces have. It costs more than the copy.
 */
static bool copy_pieces(void *to, const struct iovec *pieces, u32 nr)
{
	for (; nr; to += pieces->iov_len, pieces++, nr--)
		if (_copy_from_user(to, pieces->iov_base, pieces->iov_len))
			return false;
	return true;
}

int kiln_tap_gather(struct net_tap *tap, struct net_burst *burst,
		    const struct iovec *pieces, u32 nr, size_t len)
{
	size_t room = burst_room(len), data = len - NET_HDR;
	struct tun_xdp_hdr *note;
	struct virtio_net_hdr *hdr;
	void *buf;

	BUILD_BUG_ON(sizeof(*note) + NET_HDR > BURST_PAD);
	if (!may_gather(tap, len) || (!burst->nr && !is_up(tap)) ||
	    !skb_page_frag_refill(room, &burst->page,
				  GFP_KERNEL | __GFP_NOWARN))
		return 0;
	buf = page_address(burst->page.page) + burst->page.offset;
	hdr = buf + BURST_PAD - NET_HDR;
	if (!copy_pieces(hdr, pieces, nr))
		return -EFAULT;
	if (!is_plain(hdr, data))
		return 0;
	note = buf;
	note->buflen = room;
	note->gso = *hdr;
	xdp_prepare_buff(&burst->buffs[burst->nr++], buf, BURST_PAD, data,
			 false);
	/* The packet has a reference, and we keep ours. */
	get_page(burst->page.page);
	burst->page.offset += room;
	return 1;
}

unsigned int kiln_tap_send_burst(struct net_tap *tap, struct net_burst *burst)
{
	struct tun_msg_ctl packets = {
		.type = TUN_MSG_PTR,
		.num = burst->nr,
		.ptr = burst->buffs,
	};
	struct msghdr msg = {
		.msg_control = &packets,
		.msg_controllen = sizeof(packets),
		.msg_flags = MSG_DONTWAIT,
	};
	unsigned int i, nr = burst->nr;

	burst->nr = 0;
	if (!nr || tap->sock->ops->sendmsg(tap->sock, &msg, 0) >= 0)
		return 0;
	/* There is no interface any more: the packets are still ours. */
	for (i = 0; i < nr; i++)
		put_page(virt_to_head_page(burst->buffs[i].data));
	return nr;
}

bool kiln_tap_gone(const struct net_tap *tap)
{
	return READ_ONCE(tap->sock->sk->sk_shutdown) & RCV_SHUTDOWN;
}
