// SPDX-License-Identifier: GPL-2.0-only
/*
 * kiln.ko: load and unload, /dev/kiln, and which CPUs are in VMX operation.
 *
 * How to read the module: a program opens /dev/kiln (here), makes a VM of it
 * (vm.c) and vCPUs of that (vcpu.c), describes memory (mmu/), interrupt chips
 * (irqchip/) and registers (state.c and its neighbours), and calls KVM_RUN
 * (run.c), which enters the guest through a backend (hw.h, vmx/, svm/) and handles
 * what it comes back for: port and device accesses (pio.c, mmio.c, emulate/),
 * memory faults (mmu/), MSRs, CPUID. Arrows point down only.
 */
#define pr_fmt(fmt) "kiln: " fmt

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/fs.h>
#include <linux/kobject.h>
#include <linux/lockdep.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/syscore_ops.h>
#include <linux/uaccess.h>
#include <asm/msr.h>
#include <asm/reboot.h>

#include "clock.h"
#include "compat.h"
#include "hw.h"
#include "msr.h"
#include "run.h"
#include "spec.h"
#include "vm_private.h"

#define KILN_VERSION	"0.1"

struct kiln_hw *kiln_hw;

/* ----------------------------------------- hardware on, hardware off */

/*
 * VMX is entered with the first VM and left with the last, so that kiln can
 * be loaded beside an idle KVM. @users and the CPU hotplug callback meet under
 * cpus_read_lock(): a CPU that comes up while there are users joins in.
 */
static DEFINE_MUTEX(hw_lock);
static int users;			/* VMs; under hw_lock */
static bool want_on;			/* CPUs that come up enter VMX */
static bool rebooting;			/* for good; under hw_lock */
static unsigned long kvm_there;		/* by kvm_modules[]; under hw_lock */
static bool hook_set;			/* our emergency callback is
					 * registered; under hw_lock
					 */
static DEFINE_PER_CPU(bool, hw_on);	/* IRQs off on that CPU */

const char *kiln_likely_owner(void)
{
	static const struct {
		const char *symbol, *owner;
	} owners[] = {
		{ "kvm_init",
		  "KVM (a guest is running, or kvm.enable_virt_at_load is set)" },
		{ "SUPR0Printf", "vboxdrv (VirtualBox)" },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(owners); i++) {
		if (__symbol_get(owners[i].symbol)) {
			__symbol_put(owners[i].symbol);
			return owners[i].owner;
		}
	}
	return "a hypervisor kiln does not know";
}

static void cpu_on(void *err)
{
	int r;

	if (this_cpu_read(hw_on))
		return;
	r = kiln_hw->cpu_enable();
	if (r)
		/* Any of the errors will do. */
		atomic_set((atomic_t *)err, r);
	else
		this_cpu_write(hw_on, true);
}

static void cpu_off(void *unused)
{
	if (!this_cpu_read(hw_on))
		return;
	this_cpu_write(hw_on, false);
	kiln_hw->cpu_disable();
}

/*
 * IRQs off. Where the callback fails the CPU may come up all the same (the
 * hotplug code only warns in this section); vCPUs that come to it end with a
 * failed entry.
 */
static int cpu_starting(unsigned int cpu)
{
	atomic_t err = ATOMIC_INIT(0);

	if (READ_ONCE(want_on))
		cpu_on(&err);
	return atomic_read(&err);
}

static int cpu_stopping(unsigned int cpu)
{
	cpu_off(NULL);
	return 0;
}

/*
 * On a crash or emergency restart each CPU leaves VMX: INIT is blocked in it,
 * and a crash kernel cannot clear CR4.VMXE.
 */
static void emergency(void)
{
	cpu_off(NULL);
}

/* Whom the kernel's one place for a callback is left to. */
static const char *const kvm_modules[] = { "kvm_intel", "kvm_amd" };

