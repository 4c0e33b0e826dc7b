// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMs and vCPUs for the self-tests: see vm.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "kiln.h"
#include "vm.h"

#define PML4	0x1000UL
#define PDPT	0x2000UL
#define PDS	0x3000UL
#define GDT	0x7000UL
#define IDT	0x8000UL
#define TSS	0x9000UL

#define SEL_CODE64	0x08
#define SEL_DATA	0x10
#define SEL_CODE32	0x18
#define SEL_TSS		0x20	/* two slots */

/* Of the linker: the bounds of the sections that are the guest. */
extern uint8_t __start_guest_text[], __stop_guest_text[], __start_guest_data[], __stop_guest_data[];
extern uint8_t guest_gates[];

void die(const char *fmt, ...)
{
	va_list ap;

	fputs("# ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

int xioctl(int fd, unsigned long nr, const void *arg)
{
	int r = ioctl(fd, nr, arg);

	return r < 0 ? -errno : r;
}

static void must(int r, const char *what)
{
	if (r < 0)
		die("%s: %s", what, strerror(-r));
}

const char *device_path(void)
{
	const char *path = getenv("KILN_DEVICE");

	return path && *path ? path : "/dev/kiln";
}

int device_open(void)
{
	int fd = open(device_path(), O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("%s: %s", device_path(), strerror(errno));
	return fd;
}

/* Stock KVM knows none of kiln's own calls; only kiln answers with its version. */
bool device_is_kiln(void)
{
	int fd = device_open();
	struct kiln_version version;
	bool kiln = !xioctl(fd, KILN_GET_VERSION, &version);

	close(fd);
	return kiln;
}

int vm_set_slot(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *hva)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .flags = flags, .guest_phys_addr = gpa, .memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	return xioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

void *vm_map(struct vm *vm, uint32_t slot, uint64_t gpa, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("mmap of %zu bytes: %s", size, strerror(errno));
	/* Small pages, whatever the alignment of this mapping: a first touch of a page is one then. */
	madvise(p, size, MADV_NOHUGEPAGE);
	must(vm_set_slot(vm, slot, 0, gpa, size, p), "SET_USER_MEMORY_REGION");
	return p;
}

static void build_page_tables(uint8_t *ram)
{
	uint64_t *pml4 = (uint64_t *)(ram + PML4), *pdpt = (uint64_t *)(ram + PDPT), *pds = (uint64_t *)(ram + PDS);

	pml4[0] = PDPT | 7;
	for (uint64_t i = 0; i < 4; i++)
		pdpt[i] = (PDS + i * 0x1000) | 7;
	for (uint64_t i = 0; i < 4 * 512; i++)
		pds[i] = i << 21 | 0x87;
}

static void build_gdt(uint8_t *ram)
{
	uint64_t *gdt = (uint64_t *)(ram + GDT);

	gdt[SEL_CODE64 / 8] = 0x00af9b000000ffffULL;
	gdt[SEL_DATA / 8] = 0x00cf93000000ffffULL;
	gdt[SEL_CODE32 / 8] = 0x00cf9b000000ffffULL;
	gdt[SEL_TSS / 8] = 0x0000890000000067ULL | TSS << 16;
}

static void build_idt(uint8_t *ram)
{
	uint64_t *idt = (uint64_t *)(ram + IDT);

	for (int i = 0; i < 256; i++) {
		uint64_t gate = (uintptr_t)guest_gates + 16 * i;

		idt[2 * i] = (gate & 0xffff) | SEL_CODE64 << 16 | 0x8e0000000000ULL | (gate & 0xffff0000) << 32;
		idt[2 * i + 1] = gate >> 32;
	}
}

static void load_section(struct vm *vm, const uint8_t *start, const uint8_t *end)
{
	vm_load(vm, (uintptr_t)start, start, end - start);
}

void vm_load(struct vm *vm, uint64_t gpa, const void *bytes, size_t size)
{
	if (gpa + size > vm->ram_size)
		die("%zu bytes at %#lx do not fit the guest's RAM", size, (unsigned long)gpa);
	memcpy(vm->ram + gpa, bytes, size);
}

struct vm *vm_create(unsigned int flags)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	struct kvm_pit_config pit = { .flags = flags & VM_PIT_SPEAKER ? KVM_PIT_SPEAKER_DUMMY : 0 };

	if (!vm)
		die("out of memory");
	vm->dev = device_open();
	vm->fd = xioctl(vm->dev, KVM_CREATE_VM, NULL);
	must(vm->fd, "CREATE_VM");
	if (flags & VM_IRQCHIP)
		must(xioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL), "CREATE_IRQCHIP");
	if (flags & VM_PIT)
		must(xioctl(vm->fd, KVM_CREATE_PIT2, &pit), "CREATE_PIT2");
	if (flags & VM_NO_RAM)
		return vm;

	vm->ram_size = VM_RAM_SIZE;
	vm->ram = vm_map(vm, 0, 0, vm->ram_size);
	build_page_tables(vm->ram);
	build_gdt(vm->ram);
	build_idt(vm->ram);
	load_section(vm, __start_guest_text, __stop_guest_text);
	load_section(vm, __start_guest_data, __stop_guest_data);
	vm_load(vm, AP_PAGE, ap_start, ap_start_end - ap_start);
	return vm;
}

void vcpu_close(struct vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_size);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	vcpu->run = NULL;
	vcpu->fd = -1;
}

