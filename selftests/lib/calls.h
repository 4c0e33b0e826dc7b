/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All calls that kiln has, for tests that go through them; truth_test finds one of KVM's type that is missing here. A 0
 * ends each table.
 */
#ifndef KILN_SELFTESTS_CALLS_H
#define KILN_SELFTESTS_CALLS_H

extern const unsigned long kvm_device_calls[], kvm_vm_calls[], kvm_vcpu_calls[];

/* Of kiln's own type: stock KVM has none of these. */
extern const unsigned long kiln_device_calls[], kiln_vm_calls[], kiln_vcpu_calls[];

#endif
