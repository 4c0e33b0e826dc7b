// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vCPU object: created by an ioctl of its VM, reached through its own fd,
 * gone with that fd and the VM's. Here are its life and its ioctls; what they
 * do is in state.c, msr.c, cpuid.c, xstate.c, clock.c and run.c.
 */
#include <linux/anon_inodes.h>
#include <linux/compat.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "hw.h"
#include "irqchip/irqchip.h"
#include "msr.h"
#include "run.h"
#include "state.h"
#include "vm_private.h"

/**
 * kiln_cache_reg() - fetch a register the backend holds
 * @vcpu: the vCPU, loaded
 * @reg: which
 *
 * Return: its value, also in vcpu->regs[] from now on.
 */
u64 kiln_cache_reg(struct kiln_vcpu *vcpu, enum kiln_reg reg)
{
	kiln_hw->cache_reg(vcpu, reg);
	vcpu->regs_avail |= BIT(reg);
	return vcpu->regs[reg];
}

/* ---------------------------------------------------------------- ioctls */

/*
 * A row per ioctl. Handlers get the argument as a kernel copy of the ioctl's
 * size (in @data, written back where the direction says so), or the bare
 * argument where the structure has a variable length.
 */
struct vcpu_ioctl {
	unsigned int cmd;
	bool loaded;		/* the handler needs the vCPU on this CPU */
	bool raw;		/* @data is the user's argument as given */
	int (*fn)(struct kiln_vcpu *vcpu, void *data);
};

/* The argument of a raw ioctl that points to a structure. */
static void __user *user_of(void *data)
{
	return (__force void __user *)data;
}

static int get_regs(struct kiln_vcpu *vcpu, void *data)
{
	kiln_regs_get(vcpu, data);
	return 0;
}

static int set_regs(struct kiln_vcpu *vcpu, void *data)
{
	kiln_regs_set(vcpu, data);
	return 0;
}

static int get_sregs(struct kiln_vcpu *vcpu, void *data)
{
	kiln_sregs_get(vcpu, data);
	return 0;
}

static int set_sregs(struct kiln_vcpu *vcpu, void *data)
{
	return kiln_sregs_set(vcpu, data);
}

static int get_fpu(struct kiln_vcpu *vcpu, void *data)
{
	return kiln_fpu_get(vcpu, data);
}

static int set_fpu(struct kiln_vcpu *vcpu, void *data)
{
	return kiln_fpu_set(vcpu, data);
}

static int get_xsave(struct kiln_vcpu *vcpu, void *data)
{
	return kiln_xsave_get(vcpu, user_of(data));
}

static int set_xsave(struct kiln_vcpu *vcpu, void *data)
{
	return kiln_xsave_set(vcpu, user_of(data));
}

static int get_xcrs(struct kiln_vcpu *vcpu, void *data)
{
	if (!boot_cpu_has(X86_FEATURE_XSAVE))
		return -EINVAL;
	kiln_xcrs_get(vcpu, data);
	return 0;
}

static int set_xcrs(struct kiln_vcpu *vcpu, void *data)
{
	if (!boot_cpu_has(X86_FEATURE_XSAVE))
		return -EINVAL;
	return kiln_xcrs_set(vcpu, data);
}

static int get_msrs(struct kiln_vcpu *vcpu, void *data)
{
	return kiln_msrs_io(vcpu, user_of(data), false);
}

static int set_msrs(struct kiln_vcpu *vcpu, void *data)
{
	return kiln_msrs_io(vcpu, user_of(data), true);
}

static int get_lapic(struct kiln_vcpu *vcpu, void *data)
{
	if (!vcpu->lapic)
		return -EINVAL;
	lapic_get_state(vcpu, data);
	return 0;
}

static int set_lapic(struct kiln_vcpu *vcpu, void *data)
{
	if (!vcpu->lapic)
		return -EINVAL;
	return lapic_set_state(vcpu, data);
}

static int get_mp_state(struct kiln_vcpu *vcpu, void *data)
{
	kiln_mp_state_get(vcpu, data);
	return 0;
}

static int set_mp_state(struct kiln_vcpu *vcpu, void *data)
{
	return kiln_mp_state_set(vcpu, data);
}