void vm_destroy(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->n_vcpus; i++)
		vcpu_close(&vm->vcpu[i]);
	close(vm->fd);
	close(vm->dev);
	if (vm->ram)
		munmap(vm->ram, vm->ram_size);
	free(vm);
}

struct kvm_cpuid2 *supported_cpuid(int dev)
{
	unsigned int n = 256;
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + n * sizeof(cpuid->entries[0]));

	if (!cpuid)
		die("out of memory");
	cpuid->nent = n;
	must(xioctl(dev, KVM_GET_SUPPORTED_CPUID, cpuid), "GET_SUPPORTED_CPUID");
	return cpuid;
}

struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *cpuid, uint32_t leaf, uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == leaf && e->index == index)
			return e;
	}
	return NULL;
}

bool host_cpu_is_intel(void)
{
	uint32_t r[4];

	cpuid(0, 0, r);
	return r[1] == 0x756e6547;
}

bool host_is_tcg(void)
{
	uint32_t r[4];

	cpuid(0x40000000, 0, r);
	return r[1] == 0x54474354;	/* "TCGT" */
}

/* The BIOS of Bochs signs its ACPI tables; QEMU's signs like it, but says in CPUID that it is a hypervisor. */
bool host_is_bochs(void)
{
	char header[16] = "";
	uint32_t r[4];
	int fd = open("/sys/firmware/acpi/tables/FACP", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, header, sizeof(header));

	if (fd >= 0)
		close(fd);
	cpuid(1, 0, r);
	return n == sizeof(header) && !memcmp(header + 10, "BOCHS", 5) && !(r[2] >> 31);
}

bool host_is_bochs_svm(void)
{
	return !host_cpu_is_intel() && host_is_bochs();
}

bool device_cpuid_has(uint32_t leaf, int reg, int bit)
{
	int fd = device_open();
	struct kvm_cpuid2 *cpuids = supported_cpuid(fd);
	struct kvm_cpuid_entry2 *e = cpuid_find(cpuids, leaf, 0);
	uint32_t r[4] = { 0 };

	if (e)
		memcpy(r, &e->eax, sizeof(r));
	free(cpuids);
	close(fd);
	return r[reg] >> bit & 1;
}

/* What the host supports, with the vCPU's own APIC id in leaves 1, 0xb and 0x1f. */
static void set_default_cpuid(struct vcpu *vcpu)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(vcpu->vm->dev);

	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == 1)
			e->ebx = (e->ebx & 0xffffff) | vcpu->id << 24;
		if (e->function == 0xb || e->function == 0x1f)
			e->edx = vcpu->id;
	}
	must(xioctl(vcpu->fd, KVM_SET_CPUID2, cpuid), "SET_CPUID2");
	free(cpuid);
}

struct vcpu *vm_add_vcpu(struct vm *vm)
{
	struct vcpu *vcpu = &vm->vcpu[vm->n_vcpus];
	int size = xioctl(vm->dev, KVM_GET_VCPU_MMAP_SIZE, NULL);

