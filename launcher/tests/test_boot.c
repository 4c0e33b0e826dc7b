// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kernel files: made here, then cut and damaged. Whatever a file says, loading
 * it is refused with a sentence or stays inside the guest; the sanitizers and
 * the gaps beside guest memory (memory.c) see to the latter.
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <stdlib.h>

#include "../boot.h"
#include "../error.h"
#include "tap.h"

#define RAM (32 * MIB)

static struct guest_memory memory;
static struct boot_state state;

/* Boots @size bytes as the kernel, with what @request has besides. */
static int boot_with(struct boot_request request, const void *bytes, size_t size)
{
	char path[256];
	int ret;

	snprintf(path, sizeof(path), "%s", test_file(bytes, size));
	request.kernel = path;
	request.append = request.append ? request.append : "";
	request.rsdp = BIOS_BASE;
	if (guest_memory_create(&memory, RAM))
		abort();
	error_set("no sentence");
	ret = boot_load(&memory, &request, &state);
	if (!ret)
		ret = boot_unpack(&memory, &request, &state);
	remove(path);
	return ret;
}

static int boot(const void *bytes, size_t size)
{
	return boot_with((struct boot_request){ 0 }, bytes, size);
}

/* ---- bzImage ---- */

#define SETUP_SECTS	2
#define PAYLOAD		4096
#define BZ_SIZE		((SETUP_SECTS + 1) * 512 + PAYLOAD)

static struct setup_header *make_bzimage(uint8_t *file)
{
	struct setup_header *hdr = (struct setup_header *)(file + 0x1f1);

	memset(file, 0, BZ_SIZE);
	memset(file + (SETUP_SECTS + 1) * 512, 0xcc, PAYLOAD);
	hdr->setup_sects = SETUP_SECTS;
	hdr->boot_flag = 0xaa55;
	hdr->header = 0x53726448;
	hdr->version = 0x020f;
	hdr->xloadflags = XLF_KERNEL_64;
	hdr->syssize = PAYLOAD / 16;
	hdr->init_size = 2 * MIB;
	hdr->pref_address = 16 * MIB;
	hdr->kernel_alignment = 2 * MIB;
	hdr->relocatable_kernel = 1;
	hdr->cmdline_size = 2047;
	hdr->initrd_addr_max = 0x7fffffff;
	return hdr;
}

static void a_bzimage_gets_its_zero_page(void)
{
	struct boot_request request = { .append = "console=ttyS0" };
	uint8_t file[BZ_SIZE];
	struct boot_params *params;

	make_bzimage(file);
	request.initrd = __FILE__;
	CHECK(!boot_with(request, file, sizeof(file)));
	params = guest_ptr(&memory, state.rsi, sizeof(*params));
	CHECK(state.long_mode && state.rip == 16 * MIB + 0x200 && state.cr3);
	CHECK(*(uint8_t *)guest_ptr(&memory, state.rip, 1) == 0xcc);
	CHECK(params->hdr.type_of_loader == 0xff && params->acpi_rsdp_addr == BIOS_BASE);
	CHECK(params->e820_entries == 4 && params->e820_table[2].addr == MIB);
	CHECK(!strcmp(guest_ptr(&memory, params->hdr.cmd_line_ptr, 14), "console=ttyS0"));
	CHECK(params->hdr.ramdisk_image + align_up(params->hdr.ramdisk_size, 4096) == RAM);
	CHECK(!memcmp(guest_ptr(&memory, params->hdr.ramdisk_image, 6), "// SPD", 6));
	guest_memory_destroy(&memory);
}

static void a_bzimage_moves_down_when_memory_is_small(void)
{
	uint8_t file[BZ_SIZE];

	make_bzimage(file)->pref_address = 31 * MIB;
	CHECK(!boot(file, sizeof(file)));
	CHECK(state.rip == 2 * MIB + 0x200);
	guest_memory_destroy(&memory);
	make_bzimage(file)->init_size = 64 * MIB;
	CHECK(boot(file, sizeof(file)));
	CHECK_ERROR("more --memory");
	guest_memory_destroy(&memory);
}