static int get_events(struct kiln_vcpu *vcpu, void *data)
{
	kiln_events_get(vcpu, data);
	return 0;
}

static int set_events(struct kiln_vcpu *vcpu, void *data)
{
	return kiln_events_set(vcpu, data);
}

static int get_cpuid(struct kiln_vcpu *vcpu, void *data)
{
	return kiln_cpuid_get(vcpu, user_of(data));
}

static int set_cpuid(struct kiln_vcpu *vcpu, void *data)
{
	return kiln_cpuid_set(vcpu, user_of(data));
}

static int get_tsc_khz(struct kiln_vcpu *vcpu, void *data)
{
	return kiln_tsc_get_khz(vcpu);
}

static int set_tsc_khz(struct kiln_vcpu *vcpu, void *data)
{
	unsigned long khz = (unsigned long)data;

	return khz > U32_MAX ? -EINVAL : kiln_tsc_set_khz(vcpu, khz);
}

static int kvmclock_ctrl(struct kiln_vcpu *vcpu, void *data)
{
	return kiln_clock_stopped(vcpu);
}

static int nmi(struct kiln_vcpu *vcpu, void *data)
{
	kiln_vcpu_nmi(vcpu);
	return 0;
}

static int run(struct kiln_vcpu *vcpu, void *data)
{
	return data ? -EINVAL : kiln_vcpu_run(vcpu);
}

/* The size of the mask is the C library's; the kernel's has 64 signals. */
static int set_signal_mask(struct kiln_vcpu *vcpu, void *data)
{
	struct kvm_signal_mask __user *user = user_of(data);
	struct kvm_signal_mask mask;
	sigset_t set;

	if (!user) {
		vcpu->sigset_active = false;
		return 0;
	}
	if (copy_from_user(&mask, user, sizeof(mask)))
		return -EFAULT;
	if (mask.len != sizeof(set))
		return -EINVAL;
	if (copy_from_user(&set, user->sigset, sizeof(set)))
		return -EFAULT;
	sigdelsetmask(&set, sigmask(SIGKILL) | sigmask(SIGSTOP));
	vcpu->sigset = set;
	vcpu->sigset_active = true;
	return 0;
}

static int get_death(struct kiln_vcpu *vcpu, void *data)
{
	if (!vcpu->death.kind)
		return -ENODATA;
	memcpy(data, &vcpu->death, sizeof(vcpu->death));
	return 0;
}

static const struct vcpu_ioctl ioctls[] = {
	{ KVM_RUN, true, true, run },
	{ KVM_GET_REGS, true, false, get_regs },
	{ KVM_SET_REGS, true, false, set_regs },
	{ KVM_GET_SREGS, true, false, get_sregs },
	{ KVM_SET_SREGS, true, false, set_sregs },
	{ KVM_GET_FPU, false, false, get_fpu },
	{ KVM_SET_FPU, false, false, set_fpu },
	{ KVM_GET_XSAVE, false, true, get_xsave },
	{ KVM_SET_XSAVE, false, true, set_xsave },
	{ KVM_GET_XCRS, false, false, get_xcrs },
	{ KVM_SET_XCRS, true, false, set_xcrs },
	{ KVM_GET_MSRS, true, true, get_msrs },
	{ KVM_SET_MSRS, true, true, set_msrs },
	{ KVM_GET_LAPIC, true, false, get_lapic },
	{ KVM_SET_LAPIC, true, false, set_lapic },
	{ KVM_GET_MP_STATE, true, false, get_mp_state },
	{ KVM_SET_MP_STATE, true, false, set_mp_state },
	{ KVM_GET_VCPU_EVENTS, true, false, get_events },
	{ KVM_SET_VCPU_EVENTS, true, false, set_events },
	{ KVM_GET_CPUID2, false, true, get_cpuid },
	{ KVM_SET_CPUID2, true, true, set_cpuid },
	{ KVM_GET_TSC_KHZ, false, true, get_tsc_khz },
	{ KVM_SET_TSC_KHZ, true, true, set_tsc_khz },
	{ KVM_KVMCLOCK_CTRL, false, true, kvmclock_ctrl },
	{ KVM_NMI, false, true, nmi },
	{ KVM_SET_SIGNAL_MASK, false, true, set_signal_mask },
	{ KILN_GET_DEATH, false, false, get_death },
};