/*
 * The kernel has room for one callback and warns who finds it taken. KVM takes
 * it when it is loaded, and leaves VMX or SVM on behalf of everyone: it goes by
 * CR4.VMXE and EFER.SVME. So ours is there only while KVM's modules are not;
 * between a module's coming and its registration, and between its exit and
 * ours, there is none.
 */
static void hook_update(void)
{
	bool wanted = want_on && !kvm_there;

	lockdep_assert_held(&hw_lock);
	if (wanted == hook_set)
		return;
	if (wanted)
		cpu_emergency_register_virt_callback(emergency);
	else
		cpu_emergency_unregister_virt_callback(emergency);
	hook_set = wanted;
}

static void all_off(void)
{
	WRITE_ONCE(want_on, false);
	on_each_cpu(cpu_off, NULL, 1);
	hook_update();
}

static int all_on(void)
{
	atomic_t err = ATOMIC_INIT(0);

	WRITE_ONCE(want_on, true);
	hook_update();
	on_each_cpu(cpu_on, &err, 1);
	if (atomic_read(&err))
		all_off();
	return atomic_read(&err);
}

int kiln_hw_get(void)
{
	int r = 0;

	cpus_read_lock();
	mutex_lock(&hw_lock);
	if (rebooting)
		r = -EBUSY;
	else if (!users)
		r = all_on();
	if (!r)
		users++;
	mutex_unlock(&hw_lock);
	cpus_read_unlock();
	return r;
}

void kiln_hw_put(void)
{
	cpus_read_lock();
	mutex_lock(&hw_lock);
	if (!--users)
		all_off();
	mutex_unlock(&hw_lock);
	cpus_read_unlock();
}

/*
 * COMING is told before a module's init, GOING after its exit and where its
 * init failed.
 */
static int on_module(struct notifier_block *nb, unsigned long state, void *data)
{
	const struct module *mod = data;
	int i = match_string(kvm_modules, ARRAY_SIZE(kvm_modules), mod->name);

	if (i < 0 || (state != MODULE_STATE_COMING &&
		      state != MODULE_STATE_GOING))
		return NOTIFY_DONE;
	mutex_lock(&hw_lock);
	__assign_bit(i, &kvm_there, state == MODULE_STATE_COMING);
	hook_update();
	mutex_unlock(&hw_lock);
	return NOTIFY_OK;
}

static struct notifier_block module_nb = {
	.notifier_call = on_module,
};

/* By sysfs's own set: the caller's mount namespace may show no sysfs. */
static bool module_loaded(const char *name)
{
	struct kobject *kobj = kset_find_obj(THIS_MODULE->mkobj.kobj.kset,
					     name);

	kobject_put(kobj);
	return kobj;
}

/* From here on KVM's coming and going is noticed; it may be there already. */
static int watch_kvm(void)
{
	int i, r = register_module_notifier(&module_nb);

	if (r)
		return r;
	mutex_lock(&hw_lock);
	for (i = 0; i < ARRAY_SIZE(kvm_modules); i++)
		if (module_loaded(kvm_modules[i]))
			__set_bit(i, &kvm_there);
	mutex_unlock(&hw_lock);
	return 0;
}

/*
 * Orderly reboot: other CPUs still run; VMX would block the INIT of reset. So
 * do processes: the machine ends a while later, and none of them is to switch
 * VMX on again.
 */
static int on_reboot(struct notifier_block *nb, unsigned long action, void *data)
{
	cpus_read_lock();
	mutex_lock(&hw_lock);
	rebooting = true;
	all_off();
	mutex_unlock(&hw_lock);
	cpus_read_unlock();
	return NOTIFY_OK;
}

static struct notifier_block reboot_nb = {
	.notifier_call = on_reboot,
	.priority = 0,
};

/*
 * Suspend takes all CPUs but one through hotplug; that one comes here, IRQs
 * off, user space frozen. Its power may go, and VMX, SVM and the TSC with it.
 */
static int on_suspend(KILN_SYSCORE_ARGS)
{
	cpu_off(NULL);
	kiln_clock_suspend(rdtsc_ordered());
	return 0;
}