static void the_page_tables_map_the_kernel(void)
{
	uint8_t file[BZ_SIZE];
	uint64_t *pml4, *pdpt, *pd;

	make_bzimage(file);
	CHECK(!boot(file, sizeof(file)));
	pml4 = guest_ptr(&memory, state.cr3, 4096);
	CHECK(pml4[0] & 1);
	pdpt = guest_ptr(&memory, pml4[0] & ~0xfffULL, 4096);
	CHECK(pdpt[0] & 1);
	pd = guest_ptr(&memory, pdpt[0] & ~0xfffULL, 4096);
	for (unsigned int i = 0; i < 9; i++)
		CHECK(pd[i] == (i * 2 * MIB | 0x83));
	guest_memory_destroy(&memory);
}

static void damaged_bzimages_are_refused(void)
{
	uint8_t file[BZ_SIZE];

	make_bzimage(file)->xloadflags = 0;
	CHECK(boot(file, sizeof(file)));
	CHECK_ERROR("64-bit entry");
	guest_memory_destroy(&memory);
	make_bzimage(file)->version = 0x020b;
	CHECK(boot(file, sizeof(file)));
	CHECK_ERROR("64-bit entry");
	guest_memory_destroy(&memory);
	make_bzimage(file)->syssize = 0;
	CHECK(boot(file, sizeof(file)));
	CHECK_ERROR("no content");
	guest_memory_destroy(&memory);
	make_bzimage(file)->syssize = 0xffffffff;
	CHECK(boot(file, sizeof(file)));
	CHECK_ERROR("truncated");
	guest_memory_destroy(&memory);
}

static void hostile_bzimage_addresses_are_refused(void)
{
	static const uint64_t addresses[] = { 0, 0x1000, BOOT_INFO, 0xf0000, MIB - 1,
					      0xffffffff, 4 * GIB, UINT64_MAX, UINT64_MAX - MIB };
	uint8_t file[BZ_SIZE];
	struct setup_header *hdr;

	for (unsigned int i = 0; i < ARRAY_SIZE(addresses); i++) {
		hdr = make_bzimage(file);
		hdr->relocatable_kernel = 0;
		hdr->pref_address = addresses[i];
		CHECK(boot(file, sizeof(file)));
		CHECK_ERROR(";");
		guest_memory_destroy(&memory);
	}
	hdr = make_bzimage(file);
	hdr->pref_address = UINT64_MAX;
	hdr->kernel_alignment = 3;
	CHECK(boot(file, sizeof(file)));
	CHECK_ERROR("alignment");
	guest_memory_destroy(&memory);
}

static void the_command_line_has_the_kernels_limit(void)
{
	struct boot_request request = { .append = "0123456789" };
	uint8_t file[BZ_SIZE];

	make_bzimage(file)->cmdline_size = 9;
	CHECK(boot_with(request, file, sizeof(file)));
	CHECK_ERROR("--append");
	guest_memory_destroy(&memory);
	make_bzimage(file)->cmdline_size = 10;
	CHECK(!boot_with(request, file, sizeof(file)));
	guest_memory_destroy(&memory);
}

static void an_initrd_that_does_not_fit_is_refused(void)
{
	struct boot_request request = { .initrd = __FILE__ };
	uint8_t file[BZ_SIZE];
	struct setup_header *hdr = make_bzimage(file);

	hdr->initrd_addr_max = 0x100fff;	/* one page above 1 MiB */
	CHECK(boot_with(request, file, sizeof(file)));
	CHECK_ERROR(__FILE__);
	CHECK_ERROR("does not fit");
	guest_memory_destroy(&memory);
	hdr->init_size = 0xffffffff;
	CHECK(boot_with(request, file, sizeof(file)));
	guest_memory_destroy(&memory);
}

/* ---- ELF: PVH and Multiboot ---- */

struct elf_file {
	union {
		struct {
			Elf64_Ehdr ehdr;
			Elf64_Phdr phdr[2];
		} h64;
		struct {
			Elf32_Ehdr ehdr;
			Elf32_Phdr phdr[2];
		} h32;
		uint8_t headers[0x200];
	};
	uint32_t multiboot[4];
	Elf64_Nhdr note;
	char owner[4];
	uint32_t desc[2];
	uint8_t code[0x200];
};

