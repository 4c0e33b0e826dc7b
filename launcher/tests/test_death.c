// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdlib.h>

#include "../death.h"
#include "../exit_name.h"
#include "tap.h"

static struct guest_memory memory;

static void set_up(void)
{
	if (guest_memory_create(&memory, 4 * MIB))
		abort();
	memcpy(memory.base + 0x5ffc, "\x0f\x0b\x90\xf4\xaa\xbb", 6);
}

static void put64(uint64_t gpa, uint64_t value)
{
	memcpy(memory.base + gpa, &value, sizeof(value));
}

static void code_is_read_without_paging(void)
{
	struct kvm_sregs sregs = { 0 };
	uint8_t bytes[15];

	set_up();
	CHECK(death_read_code(&memory, &sregs, 0x5ffc, bytes, 15) == 15);
	CHECK(!memcmp(bytes, "\x0f\x0b\x90\xf4\xaa\xbb", 6));
	CHECK(death_read_code(&memory, &sregs, 4 * MIB - 3, bytes, 15) == 3);
	CHECK(death_read_code(&memory, &sregs, 8 * MIB, bytes, 15) == 0);
	guest_memory_destroy(&memory);
}

static void code_is_read_through_four_levels(void)
{
	struct kvm_sregs sregs = { .cr0 = 1u << 31, .cr3 = 0x1000, .cr4 = 1 << 5, .efer = 1 << 10 };
	uint8_t bytes[15];
	uint64_t linear = 0xffffffff80000000ULL;

	set_up();
	put64(0x1000 + 511 * 8, 0x2003);
	put64(0x2000 + 510 * 8, 0x3003);
	put64(0x3000, 0x4003);
	put64(0x4000, 0x5003);			/* first page, second is not mapped */
	CHECK(death_read_code(&memory, &sregs, linear + 0xffc, bytes, 15) == 4);
	CHECK(!memcmp(bytes, "\x0f\x0b\x90\xf4", 4));
	put64(0x3000, 0x83);			/* 2 MiB at 0 */
	CHECK(death_read_code(&memory, &sregs, linear + 0x5ffc, bytes, 15) == 15);
	CHECK(death_read_code(&memory, &sregs, 0x5ffc, bytes, 15) == 0);
	guest_memory_destroy(&memory);
}

static void code_is_read_through_32_bit_tables(void)
{
	struct kvm_sregs sregs = { .cr0 = 1u << 31, .cr3 = 0x1000, .cr4 = 1 << 4 };
	uint8_t bytes[15];
	uint32_t entry = 0x83;			/* 4 MiB at 0 */

	set_up();
	memcpy(memory.base + 0x1000 + 768 * 4, &entry, sizeof(entry));
	CHECK(death_read_code(&memory, &sregs, 0xc0005ffc, bytes, 6) == 6);
	CHECK(bytes[0] == 0x0f);
	guest_memory_destroy(&memory);
}

/* A guest may point its tables at anything. */
static void hostile_tables_lead_nowhere(void)
{
	static const uint64_t roots[] = { 0, 0xfffff000, 4 * MIB, UINT64_MAX, 1ULL << 51, 4 * GIB };
	struct kvm_sregs sregs = { .cr0 = 1u << 31, .cr4 = 1 << 5, .efer = 1 << 10 };
	uint8_t bytes[15];

	set_up();
	memset(memory.base, 0xff, 0x1000);
	for (unsigned int i = 0; i < ARRAY_SIZE(roots); i++) {
		sregs.cr3 = roots[i];
		CHECK(death_read_code(&memory, &sregs, UINT64_MAX, bytes, 15) == 0);
	}
	guest_memory_destroy(&memory);
}

static void every_ending_of_a_vcpu_has_a_sentence(void)
{
	static struct kvm_run run;
	struct kiln_death record = { 0 };

	run.exit_reason = KVM_EXIT_SHUTDOWN;
	death_describe(&record, &run, 0);
	CHECK(record.kind == KILN_DEATH_TRIPLE_FAULT && strstr(record.cause, "triple fault"));
	run.exit_reason = KVM_EXIT_FAIL_ENTRY;
	run.fail_entry.hardware_entry_failure_reason = 0x80000021;
	death_describe(&record, &run, 0);
	CHECK(record.kind == KILN_DEATH_FAIL_ENTRY && strstr(record.cause, "0x80000021"));
	CHECK(record.exit_reason == 0x80000021);
	run.exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run.internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	death_describe(&record, &run, 0);
	CHECK(record.kind == KILN_DEATH_EMULATION && strstr(record.cause, "emulated"));
	run.internal.suberror = 99;
	death_describe(&record, &run, 0);
	CHECK(record.kind == KILN_DEATH_UNEXPECTED && strstr(record.cause, "99"));
	run.exit_reason = 12345;
	death_describe(&record, &run, 0);
	CHECK(strstr(record.cause, "12345"));
	death_describe(&record, &run, EFAULT);
	CHECK(record.kind == KILN_DEATH_MEMORY && strstr(record.cause, "Bad address"));
}

