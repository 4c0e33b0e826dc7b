// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM object: what its vCPUs share, its ioctls, and its life. It lives as
 * long as its own fd or one of its vCPUs' is open.
 */
#include <linux/anon_inodes.h>
#include <linux/compat.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "hw.h"
#include "run.h"
#include "vm_private.h"

static struct kiln_pt_format pt_format;

void kiln_vm_get(struct kiln_vm *vm)
{
	kref_get(&vm->ref);
}

static void vm_free(struct kref *ref)
{
	struct kiln_vm *vm = container_of(ref, struct kiln_vm, ref);
	int i;

	/*
	 * The PIT's timer, the clock's work and the MMU notifier look at all
	 * vCPUs, and come from outside: they end first.
	 */
	kiln_virtio_destroy(vm);
	kiln_irqchip_destroy(vm);
	kiln_vm_clock_destroy(vm);
	kiln_mmu_destroy(&vm->mmu);
	for (i = 0; i < vm->nr_vcpus; i++)
		kiln_vcpu_free(vm->vcpus[i]);
	mmdrop(vm->mm);
	mutex_destroy(&vm->lock);
	kvfree(vm);
	kiln_hw_put();
}

void kiln_vm_put(struct kiln_vm *vm)
{
	kref_put(&vm->ref, vm_free);
}

/* ---------------------------------------------------------------- ioctls */

/* Handlers get a kernel copy of the structure, or the bare argument. */
struct vm_ioctl {
	unsigned int cmd;
	bool raw;
	long (*fn)(struct kiln_vm *vm, void *data);
};

static long create_vcpu(struct kiln_vm *vm, void *data)
{
	unsigned long id = (unsigned long)data;

	return id > U32_MAX ? -EINVAL : kiln_vcpu_create(vm, id);
}

/* Devices work on the memory of a slot without holding slots_lock. */
static long set_region(struct kiln_vm *vm, void *data)
{
	int r = kiln_virtio_hold(vm);

	if (r)
		return r;
	r = kiln_mmu_set_region(&vm->mmu, data);
	kiln_virtio_go_on(vm);
	return r;
}

/* The bitmap's address: of a 32-bit process the upper half is anything. */
static void __user *bitmap_of(u64 addr)
{
	return (void __user *)(in_compat_syscall() ? (u32)addr : addr);
}

static long get_dirty_log(struct kiln_vm *vm, void *data)
{
	const struct kvm_dirty_log *log = data;

	return kiln_mmu_get_dirty(&vm->mmu, log->slot,
				  bitmap_of(log->padding2));
}

static long clear_dirty_log(struct kiln_vm *vm, void *data)
{
	struct kvm_clear_dirty_log log;

	if (copy_from_user(&log, (void __user *)data, sizeof(log)))
		return -EFAULT;
	return kiln_mmu_clear_dirty(&vm->mmu, log.slot, log.first_page,
				    log.num_pages, bitmap_of(log.padding2));
}

static long enable_cap(struct kiln_vm *vm, void *data)
{
	struct kvm_enable_cap cap;

	if (copy_from_user(&cap, (void __user *)data, sizeof(cap)))
		return -EFAULT;
	if (cap.flags || cap.cap != KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2)
		return -EINVAL;
	return kiln_mmu_set_manual(&vm->mmu, cap.args[0]);
}

/*
 * Unrestricted guest runs real mode without the task-state segment and page
 * table these two give room to, so the addresses are kept for the asking of
 * nobody; user space sets them on every VM all the same.
 */
static long set_tss_addr(struct kiln_vm *vm, void *data)
{
	unsigned long addr = (unsigned long)data;

	/* Three pages below 4 GiB. */
	if (addr > SZ_4G - 3 * PAGE_SIZE)
		return -EINVAL;
	mutex_lock(&vm->lock);
	vm->tss_addr = addr;
	mutex_unlock(&vm->lock);
	return 0;
}

static long set_identity_map_addr(struct kiln_vm *vm, void *data)
{
	u64 addr = *(u64 *)data;
	int r = -EINVAL;

	mutex_lock(&vm->lock);
	if (!vm->nr_vcpus) {
		vm->identity_map_addr = addr ? addr : 0xfffbc000;
		r = 0;
	}
	mutex_unlock(&vm->lock);
	return r;
}

static long create_irqchip(struct kiln_vm *vm, void *data)
{
	int r;

	mutex_lock(&vm->lock);
	r = kiln_irqchip_create(vm);
	mutex_unlock(&vm->lock);
	return r;
}

static long create_pit2(struct kiln_vm *vm, void *data)
{
	int r;

	mutex_lock(&vm->lock);
	r = kiln_pit_create(vm, data);
	mutex_unlock(&vm->lock);
	return r;
}

static long irq_line(struct kiln_vm *vm, void *data)
{
	return kiln_irq_line(vm, data, NULL);
}

static long irq_line_status(struct kiln_vm *vm, void *data)
{
	struct kvm_irq_level *irq = data;
	s32 status = 0;
	int r = kiln_irq_line(vm, irq, &status);

	irq->status = status;
	return r;
}

static long set_gsi_routing(struct kiln_vm *vm, void *data)
{
	return kiln_routing_set(vm, (void __user *)data);
}

static long signal_msi(struct kiln_vm *vm, void *data)
{
	return kiln_msi_send(vm, data);
}

static long irqfd(struct kiln_vm *vm, void *data)
{
	return kiln_irqfd(vm, data);
}

