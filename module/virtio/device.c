// SPDX-License-Identifier: GPL-2.0-only
/*
 * A virtio device as user space has it: a descriptor, with the calls of
 * <linux/vhost.h> and those of uapi/kiln.h.
 *
 * The descriptor holds a reference to the VM. Whatever may come from the guest
 * or the host is cut off when it is closed, and what is in flight waited for;
 * after that nobody but a vCPU's thread, for a moment, knows the device.
 */
#include <linux/anon_inodes.h>
#include <linux/compat.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vhost.h>

#include "../compat.h"
#include "../trace.h"
#include "../vm_private.h"
#include "private.h"

/* Those a driver sets (virtio 1.2 §2.1). NEEDS_RESET is the device's. */
#define STATUS_DRIVER	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | \
			 VIRTIO_CONFIG_S_DRIVER_OK |				\
			 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED)

/* Where a packed ring begins: both wrap counters are 1 (§2.8.1). */
#define PACKED_BEGINNING	(BIT(31) | BIT(15))

static const struct kiln_virtio_ops * const back_ends[] = {
	&kiln_virtio_balloon,
	&kiln_virtio_block,
	&kiln_virtio_console,
	&kiln_virtio_net,
	&kiln_virtio_rng,
};

/* ----------------------------------------------------------------- status */

static void set_status_bits(struct kiln_virtio *dev, u8 clear, u8 set)
{
	spin_lock(&dev->state_lock);
	WRITE_ONCE(dev->status, (dev->status & ~clear) | set);
	spin_unlock(&dev->state_lock);
}

/*
 * A driver that is there may have read what has changed since, whether the device
 * stands still or has not begun yet: it hears of it once the device works.
 */
void kiln_virtio_config_changed(struct kiln_virtio *dev)
{
	bool now;

	spin_lock(&dev->state_lock);
	now = dev->status & VIRTIO_CONFIG_S_DRIVER_OK;
	if (!now)
		dev->config_due = dev->status & VIRTIO_CONFIG_S_DRIVER;
	spin_unlock(&dev->state_lock);
	if (now)
		kiln_signal_raise(dev->vm, &dev->config_signal);
}

static void tell_what_is_due(struct kiln_virtio *dev)
{
	bool due;

	spin_lock(&dev->state_lock);
	due = dev->config_due;
	dev->config_due = false;
	spin_unlock(&dev->state_lock);
	if (due)
		kiln_signal_raise(dev->vm, &dev->config_signal);
}

static void raise_err(struct kiln_queue *queue)
{
	spin_lock(&queue->signal.lock);
	if (queue->err)
		kiln_eventfd_signal(queue->err);
	spin_unlock(&queue->signal.lock);
}

void kiln_virtio_break(struct kiln_queue *queue, int error, const char *cause)
{
	struct kiln_virtio *dev = queue->dev;
	bool first;
	u32 i;

	lockdep_assert_held(&queue->lock);
	WRITE_ONCE(queue->running, false);
	spin_lock(&dev->state_lock);
	first = !(dev->status & VIRTIO_CONFIG_S_NEEDS_RESET);
	if (first) {
		dev->broken.queue = queue->index;
		dev->broken.error = -error;
		strscpy(dev->broken.cause, cause, sizeof(dev->broken.cause));
		WRITE_ONCE(dev->status,
			   dev->status | VIRTIO_CONFIG_S_NEEDS_RESET);
	}
	spin_unlock(&dev->state_lock);
	if (!first)
		return;
	/* Whoever hears of it finds it in the status: pairs with has_chain(). */
	smp_mb();
	trace_kiln_virtio_broken(dev->ops->id, queue->index, error, cause);
	for (i = 0; i < dev->nr_queues; i++)
		raise_err(&dev->queues[i]);
	kiln_signal_raise(dev->vm, &dev->config_signal);
}

static void stop_queues(struct kiln_virtio *dev)
{
	u32 i;

	for (i = 0; i < dev->nr_queues; i++)
		kiln_queue_stop(&dev->queues[i]);
}