	if (vm->n_vcpus == VM_MAX_VCPUS)
		die("more than %d vCPUs", VM_MAX_VCPUS);
	must(size, "GET_VCPU_MMAP_SIZE");
	vcpu->vm = vm;
	vcpu->id = vm->n_vcpus;
	vcpu->fd = xioctl(vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)vcpu->id);
	must(vcpu->fd, "CREATE_VCPU");
	vcpu->run_size = size;
	vcpu->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		die("mmap of the vCPU: %s", strerror(errno));
	vm->n_vcpus++;
	set_default_cpuid(vcpu);
	return vcpu;
}

struct kvm_regs vcpu_regs(struct vcpu *vcpu)
{
	struct kvm_regs regs;

	must(xioctl(vcpu->fd, KVM_GET_REGS, &regs), "GET_REGS");
	return regs;
}

void vcpu_set_regs(struct vcpu *vcpu, const struct kvm_regs *regs)
{
	must(xioctl(vcpu->fd, KVM_SET_REGS, regs), "SET_REGS");
}

struct kvm_sregs vcpu_sregs(struct vcpu *vcpu)
{
	struct kvm_sregs sregs;

	must(xioctl(vcpu->fd, KVM_GET_SREGS, &sregs), "GET_SREGS");
	return sregs;
}

void vcpu_set_sregs(struct vcpu *vcpu, const struct kvm_sregs *sregs)
{
	must(xioctl(vcpu->fd, KVM_SET_SREGS, sregs), "SET_SREGS");
}

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

int vcpu_get_msr(struct vcpu *vcpu, uint32_t index, uint64_t *value)
{
	struct one_msr msr = { .head.nmsrs = 1, .entry.index = index };
	int n = xioctl(vcpu->fd, KVM_GET_MSRS, &msr);

	must(n, "GET_MSRS");
	*value = msr.entry.data;
	return n;
}

int vcpu_set_msr(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
	struct one_msr msr = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };
	int n = xioctl(vcpu->fd, KVM_SET_MSRS, &msr);

	must(n, "SET_MSRS");
	return n;
}

static uint64_t stack_top(struct vcpu *vcpu)
{
	/* A function is entered with the stack 8 off a multiple of 16, as if called. */
	return VM_STACKS + (vcpu->id + 1) * VM_STACK_SIZE - 8;
}

static void set_entry(struct vcpu *vcpu, uint64_t rip, uint64_t rsp)
{
	struct kvm_regs regs = { .rip = rip, .rsp = rsp, .rflags = 2, .rdi = vcpu->id };

	vcpu_set_regs(vcpu, &regs);
}

static void set_tables(struct kvm_sregs *s)
{
	s->gdt = (struct kvm_dtable){ .base = GDT, .limit = 0x3f };
	s->idt = (struct kvm_dtable){ .base = IDT, .limit = 0xfff };
	s->tr = (struct kvm_segment){ .base = TSS, .limit = 0x67, .selector = SEL_TSS, .type = 11, .present = 1 };
	s->ldt = (struct kvm_segment){ .unusable = 1, .type = 2 };
}

static void set_flat_data(struct kvm_sregs *s)
{
	struct kvm_segment data = {
		.base = 0, .limit = 0xffffffff, .selector = SEL_DATA, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1,
	};

	s->ds = s->es = s->ss = s->fs = s->gs = data;
}

void vcpu_long_mode(struct vcpu *vcpu, void (*entry)(void))
{
	struct kvm_sregs s = vcpu_sregs(vcpu);

	set_tables(&s);
	set_flat_data(&s);
	s.cs = (struct kvm_segment){
		.limit = 0xffffffff, .selector = SEL_CODE64, .type = 11, .present = 1, .l = 1, .s = 1, .g = 1,
	};
	s.cr0 = 0x80010033;	/* PG, WP, NE, ET, MP, PE */
	s.cr3 = PML4;
	s.cr4 = 0x620;		/* PAE, OSFXSR, OSXMMEXCPT */
	s.efer = 0x500;		/* LMA, LME */
	vcpu_set_sregs(vcpu, &s);
	set_entry(vcpu, (uintptr_t)entry, stack_top(vcpu));
}

void vcpu_protected_mode(struct vcpu *vcpu, uint32_t eip)
{
	struct kvm_sregs s = vcpu_sregs(vcpu);

	set_tables(&s);
	set_flat_data(&s);
	s.cs = (struct kvm_segment){
		.limit = 0xffffffff, .selector = SEL_CODE32, .type = 11, .present = 1, .db = 1, .s = 1, .g = 1,
	};
	s.cr0 = 0x31;		/* NE, ET, PE */
	s.cr4 = 0;
	s.efer = 0;
	vcpu_set_sregs(vcpu, &s);
	set_entry(vcpu, eip, stack_top(vcpu));
}