static const struct vcpu_ioctl *find_ioctl(unsigned int cmd)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(ioctls); i++)
		if (ioctls[i].cmd == cmd)
			return &ioctls[i];
	return NULL;
}

static int call(struct kiln_vcpu *vcpu, const struct vcpu_ioctl *io,
		void *data)
{
	int r;

	if (!io->loaded)
		return io->fn(vcpu, data);
	kiln_vcpu_load(vcpu);
	r = io->fn(vcpu, data);
	kiln_vcpu_put(vcpu);
	return r;
}

/* Through a kernel copy of the structure the ioctl's number announces. */
static int call_copied(struct kiln_vcpu *vcpu, const struct vcpu_ioctl *io,
		       void __user *user)
{
	size_t size = _IOC_SIZE(io->cmd);
	void *data = NULL;
	int r;

	if (_IOC_DIR(io->cmd) & _IOC_WRITE) {
		data = memdup_user(user, size);
		if (IS_ERR(data))
			return PTR_ERR(data);
	} else {
		data = kzalloc(size, GFP_KERNEL_ACCOUNT);
		if (!data)
			return -ENOMEM;
	}
	r = call(vcpu, io, data);
	if (!r && _IOC_DIR(io->cmd) & _IOC_READ &&
	    copy_to_user(user, data, size))
		r = -EFAULT;
	kfree(data);
	return r;
}

static long vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct kiln_vcpu *vcpu = file->private_data;
	const struct vcpu_ioctl *io;
	long r;

	if (vcpu->vm->mm != current->mm)
		return -EIO;
	/* These two need not wait for a KVM_RUN that is under way. */
	if (cmd == KILN_GET_VERSION)
		return kiln_version((void __user *)arg);
	if (cmd == KILN_GET_COUNTERS)
		return kiln_vcpu_counters(vcpu, (void __user *)arg);

	io = find_ioctl(cmd);
	if (!io)
		return -ENOTTY;
	if (mutex_lock_killable(&vcpu->mutex))
		return -EINTR;
	if (io->raw)
		r = call(vcpu, io, (void *)arg);
	else
		r = call_copied(vcpu, io, (void __user *)arg);
	mutex_unlock(&vcpu->mutex);
	return r;
}

/* ----------------------------------------------------------- the mapping */

static vm_fault_t vcpu_fault(struct vm_fault *vmf)
{
	struct kiln_vcpu *vcpu = vmf->vma->vm_file->private_data;
	struct page *page;

	switch (vmf->pgoff) {
	case 0:
		page = virt_to_page(vcpu->run);
		break;
	case KVM_PIO_PAGE_OFFSET:
		page = virt_to_page(vcpu->pio.data);
		break;
	default:
		return VM_FAULT_SIGBUS;
	}
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct vcpu_vm_ops = {
	.fault = vcpu_fault,
};

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma_pages(vma) + vma->vm_pgoff > KILN_VCPU_MMAP_PAGES)
		return -EINVAL;
	vma->vm_ops = &vcpu_vm_ops;
	return 0;
}

/* ------------------------------------------------------------------ life */

static int vcpu_release(struct inode *inode, struct file *file)
{
	struct kiln_vcpu *vcpu = file->private_data;

	/* The vCPU itself lives as long as its VM, which others may look at. */
	kiln_vm_put(vcpu->vm);
	return 0;
}

static const struct file_operations vcpu_fops = {
	.owner = THIS_MODULE,
	.release = vcpu_release,
	.unlocked_ioctl = vcpu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = vcpu_mmap,
	.llseek = noop_llseek,
};

/**
 * kiln_vcpu_free() - undo vcpu_alloc()
 * @vcpu: no thread uses it any more
 */
void kiln_vcpu_free(struct kiln_vcpu *vcpu)
{
	kiln_hw->vcpu_free(vcpu);
	lapic_free(vcpu);
	kiln_xstate_free(vcpu);
	kiln_msr_free(vcpu);
	kiln_cpuid_free(vcpu);
	kiln_mmu_cpu_destroy(&vcpu->mmu);
	put_pid(rcu_access_pointer(vcpu->pid));
	free_page((unsigned long)vcpu->pio.data);
	free_page((unsigned long)vcpu->run);
	mutex_destroy(&vcpu->mutex);
	kfree(vcpu);
}