static void make_pvh(struct elf_file *f)
{
	memset(f, 0, sizeof(*f));
	memcpy(f->h64.ehdr.e_ident, ELFMAG, SELFMAG);
	f->h64.ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	f->h64.ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
	f->h64.ehdr.e_machine = EM_X86_64;
	f->h64.ehdr.e_phoff = offsetof(struct elf_file, h64.phdr);
	f->h64.ehdr.e_phentsize = sizeof(Elf64_Phdr);
	f->h64.ehdr.e_phnum = 2;
	f->h64.phdr[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_paddr = MIB, .p_memsz = 0x1000,
				       .p_offset = offsetof(struct elf_file, code),
				       .p_filesz = sizeof(f->code) };
	f->h64.phdr[1] = (Elf64_Phdr){ .p_type = PT_NOTE,
				       .p_offset = offsetof(struct elf_file, note),
				       .p_filesz = sizeof(f->note) + 4 + 8 };
	f->note = (Elf64_Nhdr){ .n_namesz = 4, .n_descsz = 8, .n_type = 18 };
	memcpy(f->owner, "Xen", 4);
	f->desc[0] = MIB + 0x10;
	memset(f->code, 0xcc, sizeof(f->code));
}

static void make_multiboot(struct elf_file *f)
{
	memset(f, 0, sizeof(*f));
	memcpy(f->h32.ehdr.e_ident, ELFMAG, SELFMAG);
	f->h32.ehdr.e_ident[EI_CLASS] = ELFCLASS32;
	f->h32.ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
	f->h32.ehdr.e_machine = EM_386;
	f->h32.ehdr.e_entry = MIB + 0x20;
	f->h32.ehdr.e_phoff = offsetof(struct elf_file, h32.phdr);
	f->h32.ehdr.e_phentsize = sizeof(Elf32_Phdr);
	f->h32.ehdr.e_phnum = 1;
	f->h32.phdr[0] = (Elf32_Phdr){ .p_type = PT_LOAD, .p_paddr = MIB, .p_memsz = 0x1000,
				       .p_offset = offsetof(struct elf_file, code),
				       .p_filesz = sizeof(f->code) };
	f->multiboot[0] = 0x1badb002;
	f->multiboot[1] = 3;
	f->multiboot[2] = -(0x1badb002u + 3);
	memset(f->code, 0xcc, sizeof(f->code));
}

static void a_pvh_kernel_gets_its_start_info(void)
{
	struct boot_request request = { .append = "a b", .initrd = __FILE__ };
	struct elf_file f;
	uint64_t *info;

	make_pvh(&f);
	CHECK(!boot_with(request, &f, sizeof(f)));
	CHECK(!strcmp(state.format, "ELF with a PVH note") && !state.long_mode);
	CHECK(state.rip == MIB + 0x10 && state.rbx == BOOT_INFO);
	info = guest_ptr(&memory, state.rbx, 56);
	CHECK(((uint32_t *)info)[0] == 0x336ec578 && ((uint32_t *)info)[1] == 1);
	CHECK(((uint32_t *)info)[3] == 1);				/* one module */
	CHECK(!strcmp(guest_ptr(&memory, info[3], 4), "a b"));
	CHECK(info[4] == BIOS_BASE);
	CHECK(info[5] == BOOT_LISTS && ((uint32_t *)info)[12] == 4);	/* memory map */
	CHECK(!memcmp(guest_ptr(&memory, *(uint64_t *)guest_ptr(&memory, info[2], 8), 6), "// SPD",
		      6));
	guest_memory_destroy(&memory);
}

static void a_multiboot_kernel_gets_its_info(void)
{
	struct boot_request request = { .append = "x=1", .nr_modules = 1 };
	struct elf_file f;
	uint32_t *info, *module;

	request.modules[0] = (struct boot_module){ __FILE__, "arg" };
	make_multiboot(&f);
	CHECK(!boot_with(request, &f, sizeof(f)));
	CHECK(!strcmp(state.format, "Multiboot 1 ELF") && state.rip == MIB + 0x20);
	CHECK(state.rax == 0x2badb002 && state.rbx == BOOT_INFO);
	info = guest_ptr(&memory, state.rbx, 88);
	CHECK((info[0] & 0x4d) == 0x4d);
	CHECK(info[1] == 639 && info[2] == RAM / KIB - 1024);
	CHECK(strstr(guest_ptr(&memory, info[4], 1), " x=1"));
	CHECK(info[5] == 1);
	module = guest_ptr(&memory, info[6], 16);
	CHECK(!memcmp(guest_ptr(&memory, module[0], 6), "// SPD", 6));
	CHECK(!strcmp(guest_ptr(&memory, module[2], 1), __FILE__ " arg"));
	guest_memory_destroy(&memory);
}

static void both_headers_mean_pvh(void)
{
	struct elf_file f;

	make_pvh(&f);
	f.multiboot[0] = 0x1badb002;
	f.multiboot[2] = -0x1badb002u;
	CHECK(!boot(&f, sizeof(f)));
	CHECK(!strcmp(state.format, "ELF with a PVH note"));
	guest_memory_destroy(&memory);
}

