// SPDX-License-Identifier: GPL-2.0-only
#include "exit_name.h"

#include <asm/svm.h>
#include <asm/vmx.h>
#include <stdio.h>

#include "../uapi/kiln.h"
#include "util.h"

/* Not in every <asm/svm.h>. */
#ifndef SVM_EXIT_IDLE_HLT
#define SVM_EXIT_IDLE_HLT	0xa6
#endif

#define VMX_BASIC_REASON	0xffff

struct reason {
	uint32_t number;
	const char *name;
};

static const struct reason vmx_reasons[] = { VMX_EXIT_REASONS };

/* What is counted through, like registers and vectors, is in svm_ranges. */
static const struct reason svm_codes[] = {
	{ SVM_EXIT_INTR, "INTR" },
	{ SVM_EXIT_NMI, "NMI" },
	{ SVM_EXIT_SMI, "SMI" },
	{ SVM_EXIT_INIT, "INIT" },
	{ SVM_EXIT_VINTR, "VINTR" },
	{ SVM_EXIT_CR0_SEL_WRITE, "CR0_SEL_WRITE" },
	{ SVM_EXIT_IDTR_READ, "IDTR_READ" },
	{ SVM_EXIT_GDTR_READ, "GDTR_READ" },
	{ SVM_EXIT_LDTR_READ, "LDTR_READ" },
	{ SVM_EXIT_TR_READ, "TR_READ" },
	{ SVM_EXIT_IDTR_WRITE, "IDTR_WRITE" },
	{ SVM_EXIT_GDTR_WRITE, "GDTR_WRITE" },
	{ SVM_EXIT_LDTR_WRITE, "LDTR_WRITE" },
	{ SVM_EXIT_TR_WRITE, "TR_WRITE" },
	{ SVM_EXIT_RDTSC, "RDTSC" },
	{ SVM_EXIT_RDPMC, "RDPMC" },
	{ SVM_EXIT_PUSHF, "PUSHF" },
	{ SVM_EXIT_POPF, "POPF" },
	{ SVM_EXIT_CPUID, "CPUID" },
	{ SVM_EXIT_RSM, "RSM" },
	{ SVM_EXIT_IRET, "IRET" },
	{ SVM_EXIT_SWINT, "SWINT" },
	{ SVM_EXIT_INVD, "INVD" },
	{ SVM_EXIT_PAUSE, "PAUSE" },
	{ SVM_EXIT_HLT, "HLT" },
	{ SVM_EXIT_INVLPG, "INVLPG" },
	{ SVM_EXIT_INVLPGA, "INVLPGA" },
	{ SVM_EXIT_IOIO, "IOIO" },
	{ SVM_EXIT_MSR, "MSR" },
	{ SVM_EXIT_TASK_SWITCH, "TASK_SWITCH" },
	{ SVM_EXIT_FERR_FREEZE, "FERR_FREEZE" },
	{ SVM_EXIT_SHUTDOWN, "SHUTDOWN" },
	{ SVM_EXIT_VMRUN, "VMRUN" },
	{ SVM_EXIT_VMMCALL, "VMMCALL" },
	{ SVM_EXIT_VMLOAD, "VMLOAD" },
	{ SVM_EXIT_VMSAVE, "VMSAVE" },
	{ SVM_EXIT_STGI, "STGI" },
	{ SVM_EXIT_CLGI, "CLGI" },
	{ SVM_EXIT_SKINIT, "SKINIT" },
	{ SVM_EXIT_RDTSCP, "RDTSCP" },
	{ SVM_EXIT_ICEBP, "ICEBP" },
	{ SVM_EXIT_WBINVD, "WBINVD" },
	{ SVM_EXIT_MONITOR, "MONITOR" },
	{ SVM_EXIT_MWAIT, "MWAIT" },
	{ SVM_EXIT_MWAIT_COND, "MWAIT_CONDITIONAL" },
	{ SVM_EXIT_XSETBV, "XSETBV" },
	{ SVM_EXIT_RDPRU, "RDPRU" },
	{ SVM_EXIT_EFER_WRITE_TRAP, "EFER_WRITE_TRAP" },
	{ SVM_EXIT_INVPCID, "INVPCID" },
	{ SVM_EXIT_IDLE_HLT, "IDLE_HLT" },
	{ SVM_EXIT_NPF, "NPF" },
	{ SVM_EXIT_AVIC_INCOMPLETE_IPI, "AVIC_INCOMPLETE_IPI" },
	{ SVM_EXIT_AVIC_UNACCELERATED_ACCESS, "AVIC_NOACCEL" },
	{ SVM_EXIT_VMGEXIT, "VMGEXIT" },
	{ (uint32_t)SVM_EXIT_ERR, "INVALID" },
};

static const struct {
	uint32_t first, count;
	const char *before, *after;
} svm_ranges[] = {
	{ SVM_EXIT_READ_CR0, 16, "CR", "_READ" },
	{ SVM_EXIT_WRITE_CR0, 16, "CR", "_WRITE" },
	{ SVM_EXIT_READ_DR0, 16, "DR", "_READ" },
	{ SVM_EXIT_WRITE_DR0, 16, "DR", "_WRITE" },
	{ SVM_EXIT_EXCP_BASE, 32, "EXCP", "" },
	{ SVM_EXIT_CR0_WRITE_TRAP, 16, "CR", "_WRITE_TRAP" },
};

static const char *find(const struct reason *reasons, size_t count, uint32_t number)
{
	for (size_t i = 0; i < count; i++)
		if (reasons[i].number == number)
			return reasons[i].name;
	return "unknown";
}

static void svm_name(uint32_t code, char *name, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(svm_ranges); i++) {
		uint32_t number = code - svm_ranges[i].first;

		if (number >= svm_ranges[i].count)
			continue;
		snprintf(name, size, "%s%u%s", svm_ranges[i].before, number, svm_ranges[i].after);
		return;
	}
	snprintf(name, size, "%s", find(svm_codes, ARRAY_SIZE(svm_codes), code));
}

void exit_name(uint32_t vendor, uint32_t reason, char *name, size_t size)
{
	if (vendor == KILN_VENDOR_AMD)
		svm_name(reason, name, size);
	else
		snprintf(name, size, "%s", find(vmx_reasons, ARRAY_SIZE(vmx_reasons),
						reason & VMX_BASIC_REASON));
}