/* As for a CPU that comes up: where it fails, vCPUs end with a failed entry. */
static void on_resume(KILN_SYSCORE_ARGS)
{
	kiln_clock_resume(rdtsc_ordered());
	cpu_starting(raw_smp_processor_id());
}

KILN_SYSCORE(power, on_suspend, on_resume);

/* ------------------------------------------------------------- /dev/kiln */

/* A row per capability that is there; everything else answers 0. */
static const struct {
	unsigned long cap;
	int value;
} capabilities[] = {
	{ KVM_CAP_IRQCHIP, 1 },
	{ KVM_CAP_HLT, 1 },
	{ KVM_CAP_USER_MEMORY, 1 },
	{ KVM_CAP_SET_TSS_ADDR, 1 },
	{ KVM_CAP_EXT_CPUID, 1 },
	{ KVM_CAP_CLOCKSOURCE, 1 },
	{ KVM_CAP_NR_VCPUS, 0 },	/* see kiln_extension() */
	{ KVM_CAP_NR_MEMSLOTS, KILN_NR_SLOTS },
	{ KVM_CAP_NOP_IO_DELAY, 1 },
	{ KVM_CAP_MP_STATE, 1 },
	{ KVM_CAP_SYNC_MMU, 1 },
	{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 1 },
	{ KVM_CAP_USER_NMI, 1 },
	{ KVM_CAP_IRQ_ROUTING, KILN_MAX_GSIS },
	{ KVM_CAP_IRQ_INJECT_STATUS, 1 },
	{ KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, 1 },
	{ KVM_CAP_IRQFD, 1 },
	{ KVM_CAP_IRQFD_RESAMPLE, 1 },
	{ KVM_CAP_PIT2, 1 },
	{ KVM_CAP_IOEVENTFD, 1 },
	{ KVM_CAP_IOEVENTFD_NO_LENGTH, 1 },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, 1 },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, 1 },
	{ KVM_CAP_ADJUST_CLOCK, KILN_CLOCK_FLAGS },
	{ KVM_CAP_INTERNAL_ERROR_DATA, 1 },
	{ KVM_CAP_VCPU_EVENTS, 1 },
	{ KVM_CAP_XSAVE, 0 },
	{ KVM_CAP_XCRS, 0 },
	{ KVM_CAP_TSC_CONTROL, 0 },
	{ KVM_CAP_GET_TSC_KHZ, 1 },
	{ KVM_CAP_MAX_VCPUS, KILN_MAX_VCPUS },
	{ KVM_CAP_MAX_VCPU_ID, KILN_MAX_VCPU_ID },
	{ KVM_CAP_TSC_DEADLINE_TIMER, 1 },
	{ KVM_CAP_KVMCLOCK_CTRL, 1 },
	{ KVM_CAP_SIGNAL_MSI, 1 },
	{ KVM_CAP_READONLY_MEM, 1 },
	{ KVM_CAP_CHECK_EXTENSION_VM, 1 },
	{ KVM_CAP_IMMEDIATE_EXIT, 1 },
	{ KVM_CAP_ENABLE_CAP_VM, 1 },
	{ KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KILN_DIRTY_LOG_FLAGS },
};

int kiln_extension(unsigned long cap)
{
	int i;

	switch (cap) {
	case KVM_CAP_NR_VCPUS:
		/* The recommended number: what there is to run them on. */
		return min_t(int, num_online_cpus(), KILN_MAX_VCPUS);
	case KVM_CAP_XSAVE:
	case KVM_CAP_XCRS:
		return boot_cpu_has(X86_FEATURE_XSAVE);
	case KVM_CAP_TSC_CONTROL:
		return kiln_hw->has_tsc_scaling;
	}
	for (i = 0; i < ARRAY_SIZE(capabilities); i++)
		if (capabilities[i].cap == cap)
			return capabilities[i].value;
	return 0;
}

