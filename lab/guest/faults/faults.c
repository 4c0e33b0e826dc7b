// SPDX-License-Identifier: GPL-2.0-only
/*
 * One fault of each kind that the debug kernel is there to find, by the
 * parameter kind=: the lab has to show that it would see them in kiln.
 */
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <asm/msr.h>

static char *kind = "";
module_param(kind, charp, 0);

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_SPINLOCK(spin);
static volatile unsigned int shift = 40;

static int use_after_free(void)
{
	volatile char *freed = kmalloc(64, GFP_KERNEL);

	if (!freed)
		return -ENOMEM;
	kfree((void *)freed);
	return freed[8] & 1;
}

static int leak(void)
{
	return kmalloc(200, GFP_KERNEL) ? 0 : -ENOMEM;
}

/* In both orders, though never at the same time. */
static int lock_order(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
	return 0;
}

static int sleep_in_atomic(void)
{
	spin_lock(&spin);
	mutex_lock(&first);
	mutex_unlock(&first);
	spin_unlock(&spin);
	return 0;
}

static int undefined_shift(void)
{
	return (1 << shift) & 1;
}

static int list_twice(void)
{
	LIST_HEAD(head);
	struct list_head entry;

	list_add(&entry, &head);
	list_add(&entry, &head);
	return 0;
}

/*
 * Fixed up, and so without a WARNING. TCG and Bochs let pass MSRs they do not
 * know: an odd address of a page, and one that is not canonical.
 */
static int unchecked_msr(void)
{
	wrmsrl(boot_cpu_has(X86_FEATURE_SVM) ? MSR_VM_HSAVE_PA : MSR_CSTAR,
	       BIT_ULL(63) | 1);
	return 0;
}

static const struct {
	const char *name;
	int (*commit)(void);
} faults[] = {
	{ "use-after-free", use_after_free },
	{ "leak", leak },
	{ "lock-order", lock_order },
	{ "sleep-in-atomic", sleep_in_atomic },
	{ "undefined-shift", undefined_shift },
	{ "list-twice", list_twice },
	{ "unchecked-msr", unchecked_msr },
	{ "none", NULL },
};

static int __init faults_init(void)
{
	size_t i;
	int error;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		if (strcmp(faults[i].name, kind))
			continue;
		error = faults[i].commit ? faults[i].commit() : 0;
		return error < 0 ? error : 0;
	}
	return -EINVAL;
}
module_init(faults_init);

static void __exit faults_exit(void)
{
}
module_exit(faults_exit);

MODULE_DESCRIPTION("faults for the debug kernel to find");
MODULE_LICENSE("GPL");
