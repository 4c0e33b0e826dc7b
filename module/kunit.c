// SPDX-License-Identifier: GPL-2.0-only
/*
 * kiln-kunit.ko: the KUnit suites that stand beside the code they test. Loaded
 * after kiln.ko, whose functions it calls.
 */
#include <linux/module.h>
#include <kunit/test.h>

#include "emulate/emulate_test.h"
#include "irqchip/irqchip_test.h"
#include "kunit.h"
#include "mmu/gwalk_test.h"
#include "mmu/mmu_test.h"
#include "svm/svm_test.h"
#include "virtio/limit_test.h"
#include "virtio/vring_suites.h"

kunit_test_suites(&cpuid_suite, &msr_suite, &clock_suite, &state_suite,
		  &spec_suite,
		  &emulate_decode_suite, &emulate_execute_suite,
		  &emulate_linear_suite,
		  &gwalk_suite, &pgtable_suite, &pgtable_model_suite,
		  &slots_suite, &guest_memory_suite, &ept_format_suite,
		  &npt_format_suite, &svm_asid_suite, &svm_avic_suite,
		  &svm_events_suite, &svm_exits_suite, &svm_insn_suite,
		  &svm_cr4_suite,
		  &vmx_caps_suite, &vmx_errata_suite, &vmx_state_suite,
		  &svm_state_suite,
		  &svm_cpu_suite,
		  &svm_verify_suite,
		  &lapic_suite, &lapic_ipi_suite, &ioapic_suite, &pic_suite,
		  &pit_suite, &routing_suite, &bus_suite,
		  &vring_suite, &vring_split_suite, &vring_packed_suite,
		  &vring_model_suite, &vring_access_suite, &limit_suite);

MODULE_DESCRIPTION("KUnit suites of kiln");
MODULE_LICENSE("GPL");