static long ioeventfd(struct kiln_vm *vm, void *data)
{
	return kiln_ioeventfd(vm, data);
}

static long get_clock(struct kiln_vm *vm, void *data)
{
	return kiln_clock_get(vm, (void __user *)data);
}

static long set_clock(struct kiln_vm *vm, void *data)
{
	return kiln_clock_set(vm, (void __user *)data);
}

static long create_virtio(struct kiln_vm *vm, void *data)
{
	return kiln_virtio_create(vm, data);
}

static long check_extension(struct kiln_vm *vm, void *data)
{
	return kiln_extension((unsigned long)data);
}

static long get_counters(struct kiln_vm *vm, void *data)
{
	return kiln_vm_counters(vm, (void __user *)data);
}

static long get_version(struct kiln_vm *vm, void *data)
{
	return kiln_version((void __user *)data);
}

static const struct vm_ioctl ioctls[] = {
	{ KVM_CREATE_VCPU, true, create_vcpu },
	{ KVM_SET_USER_MEMORY_REGION, false, set_region },
	{ KVM_GET_DIRTY_LOG, false, get_dirty_log },
	{ KVM_CLEAR_DIRTY_LOG, true, clear_dirty_log },
	{ KVM_ENABLE_CAP, true, enable_cap },
	{ KVM_SET_TSS_ADDR, true, set_tss_addr },
	{ KVM_SET_IDENTITY_MAP_ADDR, false, set_identity_map_addr },
	{ KVM_CREATE_IRQCHIP, true, create_irqchip },
	{ KVM_CREATE_PIT2, false, create_pit2 },
	{ KVM_IRQ_LINE, false, irq_line },
	{ KVM_IRQ_LINE_STATUS, false, irq_line_status },
	{ KVM_SET_GSI_ROUTING, true, set_gsi_routing },
	{ KVM_SIGNAL_MSI, false, signal_msi },
	{ KVM_IRQFD, false, irqfd },
	{ KVM_IOEVENTFD, false, ioeventfd },
	{ KVM_GET_CLOCK, true, get_clock },
	{ KVM_SET_CLOCK, true, set_clock },
	{ KVM_CHECK_EXTENSION, true, check_extension },
	{ KILN_GET_COUNTERS, true, get_counters },
	{ KILN_GET_VERSION, true, get_version },
	{ KILN_CREATE_VIRTIO, false, create_virtio },
};

/* The largest is struct kvm_irqfd or kvm_ioeventfd, 64 bytes. */
static long call_copied(struct kiln_vm *vm, const struct vm_ioctl *io,
			void __user *user)
{
	size_t size = _IOC_SIZE(io->cmd);
	u64 data[8];
	long r;

	if (WARN_ON_ONCE(size > sizeof(data)))
		return -ENOTTY;
	if (copy_from_user(data, user, size))
		return -EFAULT;
	r = io->fn(vm, data);
	if (r >= 0 && _IOC_DIR(io->cmd) & _IOC_READ &&
	    copy_to_user(user, data, size))
		r = -EFAULT;
	return r;
}

static long vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct kiln_vm *vm = file->private_data;
	int i;

	if (vm->mm != current->mm)
		return -EIO;
	for (i = 0; i < ARRAY_SIZE(ioctls); i++) {
		if (ioctls[i].cmd != cmd)
			continue;
		if (ioctls[i].raw)
			return ioctls[i].fn(vm, (void *)arg);
		return call_copied(vm, &ioctls[i], (void __user *)arg);
	}
	return -ENOTTY;
}

static int vm_release(struct inode *inode, struct file *file)
{
	struct kiln_vm *vm = file->private_data;

	kiln_irqchip_release(vm);
	kiln_vm_put(vm);
	return 0;
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.release = vm_release,
	.unlocked_ioctl = vm_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

/* ------------------------------------------------------------------ life */

static struct kiln_vm *vm_alloc(void)
{
	struct kiln_vm *vm;
	int r;

	vm = kvzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return ERR_PTR(-ENOMEM);
	kref_init(&vm->ref);
	mutex_init(&vm->lock);
	vm->identity_map_addr = 0xfffbc000;
	r = kiln_mmu_init(&vm->mmu, current->mm, &pt_format, kiln_vm_flush);
	if (r)
		goto err_free;
	r = kiln_irqchip_init(vm);
	if (r)
		goto err_mmu;
	kiln_vm_clock_create(vm);
	kiln_virtio_init(vm);
	vm->mm = current->mm;
	mmgrab(vm->mm);
	return vm;

err_mmu:
	kiln_mmu_destroy(&vm->mmu);
err_free:
	kvfree(vm);
	return ERR_PTR(r);
}

static int vm_install(struct kiln_vm *vm)
{
	struct file *file;
	int fd;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	file = anon_inode_getfile("kiln-vm", &vm_fops, vm, O_RDWR);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	fd_install(fd, file);
	return fd;
}

void kiln_vm_setup(void)
{
	kiln_hw->pt_format(&pt_format);
}

int kiln_vm_create(unsigned long type)
{
	struct kiln_vm *vm;
	int r;

	if (type)
		return -EINVAL;
	r = kiln_hw_get();
	if (r)
		return r;
	vm = vm_alloc();
	if (IS_ERR(vm)) {
		kiln_hw_put();
		/* A signal came in between: it is handled, then we start over. */
		return PTR_ERR(vm) == -EINTR ? -ERESTARTNOINTR : PTR_ERR(vm);
	}
	r = vm_install(vm);
	if (r < 0)
		kiln_vm_put(vm);
	return r;
}