static int start_queues(struct kiln_virtio *dev)
{
	u32 i;
	int r;

	for (i = 0; i < dev->nr_queues; i++) {
		if (!dev->queues[i].enabled)
			continue;
		r = kiln_queue_start(&dev->queues[i]);
		if (r)
			return r;
	}
	return 0;
}

static int start(struct kiln_virtio *dev)
{
	int r = 0;

	if (dev->ops->start)
		r = dev->ops->start(dev);
	if (r)
		return r;
	/* The driver may kick as soon as a queue runs. */
	set_status_bits(dev, 0, VIRTIO_CONFIG_S_DRIVER_OK);
	r = start_queues(dev);
	if (r) {
		stop_queues(dev);
		set_status_bits(dev, VIRTIO_CONFIG_S_DRIVER_OK, 0);
		return r;
	}
	tell_what_is_due(dev);
	return 0;
}

static void forget_status(struct kiln_virtio *dev)
{
	spin_lock(&dev->state_lock);
	WRITE_ONCE(dev->status, 0);
	dev->config_due = false;
	spin_unlock(&dev->state_lock);
}

static void reset(struct kiln_virtio *dev)
{
	u32 i;

	/* What has not begun does not have to: nobody asks for it any more. */
	for (i = 0; i < dev->nr_queues; i++)
		kiln_queue_give_up(&dev->queues[i]);
	stop_queues(dev);
	for (i = 0; i < dev->nr_queues; i++)
		kiln_queue_reset(&dev->queues[i]);
	kiln_signal_reset(&dev->config_signal);
	if (dev->ops->reset)
		dev->ops->reset(dev);
	WRITE_ONCE(dev->features, 0);
	forget_status(dev);
}

/* ------------------------------------------------- calls of the whole device */

static u64 offered(struct kiln_virtio *dev)
{
	const struct kiln_virtio_ops *ops = dev->ops;

	return KILN_VIRTIO_FEATURES |
	       (ops->offered ? ops->offered(dev) : ops->features);
}

static int start_workers(struct kiln_virtio *dev)
{
	u32 i;
	int r;

	for (i = 0; i < dev->nr_queues; i++) {
		if (dev->queues[i].worker.task)
			continue;
		r = kiln_worker_start(&dev->queues[i].worker, dev->ops->name,
				      i);
		if (r)
			return r;
	}
	return 0;
}

static long set_owner(struct kiln_virtio *dev, void __user *user)
{
	int r;

	if (dev->owned)
		return -EBUSY;
	r = start_workers(dev);
	dev->owned = !r;
	return r;
}

static long reset_owner(struct kiln_virtio *dev, void __user *user)
{
	u32 i;

	reset(dev);
	for (i = 0; i < dev->nr_queues; i++)
		kiln_queue_disconnect(&dev->queues[i]);
	kiln_signal_set_call(&dev->config_signal, NULL);
	dev->owned = false;
	return 0;
}

static long get_features(struct kiln_virtio *dev, void __user *user)
{
	u64 features = offered(dev);

	return copy_to_user(user, &features, sizeof(features)) ? -EFAULT : 0;
}

static long set_features(struct kiln_virtio *dev, void __user *user)
{
	u64 features;

	if (copy_from_user(&features, user, sizeof(features)))
		return -EFAULT;
	if (features & ~offered(dev))
		return -EOPNOTSUPP;
	if (dev->status & VIRTIO_CONFIG_S_FEATURES_OK)
		return -EBUSY;
	WRITE_ONCE(dev->features, features);
	return 0;
}

static long get_device_id(struct kiln_virtio *dev, void __user *user)
{
	return put_user(dev->ops->id, (u32 __user *)user);
}

/*
 * At once, whatever another call waits for: a reset that waits for the end of
 * requests is not done yet, and shows 0 when it is (virtio 1.2 §2.4).
 */
static long get_status(struct kiln_virtio *dev, void __user *user)
{
	return put_user(READ_ONCE(dev->status), (u8 __user *)user);
}

