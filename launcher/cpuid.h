/* SPDX-License-Identifier: GPL-2.0-only */
/* What CPUID says to each vCPU: what the device supports, plus who and how many they are. */
#ifndef KILN_CPUID_H
#define KILN_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>

/*
 * Adds what the supported leaves leave out: KVM lists only the first subleaf
 * of the topology leaves. @room: entries there is memory for.
 */
void cpuid_complete(struct kvm_cpuid2 *cpuid, unsigned int room);

/*
 * Adjusts the leaves for vCPU @cpu of @cpus: one package of @cpus cores with
 * one thread each, the vCPU's number as its APIC ID. Call it on a copy of
 * the supported leaves for each vCPU, or on the same one again.
 */
void cpuid_adjust(struct kvm_cpuid2 *cpuid, unsigned int cpu, unsigned int cpus,
		  bool tsc_deadline);

#endif