int kiln_version(struct kiln_version __user *user)
{
	struct kiln_version v = {
		.major = 1,
		.minor = 1,
		.vendor = kiln_hw->vendor,
	};

	snprintf(v.name, sizeof(v.name), "kiln %s, %s", KILN_VERSION,
		 kiln_hw->name);
	return copy_to_user(user, &v, sizeof(v)) ? -EFAULT : 0;
}

static long dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case KVM_GET_API_VERSION:
		return arg ? -EINVAL : KVM_API_VERSION;
	case KVM_CREATE_VM:
		return kiln_vm_create(arg);
	case KVM_CHECK_EXTENSION:
		return kiln_extension(arg);
	case KVM_GET_VCPU_MMAP_SIZE:
		return arg ? -EINVAL : KILN_VCPU_MMAP_PAGES * PAGE_SIZE;
	case KVM_GET_SUPPORTED_CPUID:
		return kiln_cpuid_supported(user);
	case KVM_GET_MSR_INDEX_LIST:
		return kiln_msr_index_list(user);
	case KILN_GET_VERSION:
		return kiln_version(user);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = dev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kiln",
	.fops = &dev_fops,
	.mode = 0660,
};

/* ------------------------------------------------------- load and unload */

static struct kiln_hw *const backends[] = { &vmx_hw, &svm_hw };

static int pick_backend(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(backends); i++) {
		if (backends[i]->supported()) {
			kiln_hw = backends[i];
			return kiln_hw->setup();
		}
	}
	pr_err("this CPU has no virtualization extension kiln can use (Intel VMX or AMD SVM), or the firmware hides it\n");
	return -EOPNOTSUPP;
}

static int __init kiln_init(void)
{
	int r;

	r = pick_backend();
	if (r)
		return r;
	r = kiln_spec_init();
	if (r)
		goto err_hw;
	kiln_cpuid_init();
	kiln_vm_setup();
	r = kiln_run_init();
	if (r)
		goto err_spec;
	r = kiln_clock_init();
	if (r)
		goto err_run;
	r = cpuhp_setup_state_nocalls(KILN_CPUHP_STARTING, "x86/kiln:starting",
				      cpu_starting, cpu_stopping);
	if (r)
		goto err_clock;
	r = watch_kvm();
	if (r)
		goto err_cpuhp;
	register_reboot_notifier(&reboot_nb);
	kiln_register_syscore(&power);
	r = misc_register(&dev);
	if (r)
		goto err_reboot;
	pr_info("version %s, %s%s\n", KILN_VERSION, kiln_hw->name,
		kiln_hw->has_apicv ? ", interrupts delivered by hardware" : "");
	return 0;

err_reboot:
	kiln_unregister_syscore(&power);
	unregister_reboot_notifier(&reboot_nb);
	unregister_module_notifier(&module_nb);
err_cpuhp:
	cpuhp_remove_state_nocalls(KILN_CPUHP_STARTING);
err_clock:
	kiln_clock_exit();
err_run:
	kiln_run_exit();
err_spec:
	kiln_spec_exit();
err_hw:
	kiln_hw->unsetup();
	return r;
}

/* No VM lives: each holds the module through its file. */
static void __exit kiln_exit(void)
{
	misc_deregister(&dev);
	kiln_unregister_syscore(&power);
	unregister_reboot_notifier(&reboot_nb);
	unregister_module_notifier(&module_nb);
	cpuhp_remove_state_nocalls(KILN_CPUHP_STARTING);
	kiln_clock_exit();
	kiln_mmu_exit();
	kiln_run_exit();
	kiln_spec_exit();
	kiln_hw->unsetup();
}

module_init(kiln_init);
module_exit(kiln_exit);

MODULE_AUTHOR("The kiln developers");
MODULE_DESCRIPTION("Hypervisor: virtual machines with the KVM ABI on /dev/kiln");
MODULE_LICENSE("GPL");
MODULE_VERSION(KILN_VERSION);