/* What is in @status is more than there was: only a reset takes bits away. */
static int add_status(struct kiln_virtio *dev, u8 status)
{
	u8 more = status & ~dev->status;

	if (more & VIRTIO_CONFIG_S_FEATURES_OK &&
	    (!kiln_virtio_has(dev, VIRTIO_F_VERSION_1) ||
	     dev->features & ~offered(dev)))
		return -EINVAL;
	if (more & VIRTIO_CONFIG_S_DRIVER_OK) {
		int r;

		if (!(status & VIRTIO_CONFIG_S_FEATURES_OK) ||
		    kiln_virtio_broken(dev))
			return -EINVAL;
		r = start(dev);
		if (r)
			return r;
	}
	set_status_bits(dev, 0, more);
	if (more & VIRTIO_CONFIG_S_FEATURES_OK && dev->ops->negotiated)
		dev->ops->negotiated(dev);
	return 0;
}

static long set_status(struct kiln_virtio *dev, void __user *user)
{
	u8 status;

	if (get_user(status, (u8 __user *)user))
		return -EFAULT;
	if (!status) {
		reset(dev);
		return 0;
	}
	/* The driver writes back what it reads. */
	if (kiln_virtio_broken(dev))
		status &= ~VIRTIO_CONFIG_S_NEEDS_RESET;
	if (status & ~STATUS_DRIVER || dev->status & STATUS_DRIVER & ~status)
		return -EINVAL;
	return add_status(dev, status);
}

/* As vhost-vdpa checks it. */
static int config_range(struct kiln_virtio *dev,
			const struct vhost_vdpa_config *range)
{
	u32 size = dev->ops->config_size;

	if (!range->len || range->off > size || range->len > size - range->off)
		return -EINVAL;
	return 0;
}

static long get_config(struct kiln_virtio *dev, void __user *user)
{
	struct vhost_vdpa_config __user *uconfig = user;
	struct vhost_vdpa_config range;

	if (copy_from_user(&range, uconfig, sizeof(range)))
		return -EFAULT;
	if (config_range(dev, &range))
		return -EINVAL;
	return copy_to_user(uconfig->buf, dev->config + range.off, range.len) ?
	       -EFAULT : 0;
}

static long set_config(struct kiln_virtio *dev, void __user *user)
{
	struct vhost_vdpa_config __user *uconfig = user;
	struct vhost_vdpa_config range;
	u8 buf[KILN_VIRTIO_CONFIG_MAX];

	if (copy_from_user(&range, uconfig, sizeof(range)))
		return -EFAULT;
	if (config_range(dev, &range))
		return -EINVAL;
	if (copy_from_user(buf, uconfig->buf, range.len))
		return -EFAULT;
	if (!dev->ops->write_config)
		return -EINVAL;
	return dev->ops->write_config(dev, range.off, buf, range.len);
}

static long get_config_size(struct kiln_virtio *dev, void __user *user)
{
	return put_user(dev->ops->config_size, (u32 __user *)user);
}

static long get_vring_num(struct kiln_virtio *dev, void __user *user)
{
	return put_user((u16)KILN_VIRTIO_MAX_NUM, (u16 __user *)user);
}

static long get_vqs_count(struct kiln_virtio *dev, void __user *user)
{
	return put_user(dev->nr_queues, (u32 __user *)user);
}

/* NULL for -1. */
static struct eventfd_ctx *eventfd_of(int fd)
{
	return fd == -1 ? NULL : eventfd_ctx_fdget(fd);
}

static long set_config_call(struct kiln_virtio *dev, void __user *user)
{
	struct eventfd_ctx *ctx;
	int fd;

	if (get_user(fd, (int __user *)user))
		return -EFAULT;
	ctx = eventfd_of(fd);
	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	kiln_signal_set_call(&dev->config_signal, ctx);
	return 0;
}

static long suspend(struct kiln_virtio *dev, void __user *user)
{
	stop_queues(dev);
	set_status_bits(dev, VIRTIO_CONFIG_S_DRIVER_OK, 0);
	return 0;
}

static struct kiln_queue *queue_at(struct kiln_virtio *dev, u32 index)
{
	if (index >= dev->nr_queues)
		return NULL;
	return &dev->queues[array_index_nospec(index, dev->nr_queues)];
}

