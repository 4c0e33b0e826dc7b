// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counters: what user space sees of them. Names are part of the ABI: programs
 * look for them; their order is not.
 */
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/slab.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "kiln.h"
#include "stats.h"
#include "vcpu.h"
#include "vm.h"

struct counter_row {
	const char *name;
	size_t offset;
};

#define VCPU_ROW(field)	{ #field, offsetof(struct kiln_vcpu_stats, field) }

static const struct counter_row vcpu_rows[] = {
	VCPU_ROW(exits),
	VCPU_ROW(cpuid),
	VCPU_ROW(hlt),
	VCPU_ROW(msr_read),
	VCPU_ROW(msr_write),
	VCPU_ROW(pio),
	VCPU_ROW(mmio),
	VCPU_ROW(fault),
	VCPU_ROW(cr_access),
	VCPU_ROW(dr_access),
	VCPU_ROW(pause),
	VCPU_ROW(irq_exit),
	VCPU_ROW(nmi_exit),
	VCPU_ROW(irq_window),
	VCPU_ROW(nmi_window),
	VCPU_ROW(preemption_timer),
	VCPU_ROW(apic_access),
	VCPU_ROW(eoi_exit),
	VCPU_ROW(exception_exit),
	VCPU_ROW(halt_poll_hit),
	VCPU_ROW(halt_sleep),
	VCPU_ROW(halt_wakeup),
	VCPU_ROW(irq_injected),
	VCPU_ROW(nmi_injected),
	VCPU_ROW(exception_injected),
	VCPU_ROW(tlb_flush),
	VCPU_ROW(insn_emulated),
	VCPU_ROW(user_exits),
	VCPU_ROW(signal_exits),
	VCPU_ROW(fpu_loads),
};

#define VM_ROW(field)	{ #field, offsetof(struct kiln_vm_stats, field) }

static const struct counter_row vm_rows[] = {
	VM_ROW(irqfd),
	VM_ROW(msi),
	VM_ROW(irq_line),
	VM_ROW(ioeventfd),
	VM_ROW(remote_flush),
	VM_ROW(virtio_kick),
	VM_ROW(virtio_request),
	VM_ROW(virtio_signal),
	VM_ROW(virtio_drop),
};

/* What the room mmu/ counts in struct kiln_mmu and struct kiln_mmu_cpu. */
#define MMU_ROW(field)	{ #field, offsetof(struct kiln_mmu, field) }

static const struct counter_row mmu_rows[] = {
	MMU_ROW(zaps),
	MMU_ROW(flushes),
};

#define MMU_CPU_ROW(name, field) \
	{ #name, offsetof(struct kiln_mmu_cpu, field) }

static const struct counter_row mmu_cpu_rows[] = {
	MMU_CPU_ROW(mapped_4k, mapped[KILN_PT_4K]),
	MMU_CPU_ROW(mapped_2m, mapped[KILN_PT_2M]),
	MMU_CPU_ROW(mapped_1g, mapped[KILN_PT_1G]),
	MMU_CPU_ROW(fault_spurious, spurious),
	MMU_CPU_ROW(fault_mmio, mmio),
	MMU_CPU_ROW(fault_host, host_faults),
};

#define NR_VCPU_COUNTERS	(ARRAY_SIZE(vcpu_rows) + ARRAY_SIZE(mmu_cpu_rows))
#define NR_VM_COUNTERS		(ARRAY_SIZE(vm_rows) + ARRAY_SIZE(mmu_rows))

static_assert(sizeof(struct kiln_vcpu_stats) ==
	      ARRAY_SIZE(vcpu_rows) * sizeof(u64));
static_assert(sizeof(struct kiln_vm_stats) ==
	      ARRAY_SIZE(vm_rows) * sizeof(atomic64_t));

static void counters_add(struct kiln_counter *out,
			 const struct counter_row *rows, size_t nr,
			 const void *base)
{
	size_t i;

	for (i = 0; i < nr; i++) {
		strscpy(out[i].name, rows[i].name, sizeof(out[i].name));
		out[i].value += READ_ONCE(*(const u64 *)(base + rows[i].offset));
	}
}

static void counters_add_vcpu(struct kiln_counter *out, struct kiln_vcpu *vcpu)
{
	counters_add(out, vcpu_rows, ARRAY_SIZE(vcpu_rows), &vcpu->stats);
	counters_add(out + ARRAY_SIZE(vcpu_rows), mmu_cpu_rows,
		     ARRAY_SIZE(mmu_cpu_rows), &vcpu->mmu);
}

static void counters_add_vm(struct kiln_counter *out, struct kiln_vm *vm)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(vm_rows); i++) {
		strscpy(out[i].name, vm_rows[i].name, sizeof(out[i].name));
		out[i].value = atomic64_read((void *)&vm->stats +
					     vm_rows[i].offset);
	}
	counters_add(out + i, mmu_rows, ARRAY_SIZE(mmu_rows), &vm->mmu);
}

/* Checks the header. Returns a zeroed array of @nr or an ERR_PTR(). */
static struct kiln_counter *counters_begin(struct kiln_counters __user *user,
					   u32 nr)
{
	struct kiln_counters header;
	struct kiln_counter *counters;

	if (copy_from_user(&header, user, sizeof(header)))
		return ERR_PTR(-EFAULT);
	if (header.reserved)
		return ERR_PTR(-EINVAL);
	if (put_user(nr, &user->nr))
		return ERR_PTR(-EFAULT);
	if (header.nr < nr)
		return ERR_PTR(-E2BIG);

	counters = kcalloc(nr, sizeof(*counters), GFP_KERNEL_ACCOUNT);
	return counters ?: ERR_PTR(-ENOMEM);
}

static int counters_end(struct kiln_counters __user *user,
			struct kiln_counter *counters, u32 nr)
{
	int ret = 0;

	if (copy_to_user(user->counters, counters, nr * sizeof(*counters)))
		ret = -EFAULT;
	kfree(counters);
	return ret;
}

int kiln_vcpu_counters(struct kiln_vcpu *vcpu,
		       struct kiln_counters __user *user)
{
	struct kiln_counter *counters;

	counters = counters_begin(user, NR_VCPU_COUNTERS);
	if (IS_ERR(counters))
		return PTR_ERR(counters);
	counters_add_vcpu(counters, vcpu);
	return counters_end(user, counters, NR_VCPU_COUNTERS);
}

int kiln_vm_counters(struct kiln_vm *vm, struct kiln_counters __user *user)
{
	struct kiln_counter *counters;
	struct kiln_vcpu *vcpu;
	int i;

	counters = counters_begin(user, NR_VM_COUNTERS + NR_VCPU_COUNTERS);
	if (IS_ERR(counters))
		return PTR_ERR(counters);
	counters_add_vm(counters, vm);
	kiln_for_each_vcpu(i, vcpu, vm)
		counters_add_vcpu(counters + NR_VM_COUNTERS, vcpu);
	return counters_end(user, counters, NR_VM_COUNTERS + NR_VCPU_COUNTERS);
}
