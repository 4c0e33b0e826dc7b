// SPDX-License-Identifier: GPL-2.0-only
#include "death.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#include "exit_name.h"
#include "vcpu.h"

#define CR0_PG		(1ULL << 31)
#define CR4_PSE		(1ULL << 4)
#define CR4_PAE		(1ULL << 5)
#define CR4_LA57	(1ULL << 12)
#define EFER_LMA	(1ULL << 10)

#define PTE_PRESENT	1ULL
#define PTE_HUGE	(1ULL << 7)
#define PTE_ADDRESS	0x000ffffffffff000ULL

/* How a paging mode walks (SDM vol. 3 chapter 4). */
struct paging {
	unsigned int levels, bits;	/* tables, and address bits each of them takes */
	unsigned int entry_size;
	unsigned int huge_up_to;	/* the highest level that may map a page, counted from 1 */
};

static struct paging paging_mode(const struct kvm_sregs *sregs)
{
	if (sregs->efer & EFER_LMA)
		return (struct paging){ sregs->cr4 & CR4_LA57 ? 5 : 4, 9, 8, 3 };
	if (sregs->cr4 & CR4_PAE)
		return (struct paging){ 3, 9, 8, 2 };
	return (struct paging){ 2, 10, 4, sregs->cr4 & CR4_PSE ? 2 : 1 };
}

/* Linear to guest-physical; false where nothing is mapped. All of it is the guest's: trust nothing. */
static bool translate(const struct guest_memory *memory, const struct kvm_sregs *sregs,
		      uint64_t address, uint64_t *gpa)
{
	struct paging mode = paging_mode(sregs);
	uint64_t table = sregs->cr3 & (mode.levels == 3 ? ~0x1fULL : ~0xfffULL) & ~(1ULL << 63);

	*gpa = address;
	if (!(sregs->cr0 & CR0_PG))
		return true;
	for (unsigned int level = mode.levels; level; level--) {
		unsigned int shift = 12 + (level - 1) * mode.bits;
		uint64_t index = address >> shift & ((1u << mode.bits) - 1);
		void *slot = guest_ptr(memory, table + index * mode.entry_size, mode.entry_size);
		uint64_t entry = 0;

		if (!slot)
			return false;
		memcpy(&entry, slot, mode.entry_size);
		if (!(entry & PTE_PRESENT))
			return false;
		table = entry & PTE_ADDRESS;
		if (level == 1 || (level <= mode.huge_up_to && entry & PTE_HUGE)) {
			uint64_t offset = ((uint64_t)1 << shift) - 1;

			*gpa = (table & ~offset) | (address & offset);
			return true;
		}
	}
	return false;
}

unsigned int death_read_code(const struct guest_memory *memory, const struct kvm_sregs *sregs,
			     uint64_t address, uint8_t *bytes, unsigned int size)
{
	unsigned int count;

	for (count = 0; count < size; count++) {
		uint64_t gpa;
		const uint8_t *byte;

		if (!translate(memory, sregs, address + count, &gpa))
			break;
		byte = guest_ptr(memory, gpa, 1);
		if (!byte)
			break;
		bytes[count] = *byte;
	}
	return count;
}