static struct kiln_signal *signal_at(struct kiln_virtio *dev, u32 index)
{
	struct kiln_queue *queue;

	if (index == KILN_VIRTIO_CONFIG_INDEX)
		return &dev->config_signal;
	queue = queue_at(dev, index);
	return queue ? &queue->signal : NULL;
}

static long set_msi(struct kiln_virtio *dev, void __user *user)
{
	struct kiln_signal *signal;
	struct kiln_virtio_msi msi;

	if (copy_from_user(&msi, user, sizeof(msi)))
		return -EFAULT;
	signal = signal_at(dev, msi.index);
	return signal ? kiln_signal_set(dev->vm, signal, &msi) : -EINVAL;
}

static long get_msi(struct kiln_virtio *dev, void __user *user)
{
	struct kiln_signal *signal;
	struct kiln_virtio_msi msi;

	if (copy_from_user(&msi, user, sizeof(msi)))
		return -EFAULT;
	signal = signal_at(dev, msi.index);
	if (!signal)
		return -EINVAL;
	kiln_signal_get(signal, &msi);
	return copy_to_user(user, &msi, sizeof(msi)) ? -EFAULT : 0;
}

static long set_doorbell(struct kiln_virtio *dev, void __user *user)
{
	struct kiln_virtio_doorbell bell;
	struct kiln_queue *queue;

	if (copy_from_user(&bell, user, sizeof(bell)))
		return -EFAULT;
	queue = queue_at(dev, bell.index);
	return queue ? kiln_queue_set_doorbell(queue, &bell) : -EINVAL;
}

static long get_broken(struct kiln_virtio *dev, void __user *user)
{
	struct kiln_virtio_broken answer;
	bool valid;

	spin_lock(&dev->state_lock);
	valid = dev->status & VIRTIO_CONFIG_S_NEEDS_RESET;
	answer = dev->broken;
	spin_unlock(&dev->state_lock);
	if (!valid)
		return -ENODATA;
	return copy_to_user(user, &answer, sizeof(answer)) ? -EFAULT : 0;
}

/* ------------------------------------------------------- calls of one queue */

static long set_num(struct kiln_queue *queue, void __user *user)
{
	struct vhost_vring_state s;

	if (queue->running)
		return -EBUSY;
	if (copy_from_user(&s, user, sizeof(s)))
		return -EFAULT;
	if (!s.num || s.num > KILN_VIRTIO_MAX_NUM ||
	    (s.num & (s.num - 1) &&
	     !kiln_virtio_has(queue->dev, VIRTIO_F_RING_PACKED)))
		return -EINVAL;
	queue->config.num = s.num;
	return 0;
}

static long set_addr(struct kiln_queue *queue, void __user *user)
{
	struct vhost_vring_addr a;

	if (copy_from_user(&a, user, sizeof(a)))
		return -EFAULT;
	if (a.flags)
		return -EOPNOTSUPP;
	if (queue->running)
		return -EBUSY;
	if (a.avail_user_addr & (VRING_AVAIL_ALIGN_SIZE - 1) ||
	    a.used_user_addr & (VRING_USED_ALIGN_SIZE - 1))
		return -EINVAL;
	queue->config.desc = a.desc_user_addr;
	queue->config.avail = a.avail_user_addr;
	queue->config.used = a.used_user_addr;
	return 0;
}

static long set_base(struct kiln_queue *queue, void __user *user)
{
	struct vhost_vring_state s;

	if (queue->running)
		return -EBUSY;
	if (copy_from_user(&s, user, sizeof(s)))
		return -EFAULT;
	if (s.num > U16_MAX &&
	    !kiln_virtio_has(queue->dev, VIRTIO_F_RING_PACKED))
		return -EINVAL;
	queue->base = s.num;
	queue->has_base = true;
	return 0;
}