static void modules_and_initrd_go_where_they_belong(void)
{
	struct boot_request modules = { .nr_modules = 1 }, initrd = { .initrd = __FILE__ };
	uint8_t bz[BZ_SIZE];
	struct elf_file f;

	modules.modules[0] = (struct boot_module){ __FILE__, "" };
	make_bzimage(bz);
	CHECK(boot_with(modules, bz, sizeof(bz)));
	CHECK_ERROR("only Multiboot kernels take modules");
	guest_memory_destroy(&memory);
	make_pvh(&f);
	CHECK(boot_with(modules, &f, sizeof(f)));
	CHECK_ERROR("only Multiboot kernels take modules");
	guest_memory_destroy(&memory);
	make_multiboot(&f);
	CHECK(boot_with(initrd, &f, sizeof(f)));
	CHECK_ERROR("use --module");
	guest_memory_destroy(&memory);
}

static void unknown_multiboot_requirements_are_refused(void)
{
	struct elf_file f;

	make_multiboot(&f);
	f.multiboot[1] = 4;
	f.multiboot[2] = -(0x1badb002u + 4);
	CHECK(boot(&f, sizeof(f)));
	CHECK_ERROR("0x4");
	guest_memory_destroy(&memory);
}

static void segments_stay_in_memory_and_apart(void)
{
	static const uint64_t addresses[] = { 0, BOOT_GDT, BOOT_INFO, EBDA_BASE, BIOS_BASE, RAM,
					      RAM - 1, LOW_RAM_MAX, UINT64_MAX, UINT64_MAX - 0xfff };
	struct elf_file f;

	for (unsigned int i = 0; i < ARRAY_SIZE(addresses); i++) {
		make_pvh(&f);
		f.h64.phdr[0].p_paddr = addresses[i];
		CHECK(boot(&f, sizeof(f)));
		CHECK_ERROR("/file");
		guest_memory_destroy(&memory);
	}
	make_pvh(&f);
	f.h64.phdr[0].p_memsz = UINT64_MAX;
	CHECK(boot(&f, sizeof(f)));
	guest_memory_destroy(&memory);
	make_pvh(&f);
	f.h64.phdr[0].p_filesz = 0x1001;
	CHECK(boot(&f, sizeof(f)));
	CHECK_ERROR("larger in the file");
	guest_memory_destroy(&memory);
	make_pvh(&f);
	f.h64.phdr[0].p_offset = UINT64_MAX - 8;
	CHECK(boot(&f, sizeof(f)));
	CHECK_ERROR("truncated");
	guest_memory_destroy(&memory);
}

static void entry_points_lie_in_what_was_loaded(void)
{
	struct elf_file f;

	make_pvh(&f);
	f.desc[0] = 2 * MIB;
	CHECK(boot(&f, sizeof(f)));
	CHECK_ERROR("entry point");
	guest_memory_destroy(&memory);
	make_multiboot(&f);
	f.h32.ehdr.e_entry = MIB - 1;
	CHECK(boot(&f, sizeof(f)));
	CHECK_ERROR("entry point");
	guest_memory_destroy(&memory);
}

static void hostile_notes_are_refused(void)
{
	struct elf_file f;

	make_pvh(&f);
	f.note.n_namesz = 0xfffffffe;
	CHECK(boot(&f, sizeof(f)));
	CHECK_ERROR("note");
	guest_memory_destroy(&memory);
	make_pvh(&f);
	f.note.n_descsz = 0xffffffff;
	CHECK(boot(&f, sizeof(f)));
	guest_memory_destroy(&memory);
	make_pvh(&f);
	f.note.n_descsz = 5;
	CHECK(boot(&f, sizeof(f)));
	CHECK_ERROR("5 bytes");
	guest_memory_destroy(&memory);
	make_pvh(&f);
	f.h64.phdr[1].p_filesz = UINT64_MAX;
	CHECK(boot(&f, sizeof(f)));
	guest_memory_destroy(&memory);
}