void vcpu_real_mode(struct vcpu *vcpu, uint16_t ip)
{
	struct kvm_sregs s = vcpu_sregs(vcpu);
	struct kvm_segment data = { .limit = 0xffff, .type = 3, .present = 1, .s = 1 };

	s.cs = data;
	s.cs.type = 11;
	s.ds = s.es = s.ss = s.fs = s.gs = data;
	s.idt = (struct kvm_dtable){ .base = 0, .limit = 0x3ff };
	s.cr0 = 0x10;
	s.cr4 = 0;
	s.efer = 0;
	vcpu_set_sregs(vcpu, &s);
	set_entry(vcpu, ip, 0xf000);
}

struct vcpu *vm_create_one(unsigned int flags, void (*entry)(void))
{
	struct vcpu *vcpu = vm_add_vcpu(vm_create(flags));

	vcpu_long_mode(vcpu, entry);
	return vcpu;
}

int vcpu_run(struct vcpu *vcpu)
{
	return xioctl(vcpu->fd, KVM_RUN, NULL);
}

#define NAME(n) [KVM_EXIT_##n] = #n
static const char *const exit_names[] = {
	NAME(UNKNOWN), NAME(EXCEPTION), NAME(IO), NAME(HYPERCALL), NAME(DEBUG), NAME(HLT), NAME(MMIO),
	NAME(IRQ_WINDOW_OPEN), NAME(SHUTDOWN), NAME(FAIL_ENTRY), NAME(INTR), NAME(SET_TPR), NAME(TPR_ACCESS),
	NAME(NMI), NAME(INTERNAL_ERROR), NAME(SYSTEM_EVENT), NAME(IOAPIC_EOI),
};

const char *exit_name(uint32_t reason)
{
	if (reason < sizeof(exit_names) / sizeof(exit_names[0]) && exit_names[reason])
		return exit_names[reason];
	return "of no name the tests know";
}

#define SAY(...) snprintf(vcpu->outcome, sizeof(vcpu->outcome), __VA_ARGS__)

static void describe_ucall(struct vcpu *vcpu, uint32_t kind)
{
	struct kvm_regs r = vcpu_regs(vcpu);

	switch (kind) {
	case UCALL_DONE:
		SAY("done");
		break;
	case UCALL_SYNC:
		SAY("sync %llu", r.rbx);
		break;
	case UCALL_FAIL:
		SAY("guest line %llu: seen %#llx, expected %#llx", r.rbx, r.rcx, r.rsi);
		break;
	case UCALL_TRAP:
		SAY("trap %llu error %#llx at %#llx", r.rbx, r.rcx, r.rsi);
		break;
	default:
		SAY("exit IO");
	}
}

const char *vcpu_describe(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (run->exit_reason == KVM_EXIT_IO && run->io.port == UCALL_PORT && run->io.size == 4 &&
	    run->io.direction == KVM_EXIT_IO_OUT)
		describe_ucall(vcpu, *(uint32_t *)((uint8_t *)run + run->io.data_offset));
	else
		SAY("exit %s", exit_name(run->exit_reason));
	return vcpu->outcome;
}

const char *vcpu_outcome(struct vcpu *vcpu)
{
	int r;

	/* KVM's word for "a start-up IPI came, call again". */
	do {
		r = vcpu_run(vcpu);
	} while (r == -EAGAIN);
	if (!r)
		return vcpu_describe(vcpu);
	SAY("run: %s", strerror(-r));
	return vcpu->outcome;
}

static void *vcpu_thread(void *arg)
{
	vcpu_outcome(arg);
	return NULL;
}

void vcpu_start(struct vcpu *vcpu)
{
	int r = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);

	if (r)
		die("pthread_create: %s", strerror(r));
}

const char *vcpu_join(struct vcpu *vcpu)
{
	pthread_join(vcpu->thread, NULL);
	return vcpu->outcome;
}

void vm_irq_line(struct vm *vm, uint32_t gsi, uint32_t level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	must(xioctl(vm->fd, KVM_IRQ_LINE, &line), "IRQ_LINE");
}
