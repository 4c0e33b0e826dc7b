// SPDX-License-Identifier: GPL-2.0-only
/*
 * Work the kernel wants done before a thread goes on to a guest: reschedule,
 * signals, task work, restartable sequences. The kernel has one function for
 * it, made for KVM: where a signal ends the stay it notes that in the struct
 * kvm_vcpu it was handed. Ours has no other use than to be written to.
 */
#include <linux/kvm_host.h>
#include <linux/entry-kvm.h>

#include "xfer.h"

static struct kvm_run scratch_run;
static struct kvm_vcpu scratch_vcpu = { .run = &scratch_run };

int kiln_xfer_work(void)
{
	return xfer_to_guest_mode_handle_work(&scratch_vcpu);
}