static void the_report_has_registers_and_bytes(void)
{
	static struct death death;
	char text[8192] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	death.vcpu = 3;
	death.from_kiln = 1;
	snprintf(death.record.cause, sizeof(death.record.cause), "it fell over");
	death.vendor = KILN_VENDOR_INTEL;
	death.record.exit_reason = 48;
	death.record.qualification = 0xabc;
	death.record.regs.rip = 0x1234567;
	death.record.insn_len = 2;
	death.record.insn[0] = 0x0f;
	death.record.insn[1] = 0x0b;
	death_print(&death, out);
	fclose(out);
	CHECK(strstr(text, "kiln: vCPU 3 died: it fell over\n"));
	CHECK(strstr(text, "exit reason 0x30 (EPT_VIOLATION)\n"));
	CHECK(strstr(text, "qualification 0xabc"));
	CHECK(strstr(text, "rip   0000000001234567"));
	CHECK(strstr(text, "bytes at rip: 0f 0b\n"));
	death.record.insn_len = 255;
	out = fmemopen(text, sizeof(text), "w");
	death_print(&death, out);
	fclose(out);
}

static void the_report_speaks_of_svm_on_amd(void)
{
	static struct death death;
	char text[8192] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	death.from_kiln = 1;
	death.vendor = KILN_VENDOR_AMD;
	death.record.exit_reason = 0x400;
	death.record.qualification = 0x100000006;
	death.record.gpa = 0xfee00000;
	death.record.idt_info = 0x80000b0e;
	death_print(&death, out);
	fclose(out);
	CHECK(strstr(text, "exit code 0x400 (NPF)\n"));
	CHECK(strstr(text, "exitinfo1 0x100000006  gpa 0xfee00000\n"));
	CHECK(strstr(text, "exitintinfo 0x80000b0e error 0x0  eventinj 0x0\n"));
	CHECK(!strstr(text, "qualification"));
}

static void exits_have_the_names_of_their_manual(void)
{
	static const struct {
		uint32_t vendor, reason;
		const char *name;
	} exits[] = {
		{ KILN_VENDOR_INTEL, 2, "TRIPLE_FAULT" },
		{ KILN_VENDOR_INTEL, 0x80000021, "INVALID_STATE" },
		{ KILN_VENDOR_INTEL, 0xffff, "unknown" },
		{ KILN_VENDOR_AMD, 0x000, "CR0_READ" },
		{ KILN_VENDOR_AMD, 0x014, "CR4_WRITE" },
		{ KILN_VENDOR_AMD, 0x027, "DR7_READ" },
		{ KILN_VENDOR_AMD, 0x04e, "EXCP14" },
		{ KILN_VENDOR_AMD, 0x05f, "EXCP31" },
		{ KILN_VENDOR_AMD, 0x060, "INTR" },
		{ KILN_VENDOR_AMD, 0x07f, "SHUTDOWN" },
		{ KILN_VENDOR_AMD, 0x08f, "EFER_WRITE_TRAP" },
		{ KILN_VENDOR_AMD, 0x098, "CR8_WRITE_TRAP" },
		{ KILN_VENDOR_AMD, 0x0a6, "IDLE_HLT" },
		{ KILN_VENDOR_AMD, 0x3ff, "unknown" },
		{ KILN_VENDOR_AMD, 0x400, "NPF" },
		{ KILN_VENDOR_AMD, 0xffffffff, "INVALID" },
	};
	char name[32], tiny[4];

	for (unsigned int i = 0; i < ARRAY_SIZE(exits); i++) {
		exit_name(exits[i].vendor, exits[i].reason, name, sizeof(name));
		CHECK(!strcmp(name, exits[i].name));
	}
	exit_name(KILN_VENDOR_AMD, 0x7f, tiny, sizeof(tiny));
	CHECK(!strcmp(tiny, "SHU"));
}

static const struct test tests[] = {
	TEST(code_is_read_without_paging),
	TEST(code_is_read_through_four_levels),
	TEST(code_is_read_through_32_bit_tables),
	TEST(hostile_tables_lead_nowhere),
	TEST(every_ending_of_a_vcpu_has_a_sentence),
	TEST(the_report_has_registers_and_bytes),
	TEST(the_report_speaks_of_svm_on_amd),
	TEST(exits_have_the_names_of_their_manual),
	TESTS_END
};

const struct suite suite_death = { "death", tests };
