/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What /dev/kiln adds to the KVM ABI.
 *
 * Everything in <linux/kvm.h> that kiln implements keeps its number, layout
 * and meaning. The calls below have numbers of their own (type KILNIO), so a
 * program can tell kiln from KVM by asking: on stock KVM they return -ENOTTY.
 */
#ifndef _UAPI_KILN_H
#define _UAPI_KILN_H

#include <linux/ioctl.h>
#include <linux/kvm.h>
#include <linux/types.h>

/* ioctl type, unused in Documentation/userspace-api/ioctl/ioctl-number.rst */
#define KILNIO			0xDC

/**
 * struct kiln_version - answer of KILN_GET_VERSION
 * @major: changes when a call below changes its meaning
 * @minor: grows when something is added
 * @vendor: one of KILN_VENDOR_*, the hardware backend in use
 * @reserved: zero
 * @name: "kiln" and the version as text, NUL-terminated
 */
struct kiln_version {
	__u16 major;
	__u16 minor;
	__u32 vendor;
	__u64 reserved;
	char name[48];
};

#define KILN_VENDOR_INTEL	1
#define KILN_VENDOR_AMD		2

/* On /dev/kiln, a VM or a vCPU. Never fails but for a bad pointer (-EFAULT). */
#define KILN_GET_VERSION	_IOR(KILNIO, 0x00, struct kiln_version)

#define KILN_DEATH_CAUSE_LEN	192
#define KILN_DEATH_INSN_LEN	15

/* struct kiln_death.kind */
#define KILN_DEATH_TRIPLE_FAULT	1	/* KVM_EXIT_SHUTDOWN */
#define KILN_DEATH_FAIL_ENTRY	2	/* KVM_EXIT_FAIL_ENTRY */
#define KILN_DEATH_EMULATION	3	/* KVM_EXIT_INTERNAL_ERROR, EMULATION */
#define KILN_DEATH_UNEXPECTED	4	/* any other KVM_EXIT_INTERNAL_ERROR */
#define KILN_DEATH_MEMORY	5	/* KVM_RUN returned -EFAULT or -ENOMEM */

/**
 * struct kiln_death - why a vCPU cannot go on
 * @kind: one of KILN_DEATH_*
 * @exit_reason: VMX: the exit reason, all 32 bits (SDM vol. 3 app. C).
 *	SVM: the lower half of EXITCODE (APM vol. 2 app. C); 0xffffffff where
 *	VMRUN refused the guest or could not be executed
 * @qualification: VMX: exit qualification (SDM vol. 3 §27.2.1).
 *	SVM: EXITINFO1
 * @gpa: guest-physical address of the exit, where it has one, else 0.
 *	SVM: EXITINFO2 of a nested page fault
 * @linear: guest-linear address of the exit, where it has one, else 0.
 *	SVM: always 0
 * @intr_info: VMX: VM-exit interruption information, bit 31 says valid.
 *	SVM: always 0; an intercepted exception's vector is in the code
 * @intr_error: its error code
 * @idt_info: what was being delivered when the exit came, bit 31 says valid.
 *	VMX: IDT-vectoring information. SVM: EXITINTINFO
 * @idt_error: its error code
 * @insn_error: VMX: VM-instruction error number (SDM vol. 3 §31.4), 0 for
 *	none. SVM: always 0
 * @entry_info: what was to be injected by the entry, bit 31 says valid. VMX:
 *	VM-entry interruption information. SVM: EVENTINJ
 * @insn_len: how many of @insn are valid, 0 if RIP could not be read
 * @insn: the bytes at RIP
 * @regs: general registers as of the exit
 * @sregs: special registers as of the exit
 * @cause: a sentence, NUL-terminated
 *
 * Which of both it is KILN_GET_VERSION says. Of a triple fault SVM leaves
 * registers undefined (APM vol. 2 §15.14.3): they are what the processor left.
 */
struct kiln_death {
	__u32 kind;
	__u32 exit_reason;
	__u64 qualification;
	__u64 gpa;
	__u64 linear;
	__u32 intr_info;
	__u32 intr_error;
	__u32 idt_info;
	__u32 idt_error;
	__u32 insn_error;
	__u32 entry_info;
	__u8 insn_len;
	__u8 insn[KILN_DEATH_INSN_LEN];
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	char cause[KILN_DEATH_CAUSE_LEN];
};

/*
 * On a vCPU: the cause of the latest death. -ENODATA while the vCPU has not
 * died since it was created. A vCPU that is run again after its registers
 * were set keeps the record until its next death.
 */
#define KILN_GET_DEATH		_IOR(KILNIO, 0x01, struct kiln_death)

#define KILN_COUNTER_NAME_LEN	32

/**
 * struct kiln_counter - one counter
 * @name: what is counted, NUL-terminated, stable
 * @value: since the object was created
 */
struct kiln_counter {
	char name[KILN_COUNTER_NAME_LEN];
	__u64 value;
};

/**
 * struct kiln_counters - argument of KILN_GET_COUNTERS
 * @nr: in: entries there is room for; out: entries there are
 * @reserved: must be zero
 * @counters: filled up to the smaller of both
 */
struct kiln_counters {
	__u32 nr;
	__u32 reserved;
	struct kiln_counter counters[];
};

/*
 * On a VM (its own and the sum of its vCPUs') or a vCPU. -E2BIG with @nr set
 * where there is too little room, -EINVAL for a non-zero @reserved.
 */
#define KILN_GET_COUNTERS	_IOWR(KILNIO, 0x02, struct kiln_counters)

#endif /* _UAPI_KILN_H */