static long get_base(struct kiln_queue *queue, void __user *user)
{
	struct vhost_vring_state s = { .index = queue->index };

	mutex_lock(&queue->lock);
	if (queue->running)
		s.num = kiln_vring_get_base(&queue->ring);
	else if (queue->has_base)
		s.num = queue->base;
	else if (kiln_virtio_has(queue->dev, VIRTIO_F_RING_PACKED))
		s.num = PACKED_BEGINNING;
	mutex_unlock(&queue->lock);
	return copy_to_user(user, &s, sizeof(s)) ? -EFAULT : 0;
}

static long set_enable(struct kiln_queue *queue, void __user *user)
{
	struct kiln_virtio *dev = queue->dev;
	struct vhost_vring_state s;
	int r = 0;

	if (copy_from_user(&s, user, sizeof(s)))
		return -EFAULT;
	if (s.num > 1)
		return -EINVAL;
	if (!s.num)
		kiln_queue_stop(queue);
	else if (!queue->enabled && kiln_virtio_at_work(dev) &&
		 !kiln_virtio_broken(dev))
		r = kiln_queue_start(queue);
	if (!r)
		queue->enabled = s.num;
	return r;
}

static long get_fd(void __user *user, int *fd)
{
	struct vhost_vring_file f;

	if (copy_from_user(&f, user, sizeof(f)))
		return -EFAULT;
	*fd = f.fd;
	return 0;
}

static long set_kick(struct kiln_queue *queue, void __user *user)
{
	int fd;
	long r = get_fd(user, &fd);

	return r ?: kiln_queue_set_kick(queue, fd);
}

static long set_call(struct kiln_queue *queue, void __user *user)
{
	struct eventfd_ctx *ctx;
	int fd;
	long r = get_fd(user, &fd);

	if (r)
		return r;
	ctx = eventfd_of(fd);
	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	kiln_signal_set_call(&queue->signal, ctx);
	return 0;
}

static long set_err(struct kiln_queue *queue, void __user *user)
{
	int fd;
	long r = get_fd(user, &fd);

	return r ?: kiln_queue_set_err(queue, fd);
}

/* ----------------------------------------------------------------- dispatch */

/* Who may make a call. */
enum who {
	OWNER,		/* -EPERM where there is none */
	ANYONE,		/* it is answered before there is an owner, too */
	AT_ONCE,	/* so, and without dev->lock, which may be waited for */
};

/**
 * struct dev_ioctl - a call
 * @cmd: its number
 * @who: who may make it
 * @fn: of the device, or
 * @queue_fn: of one of its queues, whose index comes first in the argument
 */
struct dev_ioctl {
	unsigned int cmd;
	enum who who;
	long (*fn)(struct kiln_virtio *dev, void __user *user);
	long (*queue_fn)(struct kiln_queue *queue, void __user *user);
};

static const struct dev_ioctl ioctls[] = {
	{ VHOST_SET_OWNER, ANYONE, set_owner },
	{ VHOST_GET_FEATURES, ANYONE, get_features },
	{ VHOST_SET_FEATURES, ANYONE, set_features },
	{ VHOST_VDPA_GET_DEVICE_ID, AT_ONCE, get_device_id },
	{ VHOST_VDPA_GET_STATUS, AT_ONCE, get_status },
	{ VHOST_VDPA_GET_CONFIG, ANYONE, get_config },
	{ VHOST_VDPA_GET_CONFIG_SIZE, AT_ONCE, get_config_size },
	{ VHOST_VDPA_GET_VRING_NUM, AT_ONCE, get_vring_num },
	{ VHOST_VDPA_GET_VQS_COUNT, AT_ONCE, get_vqs_count },
	{ KILN_VIRTIO_GET_BROKEN, AT_ONCE, get_broken },
	{ VHOST_RESET_OWNER, OWNER, reset_owner },
	{ VHOST_VDPA_SET_STATUS, OWNER, set_status },
	{ VHOST_VDPA_SET_CONFIG, OWNER, set_config },
	{ VHOST_VDPA_SET_CONFIG_CALL, OWNER, set_config_call },
	{ VHOST_VDPA_SUSPEND, OWNER, suspend },
	{ KILN_VIRTIO_SET_DOORBELL, OWNER, set_doorbell },
	{ KILN_VIRTIO_SET_MSI, OWNER, set_msi },
	{ KILN_VIRTIO_GET_MSI, OWNER, get_msi },
	{ VHOST_SET_VRING_NUM, OWNER, NULL, set_num },
	{ VHOST_SET_VRING_ADDR, OWNER, NULL, set_addr },
	{ VHOST_SET_VRING_BASE, OWNER, NULL, set_base },
	{ VHOST_GET_VRING_BASE, OWNER, NULL, get_base },
	{ VHOST_SET_VRING_KICK, OWNER, NULL, set_kick },
	{ VHOST_SET_VRING_CALL, OWNER, NULL, set_call },
	{ VHOST_SET_VRING_ERR, OWNER, NULL, set_err },
	{ VHOST_VDPA_SET_VRING_ENABLE, OWNER, NULL, set_enable },
};

