/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host side of the self-tests: a VM with a little RAM, its vCPUs, the modes they start in, and what came of
 * running them, as text.
 *
 * A test is a function pair: host code under the harness, and guest code in the section guest_text, marked __guest.
 * The linker places guest_text and guest_data at fixed addresses (see the Makefile); vm_create() copies both to the
 * same guest-physical addresses and maps guest memory one to one, so a guest function's link address is its address in
 * the guest, in every mode.
 *
 *   0x01000  page tables: 4 GiB one to one in 2M pages	0x07000  GDT
 *   0x08000  IDT						0x09000  TSS (one for all: ring 0 only uses its size)
 *   0x0a000  free for tests: real-mode code, data		0x20000  stacks, 16 KiB per vCPU
 *   0x0f000  page an application processor starts in		0x100000 guest_text, 0x180000 guest_data
 *   0x200000 free for tests, to the end of RAM
 *
 * What goes wrong in here is no fact about the device under test's rules but an end of the test: a line on stderr and
 * abort(), which the harness reports as a failed assertion.
 */
#ifndef KILN_SELFTESTS_VM_H
#define KILN_SELFTESTS_VM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <linux/kvm.h>

#define VM_MAX_VCPUS	16
#define VM_RAM_SIZE	(8UL << 20)
#define VM_SCRATCH	0xa000UL	/* tests' own page below 64 KiB */
#define VM_FREE		0x200000UL	/* tests' own memory, to the end of RAM */
#define VM_STACKS	0x20000UL
#define VM_STACK_SIZE	0x4000UL

enum vm_flags {
	VM_IRQCHIP	= 1 << 0,	/* PIC, I/O APIC, local APICs in the kernel */
	VM_PIT		= 1 << 1,
	VM_NO_RAM	= 1 << 2,	/* the test sets its slots */
	VM_PIT_SPEAKER	= 1 << 3,	/* with VM_PIT: port 0x61 is the kernel's too */
};

struct vm;

struct vcpu {
	struct vm *vm;
	unsigned int id;
	int fd;
	struct kvm_run *run;
	size_t run_size;
	pthread_t thread;
	char outcome[160];	/* what vcpu_outcome() returned last */
};

struct vm {
	int dev;
	int fd;
	uint8_t *ram;
	size_t ram_size;
	unsigned int n_vcpus;
	struct vcpu vcpu[VM_MAX_VCPUS];
};

/* The device */
const char *device_path(void);
int device_open(void);
bool device_is_kiln(void);

/* Objects */
struct vm *vm_create(unsigned int flags);
void vm_destroy(struct vm *vm);
int vm_set_slot(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *hva);
void *vm_map(struct vm *vm, uint32_t slot, uint64_t gpa, size_t size);
struct vcpu *vm_add_vcpu(struct vm *vm);
void vcpu_close(struct vcpu *vcpu);

/* A VM of one vCPU in 64-bit mode at a guest function: what most tests want. */
struct vcpu *vm_create_one(unsigned int flags, void (*entry)(void));

/* Modes. RFLAGS is 2, other registers 0, the stack is the vCPU's own. */
void vcpu_long_mode(struct vcpu *vcpu, void (*entry)(void));
void vcpu_protected_mode(struct vcpu *vcpu, uint32_t eip);
void vcpu_real_mode(struct vcpu *vcpu, uint16_t ip);

/*
 * BLOB(name, "16" | "32" | "64", "instructions") defines bytes of guest code in the host's memory, for code that
 * the compiler cannot make; vm_load() copies them to guest memory. Write them position-independent.
 */
#define BLOB(name, bits, text)						\
	extern const uint8_t name[], name##_end[];			\
	asm(".pushsection .rodata\n.global " #name ", " #name "_end\n"	\
	    ".code" bits "\n" #name ":\n" text "\n" #name "_end:\n.code64\n.popsection")
#define vm_load_blob(vm, gpa, name)	vm_load(vm, gpa, name, name##_end - name)
void vm_load(struct vm *vm, uint64_t gpa, const void *bytes, size_t size);

/* The VM's copy of a variable in guest_data. */
#define GUEST(vm, var)	(*(__typeof__(var) *)((vm)->ram + (uintptr_t)&(var)))

/* Running */
int vcpu_run(struct vcpu *vcpu);	/* 0 or -errno */
const char *exit_name(uint32_t reason);

/*
 * Run until the vCPU leaves and say what happened: "done", "sync N", "guest line N: seen X, expected Y",
 * "trap V error E at RIP", "exit NAME" for any other exit, or "run: strerror".
 */
const char *vcpu_outcome(struct vcpu *vcpu);
/* What the vCPU last left RUN with, in the same words, without running. */
const char *vcpu_describe(struct vcpu *vcpu);

/* The same in a thread of its own. */
void vcpu_start(struct vcpu *vcpu);
const char *vcpu_join(struct vcpu *vcpu);

#define ASSERT_OUTCOME(expected, vcpu)	ASSERT_STREQ(expected, vcpu_outcome(vcpu))
#define ASSERT_DONE(vcpu)		ASSERT_OUTCOME("done", vcpu)
#define ASSERT_EXIT(name, vcpu)		ASSERT_OUTCOME("exit " #name, vcpu)

/* An ioctl's result as 0-or-more or -errno, so that one comparison says it all. */
int xioctl(int fd, unsigned long nr, const void *arg) __attribute__((access(none, 3)));
#define EXPECT_IOCTL(expected, fd, nr, arg)	EXPECT_EQ(expected, xioctl(fd, nr, arg))
#define ASSERT_IOCTL(expected, fd, nr, arg)	ASSERT_EQ(expected, xioctl(fd, nr, arg))

/* State, with abort() where the call fails. */
struct kvm_regs vcpu_regs(struct vcpu *vcpu);
void vcpu_set_regs(struct vcpu *vcpu, const struct kvm_regs *regs);
struct kvm_sregs vcpu_sregs(struct vcpu *vcpu);
void vcpu_set_sregs(struct vcpu *vcpu, const struct kvm_sregs *sregs);
int vcpu_get_msr(struct vcpu *vcpu, uint32_t index, uint64_t *value);	/* number of MSRs read: 1 or 0 */
int vcpu_set_msr(struct vcpu *vcpu, uint32_t index, uint64_t value);

struct kvm_cpuid2 *supported_cpuid(int dev);
struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *cpuid, uint32_t leaf, uint32_t index);
bool host_cpu_is_intel(void);
bool device_cpuid_has(uint32_t leaf, int reg, int bit);
bool host_is_bochs(void);
bool host_is_bochs_svm(void);	/* its VMRUN does not load CR2, its intercepted #DB does not come to DR6 */
bool host_is_tcg(void);		/* QEMU without an accelerator: some of SVM is not as the manual says */

void vm_irq_line(struct vm *vm, uint32_t gsi, uint32_t level);

void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