static void other_elf_files_are_refused(void)
{
	struct elf_file f;

	make_pvh(&f);
	f.note.n_type = 17;
	CHECK(boot(&f, sizeof(f)));
	CHECK_ERROR("no known kernel format");
	guest_memory_destroy(&memory);
	make_pvh(&f);
	f.h64.ehdr.e_machine = EM_AARCH64;
	CHECK(boot(&f, sizeof(f)));
	CHECK_ERROR("another machine");
	guest_memory_destroy(&memory);
	make_pvh(&f);
	f.h64.ehdr.e_phnum = 0xffff;
	CHECK(boot(&f, sizeof(f)));
	CHECK_ERROR("program headers");
	guest_memory_destroy(&memory);
	make_pvh(&f);
	f.h64.ehdr.e_phoff = UINT64_MAX - 16;
	CHECK(boot(&f, sizeof(f)));
	guest_memory_destroy(&memory);
}

static void what_is_no_kernel_is_named(void)
{
	struct boot_request request = { .kernel = "/nonexistent/kernel", .append = "" };

	CHECK(!guest_memory_create(&memory, RAM));
	CHECK(boot_load(&memory, &request, &state));
	CHECK_ERROR("/nonexistent/kernel: cannot open");
	request.kernel = "/";
	CHECK(boot_load(&memory, &request, &state));
	CHECK_ERROR("not a regular file");
	request.kernel = "/dev/zero";
	CHECK(boot_load(&memory, &request, &state));
	CHECK_ERROR("not a regular file");
	guest_memory_destroy(&memory);
	CHECK(boot("", 0));
	CHECK_ERROR("empty");
	guest_memory_destroy(&memory);
	CHECK(boot("#!/bin/sh\n", 10));
	CHECK_ERROR("no known kernel format");
	guest_memory_destroy(&memory);
}

/* Every length of each format: a file may end anywhere. */
static void files_cut_anywhere_are_refused(void)
{
	uint8_t bz[BZ_SIZE];
	struct elf_file pvh, multiboot;

	make_bzimage(bz);
	make_pvh(&pvh);
	make_multiboot(&multiboot);
	for (size_t size = 0; size < sizeof(bz); size += size < 0x300 ? 1 : 61) {
		CHECK(boot(bz, size));
		guest_memory_destroy(&memory);
	}
	for (size_t size = 0; size < sizeof(pvh); size++) {
		CHECK(boot(&pvh, size));
		guest_memory_destroy(&memory);
		CHECK(boot(&multiboot, size));
		guest_memory_destroy(&memory);
	}
}

/* Random damage: refused or booted, never more. The seed is fixed, so a failure comes again. */
static void damaged_files_do_no_damage(void)
{
	uint8_t bz[BZ_SIZE];
	struct elf_file f;
	uint32_t seed = 1;

	for (unsigned int round = 0; round < 1500; round++) {
		uint8_t *file = round % 3 ? (uint8_t *)&f : bz;
		size_t header = round % 3 ? 0x224 : 0x268, size = round % 3 ? sizeof(f) : sizeof(bz);

		make_bzimage(bz);
		if (round % 3 == 1)
			make_pvh(&f);
		else
			make_multiboot(&f);
		for (unsigned int i = 0; i < 4; i++) {
			seed = seed * 1664525 + 1013904223;
			file[(seed >> 8) % header] = (uint8_t)(seed >> 24);
		}
		if (!boot(file, size))
			CHECK(state.rip);
		else
			CHECK(strcmp(error_text(), "no sentence"));
		guest_memory_destroy(&memory);
	}
}

static const struct test tests[] = {
	TEST(a_bzimage_gets_its_zero_page),
	TEST(a_bzimage_moves_down_when_memory_is_small),
	TEST(the_page_tables_map_the_kernel),
	TEST(damaged_bzimages_are_refused),
	TEST(hostile_bzimage_addresses_are_refused),
	TEST(the_command_line_has_the_kernels_limit),
	TEST(an_initrd_that_does_not_fit_is_refused),
	TEST(a_pvh_kernel_gets_its_start_info),
	TEST(a_multiboot_kernel_gets_its_info),
	TEST(both_headers_mean_pvh),
	TEST(modules_and_initrd_go_where_they_belong),
	TEST(unknown_multiboot_requirements_are_refused),
	TEST(segments_stay_in_memory_and_apart),
	TEST(entry_points_lie_in_what_was_loaded),
	TEST(hostile_notes_are_refused),
	TEST(other_elf_files_are_refused),
	TEST(what_is_no_kernel_is_named),
	TEST(files_cut_anywhere_are_refused),
	TEST(damaged_files_do_no_damage),
	TESTS_END
};

const struct suite suite_boot = { "boot", tests };