static const struct dev_ioctl *find_ioctl(unsigned int cmd)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(ioctls); i++) {
		if (ioctls[i].cmd == cmd)
			return &ioctls[i];
	}
	return NULL;
}

static long locked_ioctl(struct kiln_virtio *dev, const struct dev_ioctl *io,
			 unsigned int cmd, void __user *user)
{
	struct kiln_queue *queue;
	u32 index;

	if (!io)
		return dev->ops->ioctl(dev, cmd, user);
	if (io->who == OWNER && !dev->owned)
		return -EPERM;
	if (io->fn)
		return io->fn(dev, user);
	if (get_user(index, (u32 __user *)user))
		return -EFAULT;
	queue = queue_at(dev, index);
	return queue ? io->queue_fn(queue, user) : -ENOBUFS;
}

static long dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	const struct dev_ioctl *io = find_ioctl(cmd);
	struct kiln_virtio *dev = file->private_data;
	void __user *user = (void __user *)arg;
	long r;

	if (dev->vm->mm != current->mm)
		return -EIO;
	if (io && io->who == AT_ONCE)
		return io->fn(dev, user);
	if (mutex_lock_killable(&dev->lock))
		return -EINTR;
	r = locked_ioctl(dev, io, cmd, user);
	mutex_unlock(&dev->lock);
	return r;
}

/* --------------------------------------------------------------------- life */

static void dev_free(struct kref *ref)
{
	struct kiln_virtio *dev = container_of(ref, struct kiln_virtio, ref);
	struct kiln_vm *vm = dev->vm;
	u32 i;

	if (dev->priv && dev->ops->destroy)
		dev->ops->destroy(dev);
	for (i = 0; i < dev->nr_queues; i++)
		kiln_queue_destroy(&dev->queues[i]);
	mutex_destroy(&dev->lock);
	kvfree(dev);
	kiln_vm_put(vm);
}

void kiln_virtio_put(struct kiln_virtio *dev)
{
	kref_put(&dev->ref, dev_free);
}

