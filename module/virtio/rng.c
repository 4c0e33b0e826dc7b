// SPDX-License-Identifier: GPL-2.0-only
/*
 * Entropy (virtio 1.2 §5.4): what the kernel's own generator says. A request is
 * short work without waiting, so a vCPU's thread does its own.
 */
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "private.h"

/* A request is given no more than this, as §5.4.6.2 permits. */
#define MOST	4096
#define PIECE	256

struct rng {
	struct kiln_limit limit;
};

static int rng_create(struct kiln_virtio *dev)
{
	struct rng *rng = kzalloc(sizeof(*rng), GFP_KERNEL_ACCOUNT);

	if (!rng)
		return -ENOMEM;
	kiln_limit_init(&rng->limit);
	dev->priv = rng;
	return 0;
}

static void rng_destroy(struct kiln_virtio *dev)
{
	kfree(dev->priv);
}

static int rng_start_queue(struct kiln_queue *queue)
{
	WRITE_ONCE(queue->inline_ok, true);
	return 0;
}

/* Return how many bytes could be written. */
static u32 fill(const struct kiln_vring_chain *chain)
{
	u32 len = min_t(u64, chain->in_len, MOST), done = 0, n;
	struct iov_iter to;
	u8 buf[PIECE];

	iov_iter_init(&to, ITER_DEST, chain->iov + chain->nr_out, chain->nr_in,
		      chain->in_len);
	while (done < len) {
		n = min_t(u32, len - done, sizeof(buf));
		get_random_bytes(buf, n);
		n = copy_to_iter(buf, n, &to);
		if (!n)
			break;
		done += n;
	}
	memzero_explicit(buf, sizeof(buf));
	return done;
}

static void serve_one(struct kiln_queue *queue, struct rng *rng,
		      const struct kiln_vring_chain *chain)
{
	u32 done = fill(chain);

	kiln_limit_charge(&rng->limit, done);
	kiln_queue_wrote(queue, chain->iov + chain->nr_out, chain->nr_in, done);
	kiln_queue_push(queue, chain, done);
	if (chain->out_len)
		kiln_virtio_break(queue, -EINVAL,
				  "an entropy buffer has a part that the device may not write");
	else if (!done)
		kiln_virtio_break(queue, chain->in_len ? -EFAULT : -EINVAL,
				  chain->in_len ?
				  "an entropy buffer cannot be written" :
				  "an entropy buffer is empty");
}

static bool rng_serve(struct kiln_queue *queue, unsigned int *budget)
{
	struct rng *rng = queue->dev->priv;
	struct kiln_vring_chain chain;
	u64 ns;

	for (; *budget; --*budget) {
		ns = kiln_limit_delay(&rng->limit);
		if (ns) {
			kiln_queue_wait(queue, ns);
			return false;
		}
		if (!kiln_queue_pop(queue, &chain))
			return false;
		serve_one(queue, rng, &chain);
	}
	return true;
}

static long rng_ioctl(struct kiln_virtio *dev, unsigned int cmd,
		      void __user *user)
{
	struct rng *rng = dev->priv;
	struct kiln_virtio_rng args;
	u32 i;

	if (cmd != KILN_VIRTIO_SET_RNG)
		return -ENOTTY;
	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (memchr_inv(args.reserved, 0, sizeof(args.reserved)))
		return -EINVAL;
	kiln_limit_set(&rng->limit, args.bps);
	/* The old limit's wait may be longer. */
	for (i = 0; i < dev->nr_queues; i++)
		kiln_queue_kick(&dev->queues[i]);
	return 0;
}

const struct kiln_virtio_ops kiln_virtio_rng = {
	.id = VIRTIO_ID_RNG,
	.name = "rng",
	.min_queues = 1,
	.max_queues = 1,
	.iov_max = 64,
	.create = rng_create,
	.destroy = rng_destroy,
	.start_queue = rng_start_queue,
	.serve = rng_serve,
	.ioctl = rng_ioctl,
};