static void reset(struct kiln_vcpu *vcpu)
{
	mutex_lock(&vcpu->mutex);
	kiln_vcpu_load(vcpu);
	kiln_state_reset(vcpu, false);
	kiln_clock_create(vcpu);
	kiln_vcpu_put(vcpu);
	mutex_unlock(&vcpu->mutex);
}

static struct kiln_vcpu *vcpu_alloc(struct kiln_vm *vm, u32 id)
{
	struct kiln_vcpu *vcpu;
	int r = -ENOMEM;

	vcpu = kzalloc(kiln_hw->vcpu_size, GFP_KERNEL_ACCOUNT);
	if (!vcpu)
		return ERR_PTR(-ENOMEM);
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->cpu = -1;
	vcpu->apic_base = KILN_APIC_BASE_DEFAULT | KILN_APIC_BASE_EN |
			  (id ? 0 : KILN_APIC_BASE_BSP);
	mutex_init(&vcpu->mutex);
	rcuwait_init(&vcpu->wait);
	preempt_notifier_init(&vcpu->notifier, &kiln_preempt_ops);
	kiln_cpuid_create(vcpu);
	/* With a chip in the kernel the others wait for INIT and SIPI. */
	vcpu->mp_state = kiln_irqchip_present(&vm->irq) && id ?
			 KVM_MP_STATE_UNINITIALIZED : KVM_MP_STATE_RUNNABLE;

	vcpu->run = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vcpu->run)
		goto err_free;
	vcpu->pio.data = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vcpu->pio.data)
		goto err_run;
	r = kiln_msr_create(vcpu);
	if (r)
		goto err_pio;
	r = kiln_xstate_create(vcpu);
	if (r)
		goto err_msr;
	if (kiln_irqchip_present(&vm->irq)) {
		r = lapic_create(vcpu);
		if (r)
			goto err_xstate;
	}
	r = kiln_hw->vcpu_create(vcpu);
	if (r)
		goto err_lapic;
	reset(vcpu);
	return vcpu;

err_lapic:
	lapic_free(vcpu);
err_xstate:
	kiln_xstate_free(vcpu);
err_msr:
	kiln_msr_free(vcpu);
err_pio:
	free_page((unsigned long)vcpu->pio.data);
err_run:
	free_page((unsigned long)vcpu->run);
err_free:
	kfree(vcpu);
	return ERR_PTR(r);
}

/* vm->lock held: nothing is published before everything has succeeded. */
static int vcpu_install(struct kiln_vm *vm, struct kiln_vcpu *vcpu)
{
	struct file *file;
	char name[32];
	int fd;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	snprintf(name, sizeof(name), "kiln-vcpu:%u", vcpu->id);
	file = anon_inode_getfile(name, &vcpu_fops, vcpu, O_RDWR);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	kiln_vm_get(vm);
	vcpu->index = vm->nr_vcpus;
	vm->vcpus[vcpu->index] = vcpu;
	/* Pairs with the acquire in kiln_for_each_vcpu(). */
	smp_store_release(&vm->nr_vcpus, vm->nr_vcpus + 1);
	fd_install(fd, file);
	return fd;
}

int kiln_vcpu_create(struct kiln_vm *vm, u32 id)
{
	struct kiln_vcpu *vcpu;
	int r;

	if (id >= KILN_MAX_VCPU_ID)
		return -EINVAL;
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	r = -EINVAL;
	if (vm->nr_vcpus == KILN_MAX_VCPUS)
		goto out;
	r = -EEXIST;
	if (kiln_vm_vcpu_by_id(vm, id))
		goto out;
	vcpu = vcpu_alloc(vm, id);
	r = PTR_ERR_OR_ZERO(vcpu);
	if (r)
		goto out;
	r = vcpu_install(vm, vcpu);
	if (r < 0)
		kiln_vcpu_free(vcpu);
out:
	mutex_unlock(&vm->lock);
	return r;
}