static int dev_release(struct inode *inode, struct file *file)
{
	struct kiln_virtio *dev = file->private_data;
	u32 i;

	mutex_lock(&dev->lock);
	if (dev->ops->close)
		dev->ops->close(dev);
	reset_owner(dev, NULL);
	mutex_unlock(&dev->lock);
	/* Until here slots that change wait for what the device does. */
	mutex_lock(&dev->vm->virtio.lock);
	list_del(&dev->list);
	mutex_unlock(&dev->vm->virtio.lock);
	/* Whoever took a vCPU's note has a reference now. */
	synchronize_rcu_expedited();
	for (i = 0; i < dev->nr_queues; i++)
		kiln_worker_stop(&dev->queues[i].worker);
	kiln_virtio_put(dev);
	return 0;
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE,
	.release = dev_release,
	.unlocked_ioctl = dev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct kiln_virtio *dev_alloc(struct kiln_vm *vm,
				     const struct kiln_virtio_ops *ops, u32 nr)
{
	struct kiln_virtio *dev;
	int r = 0;
	u32 i;

	dev = kvzalloc(struct_size(dev, queues, nr), GFP_KERNEL_ACCOUNT);
	if (!dev)
		return ERR_PTR(-ENOMEM);
	kref_init(&dev->ref);
	mutex_init(&dev->lock);
	spin_lock_init(&dev->state_lock);
	kiln_signal_init(&dev->config_signal);
	dev->ops = ops;
	dev->vm = vm;
	kiln_vm_get(vm);
	for (i = 0; i < nr && !r; i++) {
		r = kiln_queue_init(&dev->queues[i], dev, i);
		dev->nr_queues++;
	}
	if (!r && ops->create)
		r = ops->create(dev);
	if (r) {
		kiln_virtio_put(dev);
		return ERR_PTR(r);
	}
	return dev;
}

static int dev_install(struct kiln_virtio *dev)
{
	struct kiln_vm_virtio *virtio = &dev->vm->virtio;
	struct file *file;
	int fd;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	file = anon_inode_getfile("kiln-virtio", &dev_fops, dev, O_RDWR);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	mutex_lock(&virtio->lock);
	list_add_tail(&dev->list, &virtio->devices);
	mutex_unlock(&virtio->lock);
	fd_install(fd, file);
	return fd;
}

static const struct kiln_virtio_ops *find_ops(u32 type)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(back_ends); i++) {
		if (back_ends[i]->id == type)
			return back_ends[i];
	}
	return NULL;
}

int kiln_virtio_create(struct kiln_vm *vm,
		       const struct kiln_virtio_create *args)
{
	const struct kiln_virtio_ops *ops = find_ops(args->type);
	struct kiln_virtio *dev;
	int r;

	if (!ops || args->nr_queues < ops->min_queues ||
	    args->nr_queues > ops->max_queues || args->flags ||
	    memchr_inv(args->reserved, 0, sizeof(args->reserved)))
		return -EINVAL;
	dev = dev_alloc(vm, ops, args->nr_queues);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	r = dev_install(dev);
	if (r < 0)
		kiln_virtio_put(dev);
	return r;
}

/* --------------------------------------------------------- the VM's devices */

void kiln_virtio_init(struct kiln_vm *vm)
{
	mutex_init(&vm->virtio.lock);
	INIT_LIST_HEAD(&vm->virtio.devices);
}

void kiln_virtio_destroy(struct kiln_vm *vm)
{
	WARN_ON(!list_empty(&vm->virtio.devices));
	mutex_destroy(&vm->virtio.lock);
}

/* Queues are counted off in the order of the list: @nr of them go on. */
static void go_on(struct kiln_vm *vm, u32 nr)
{
	struct kiln_virtio *dev;
	u32 i;

	list_for_each_entry(dev, &vm->virtio.devices, list) {
		for (i = 0; i < dev->nr_queues; i++) {
			if (!nr--)
				return;
			kiln_queue_go_on(&dev->queues[i]);
		}
	}
}

static int wait_idle(struct kiln_vm *vm)
{
	struct kiln_virtio *dev;
	u32 i;
	int r = 0;

	list_for_each_entry(dev, &vm->virtio.devices, list) {
		for (i = 0; i < dev->nr_queues && !r; i++)
			r = kiln_queue_wait_idle(&dev->queues[i]);
	}
	return r;
}

static int hold(struct kiln_vm *vm, u32 *nr)
{
	struct kiln_virtio *dev;
	u32 i;

	list_for_each_entry(dev, &vm->virtio.devices, list) {
		for (i = 0; i < dev->nr_queues; i++) {
			if (kiln_queue_hold(&dev->queues[i]))
				return -EINTR;
			++*nr;
		}
	}
	return wait_idle(vm);
}

int kiln_virtio_hold(struct kiln_vm *vm)
{
	u32 nr = 0;
	int r;

	if (mutex_lock_killable(&vm->virtio.lock))
		return -EINTR;
	r = hold(vm, &nr);
	if (r) {
		go_on(vm, nr);
		mutex_unlock(&vm->virtio.lock);
	}
	return r;
}

void kiln_virtio_go_on(struct kiln_vm *vm)
{
	go_on(vm, U32_MAX);
	mutex_unlock(&vm->virtio.lock);
}