static void say_cause(struct kiln_death *record, uint32_t kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void say_cause(struct kiln_death *record, uint32_t kind, const char *fmt, ...)
{
	va_list args;

	record->kind = kind;
	va_start(args, fmt);
	vsnprintf(record->cause, sizeof(record->cause), fmt, args);
	va_end(args);
}

static void describe_internal(struct kiln_death *record, const struct kvm_run *run)
{
	static const char *const suberrors[] = {
		[KVM_INTERNAL_ERROR_EMULATION] = "an instruction could not be emulated",
		[KVM_INTERNAL_ERROR_SIMUL_EX] = "exceptions met that cannot be delivered together",
		[KVM_INTERNAL_ERROR_DELIVERY_EV] = "an exit came while an event was being delivered",
		[KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "the hardware exited for an unknown reason",
	};
	uint32_t suberror = run->internal.suberror;
	const char *text = suberror < ARRAY_SIZE(suberrors) ? suberrors[suberror] : NULL;

	say_cause(record,
		  suberror == KVM_INTERNAL_ERROR_EMULATION ? KILN_DEATH_EMULATION
							    : KILN_DEATH_UNEXPECTED,
		  "internal error %u: %s", suberror, text ? text : "KVM gives no reason");
}

void death_describe(struct kiln_death *record, const struct kvm_run *run, int err)
{
	if (err) {
		say_cause(record, KILN_DEATH_MEMORY,
			  "the vCPU cannot run: %s%s", strerror(err),
			  err == EFAULT ? ": guest memory could not be had from the host" : "");
		return;
	}
	switch (run->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
		say_cause(record, KILN_DEATH_TRIPLE_FAULT,
			  "triple fault: an exception while a double fault was being delivered");
		break;
	case KVM_EXIT_FAIL_ENTRY:
		record->exit_reason = (uint32_t)run->fail_entry.hardware_entry_failure_reason;
		say_cause(record, KILN_DEATH_FAIL_ENTRY,
			  "the hardware refused to enter the guest: reason 0x%llx",
			  run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		describe_internal(record, run);
		break;
	default:
		say_cause(record, KILN_DEATH_UNEXPECTED,
			  "exit reason %u of the KVM ABI, which this launcher did not ask for",
			  run->exit_reason);
	}
}

/*
 * Stock KVM on AMD resets a vCPU that shut down, because the hardware leaves
 * its state undefined (APM vol. 2 §15.14.3); what it died with is gone.
 */
static bool was_reset(const struct kiln_death *record)
{
	return record->kind == KILN_DEATH_TRIPLE_FAULT && record->regs.rip == 0xfff0 &&
	       record->sregs.cs.base == 0xffff0000;
}

static void append_cause(struct kiln_death *record, const char *text)
{
	size_t used = strlen(record->cause);

	snprintf(record->cause + used, sizeof(record->cause) - used, "%s", text);
}

void death_collect(struct death *death, const struct vcpu *vcpu, int err)
{
	struct kiln_death *record = &death->record;

	memset(death, 0, sizeof(*death));
	death->vcpu = vcpu->id;
	death->from_kiln = !ioctl(vcpu->fd, KILN_GET_DEATH, record);
	if (death->from_kiln) {
		struct kiln_version version;

		vm_get_version(vcpu->fd, &version);
		death->vendor = version.vendor;
		record->cause[sizeof(record->cause) - 1] = '\0';
		return;
	}
	memset(record, 0, sizeof(*record));
	death_describe(record, vcpu->run, err);
	/* Where these fail too, what is printed is zero: there is no more to know. */
	ioctl(vcpu->fd, KVM_GET_REGS, &record->regs);
	ioctl(vcpu->fd, KVM_GET_SREGS, &record->sregs);
	if (was_reset(record))
		append_cause(record, "; KVM has reset the vCPU since, its registers are lost");
	record->insn_len = (uint8_t)death_read_code(vcpu->memory, &record->sregs,
						    record->sregs.cs.base + record->regs.rip,
						    record->insn, sizeof(record->insn));
}

/* In the words of the SDM. */
static void print_vmx_exit(const struct kiln_death *r, FILE *out)
{
	fprintf(out, "  qualification 0x%llx  gpa 0x%llx  linear 0x%llx\n", r->qualification, r->gpa,
		r->linear);
	fprintf(out, "  interruption 0x%x error 0x%x  idt-vectoring 0x%x error 0x%x\n",
		r->intr_info, r->intr_error, r->idt_info, r->idt_error);
	fprintf(out, "  instruction error %u  entry interruption 0x%x\n", r->insn_error,
		r->entry_info);
}

/* In the words of the APM. EXITINFO2 is kept where it is an address. */
static void print_svm_exit(const struct kiln_death *r, FILE *out)
{
	fprintf(out, "  exitinfo1 0x%llx  gpa 0x%llx\n", r->qualification, r->gpa);
	fprintf(out, "  exitintinfo 0x%x error 0x%x  eventinj 0x%x\n", r->idt_info, r->idt_error,
		r->entry_info);
}

static void print_exit(const struct death *death, FILE *out)
{
	const struct kiln_death *record = &death->record;
	char name[32];

	exit_name(death->vendor, record->exit_reason, name, sizeof(name));
	fprintf(out, "  exit %s 0x%x (%s)\n",
		death->vendor == KILN_VENDOR_AMD ? "code" : "reason", record->exit_reason, name);
	if (death->vendor == KILN_VENDOR_AMD)
		print_svm_exit(record, out);
	else
		print_vmx_exit(record, out);
}

static void print_registers(const struct kvm_regs *r, FILE *out)
{
	const struct {
		const char *name;
		uint64_t value;
	} registers[] = {
		{ "rax", r->rax }, { "rbx", r->rbx }, { "rcx", r->rcx }, { "rdx", r->rdx },
		{ "rsi", r->rsi }, { "rdi", r->rdi }, { "rbp", r->rbp }, { "rsp", r->rsp },
		{ "r8", r->r8 },   { "r9", r->r9 },   { "r10", r->r10 }, { "r11", r->r11 },
		{ "r12", r->r12 }, { "r13", r->r13 }, { "r14", r->r14 }, { "r15", r->r15 },
		{ "rip", r->rip }, { "flags", r->rflags },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(registers); i++)
		fprintf(out, "%s%-5s %016" PRIx64 "%s", i % 4 ? " " : "  ", registers[i].name,
			registers[i].value, i % 4 == 3 ? "\n" : "");
	fputc('\n', out);
}

static void print_segments(const struct kvm_sregs *s, FILE *out)
{
	const struct {
		const char *name;
		const struct kvm_segment *segment;
	} segments[] = {
		{ "cs", &s->cs }, { "ds", &s->ds }, { "es", &s->es },  { "fs", &s->fs },
		{ "gs", &s->gs }, { "ss", &s->ss }, { "tr", &s->tr }, { "ldt", &s->ldt },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(segments); i++) {
		const struct kvm_segment *g = segments[i].segment;

		fprintf(out, "  %-3s %04x base %016llx limit %08x type %x s%u dpl%u p%u l%u db%u g%u%s\n",
			segments[i].name, g->selector, g->base, g->limit, g->type, g->s, g->dpl,
			g->present, g->l, g->db, g->g, g->unusable ? " unusable" : "");
	}
}

static void print_system(const struct kvm_sregs *s, FILE *out)
{
	fprintf(out, "  cr0 %llx cr2 %llx cr3 %llx cr4 %llx cr8 %llx efer %llx apic %llx\n", s->cr0,
		s->cr2, s->cr3, s->cr4, s->cr8, s->efer, s->apic_base);
	fprintf(out, "  gdt %016llx+%04x idt %016llx+%04x\n", s->gdt.base, s->gdt.limit,
		s->idt.base, s->idt.limit);
}

static void print_code(const struct kiln_death *r, FILE *out)
{
	if (!r->insn_len)
		fprintf(out, "  bytes at rip: none, it is not mapped\n");
	else
		fprintf(out, "  bytes at rip:");
	for (unsigned int i = 0; i < r->insn_len && i < KILN_DEATH_INSN_LEN; i++)
		fprintf(out, " %02x%s", r->insn[i], i + 1 == r->insn_len ? "\n" : "");
}

void death_print(const struct death *death, FILE *out)
{
	const struct kiln_death *record = &death->record;

	fprintf(out, "kiln: vCPU %u died: %s\n", death->vcpu, record->cause);
	if (death->from_kiln)
		print_exit(death, out);
	print_registers(&record->regs, out);
	print_segments(&record->sregs, out);
	print_system(&record->sregs, out);
	print_code(record, out);
}
