// SPDX-License-Identifier: GPL-2.0-only
/*
 * bzImages whose kernel is unpacked here: small ones, packed by the same
 * libraries, then damaged. What cannot be unpacked is booted as ever, by the
 * decompressor at 0x200. The kernel's code is a few words that have
 * relocations, so that they show where the kernel runs.
 */
#include <asm/bootparam.h>
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <lzma.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "../boot.h"
#include "../error.h"
#include "../kernel_cache.h"
#include "tap.h"

#define RAM		(64 * MIB)
#define LINKED		(16 * MIB)
#define ROOM		(4 * MIB)
#define ALIGN		(2 * MIB)
#define ENTRY		0x40
#define SETUP		(3 * 512)
#define STUB		0x400	/* the decompressor, before its payload */
#define FILE_MAX	(64 * KIB)
#define VIRTUAL		0xffffffff81000000ULL

#define AT64		0x10
#define AT_INVERSE	0x20
#define AT32		0x29	/* not aligned, as some are */
#define RELOCATION(at)	((int32_t)(VIRTUAL + (at)))

struct code {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr;
	uint8_t text[256];
	int32_t relocations[16];
};

/* A bzImage in the making. */
struct file {
	struct code code;
	uint64_t code_size;
	uint8_t bytes[FILE_MAX];
	uint64_t size;
	struct setup_header *hdr;
	uint8_t *payload;
};

static struct file file;
static struct guest_memory memory;
static struct boot_state state;
static struct boot_request request;

/* ---- the kernel ---- */

static void put32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t get64(const uint8_t *at)
{
	return get32(at) | (uint64_t)get32(at + 4) << 32;
}

static void set_relocations(const int32_t *table, uint64_t count)
{
	memcpy(file.code.relocations, table, count * sizeof(*table));
	file.code_size = offsetof(struct code, relocations) + count * sizeof(*table);
}

static void make_code(void)
{
	static const int32_t table[] = { 0, RELOCATION(AT64), 0, RELOCATION(AT_INVERSE), 0,
					 RELOCATION(AT32) };
	struct code *code = &file.code;

	memset(&file, 0, sizeof(file));
	memcpy(code->ehdr.e_ident, ELFMAG, SELFMAG);
	code->ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	code->ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
	code->ehdr.e_machine = EM_X86_64;
	code->ehdr.e_entry = LINKED + ENTRY;
	code->ehdr.e_phoff = offsetof(struct code, phdr);
	code->ehdr.e_phnum = 1;
	code->ehdr.e_phentsize = sizeof(code->phdr);
	code->phdr = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = offsetof(struct code, text),
				   .p_vaddr = VIRTUAL, .p_paddr = LINKED,
				   .p_filesz = sizeof(code->text), .p_memsz = 2 * MIB,
				   .p_align = 2 * MIB };
	put32(code->text + AT64, (uint32_t)VIRTUAL);
	put32(code->text + AT64 + 4, VIRTUAL >> 32);
	put32(code->text + AT_INVERSE, 0x1000);
	put32(code->text + AT32, (uint32_t)VIRTUAL);
	set_relocations(table, ARRAY_SIZE(table));
}

/* ---- packing ---- */

static uint64_t pack_xz(const void *from, uint64_t size, uint8_t *to, uint64_t room)
{
	lzma_options_lzma lzma;
	lzma_filter filters[] = { { LZMA_FILTER_X86, NULL }, { LZMA_FILTER_LZMA2, &lzma },
				  { LZMA_VLI_UNKNOWN, NULL } };
	size_t used = 0;

	if (lzma_lzma_preset(&lzma, 6) ||
	    lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, from, size, to, &used, room))
		abort();
	return used;
}

static uint64_t pack_lzma(const void *from, uint64_t size, uint8_t *to, uint64_t room)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_options_lzma lzma;

	if (lzma_lzma_preset(&lzma, 6) || lzma_alone_encoder(&stream, &lzma))
		abort();
	stream.next_in = from;
	stream.avail_in = size;
	stream.next_out = to;
	stream.avail_out = room;
	if (lzma_code(&stream, LZMA_FINISH) != LZMA_STREAM_END)
		abort();
	lzma_end(&stream);
	return stream.total_out;
}

static uint64_t pack_gzip(const void *from, uint64_t size, uint8_t *to, uint64_t room)
{
	z_stream stream = { .next_in = (uint8_t *)(uintptr_t)from, .avail_in = (uInt)size,
			    .next_out = to, .avail_out = (uInt)room };

	if (deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) ||
	    deflate(&stream, Z_FINISH) != Z_STREAM_END)
		abort();
	deflateEnd(&stream);
	return stream.total_out;
}

static uint64_t pack_zstd(const void *from, uint64_t size, uint8_t *to, uint64_t room)
{
	return ZSTD_compress(to, room, from, size, 3);
}

typedef uint64_t (*packer)(const void *from, uint64_t size, uint8_t *to, uint64_t room);

/* The bzImage of @size bytes packed, with their size behind them, which gzip has already. */
static void pack_bytes(packer pack, const void *bytes, uint64_t size)
{
	struct setup_header *hdr = (struct setup_header *)(file.bytes + 0x1f1);
	uint64_t packed;

	file.hdr = hdr;
	file.payload = file.bytes + SETUP + STUB;
	memset(file.bytes, 0, sizeof(file.bytes));
	memset(file.bytes + SETUP, 0xcc, STUB);
	packed = pack(bytes, size, file.payload, FILE_MAX - SETUP - STUB - 64);
	if (pack != pack_gzip) {
		put32(file.payload + packed, (uint32_t)size);
		packed += 4;
	}
	hdr->setup_sects = 2;
	hdr->boot_flag = 0xaa55;
	hdr->header = 0x53726448;
	hdr->version = 0x020f;
	hdr->xloadflags = XLF_KERNEL_64;
	hdr->syssize = (uint32_t)(STUB + packed + 15) / 16;
	hdr->payload_offset = STUB;
	hdr->payload_length = (uint32_t)packed;
	hdr->init_size = ROOM;
	hdr->pref_address = LINKED;
	hdr->kernel_alignment = ALIGN;
	hdr->relocatable_kernel = 1;
	hdr->cmdline_size = 2047;
	hdr->initrd_addr_max = 0x7fffffff;
	file.size = SETUP + (uint64_t)hdr->syssize * 16;
}

static void pack(packer packer)
{
	pack_bytes(packer, &file.code, file.code_size);
}

static void make_kernel(void)
{
	make_code();
	pack(pack_xz);
}

/* ---- booting ---- */

static int boot_file(const char *path, const char *append)
{
	guest_memory_destroy(&memory);
	request.kernel = path;
	request.append = append;
	if (guest_memory_create(&memory, RAM))
		abort();
	return boot_load(&memory, &request, &state) || boot_unpack(&memory, &request, &state)
	       ? -1 : 0;
}

static int boot(const char *append)
{
	char path[256];
	int ret;

	snprintf(path, sizeof(path), "%s", test_file(file.bytes, file.size));
	ret = boot_file(path, append);
	remove(path);
	return ret;
}

static int boot_in_memory(const char *append)
{
	request = (struct boot_request){ .unpack.where = UNPACK_MEMORY };
	return boot(append);
}

static const uint8_t *text(void)
{
	return guest_ptr(&memory, state.rip - ENTRY, sizeof(file.code.text));
}

static uint64_t delta(void)
{
	return get64(text() + AT64) - VIRTUAL;
}

static const struct boot_params *params(void)
{
	return guest_ptr(&memory, BOOT_INFO, sizeof(struct boot_params));
}

static bool unpacked_where_it_was_linked(void)
{
	return state.rip == LINKED + ENTRY && state.long_mode && state.rsi == BOOT_INFO &&
	       !memcmp(text(), file.code.text, sizeof(file.code.text)) &&
	       !(params()->hdr.loadflags & KASLR_FLAG);
}

/* What booted before there was anything of this. */
static bool packed(void)
{
	return state.rip == LINKED + 0x200 && state.long_mode && state.rsi == BOOT_INFO &&
	       *(const uint8_t *)guest_ptr(&memory, state.rip, 1) == 0xcc &&
	       !(params()->hdr.loadflags & KASLR_FLAG);
}

static void each_format_is_unpacked(void)
{
	static const packer packers[] = { pack_xz, pack_lzma, pack_gzip, pack_zstd };

	for (unsigned int i = 0; i < ARRAY_SIZE(packers); i++) {
		make_code();
		pack(packers[i]);
		CHECK(!boot_in_memory("nokaslr"));
		CHECK(unpacked_where_it_was_linked());
	}
}

static void unpack_guest_leaves_it_to_the_guest(void)
{
	make_kernel();
	request = (struct boot_request){ 0 };
	CHECK(!boot(""));
	CHECK(packed());
}

static bool is_placed_well(void)
{
	uint64_t base = state.rip - ENTRY;

	return !(base % ALIGN) && base + ROOM <= RAM && !(delta() % ALIGN) &&
	       delta() + LINKED + ROOM <= GIB && params()->hdr.loadflags & KASLR_FLAG;
}

static void addresses_are_random_and_independent(void)
{
	uint64_t bases = 0, deltas = 0, first = 0;

	make_kernel();
	for (unsigned int i = 0; i < 12; i++) {
		CHECK(!boot_in_memory("quiet"));
		CHECK(is_placed_well());
		first = i ? first : delta();
		bases |= 1ULL << (state.rip / ALIGN);
		deltas += delta() != first;
	}
	/* That all 12 are the same has a probability of 1 in 24^11, and of 1 in 500^11. */
	CHECK(bases & (bases - 1));
	CHECK(deltas);
}

static void each_relocation_moves_as_its_list_says(void)
{
	static const int32_t newer[] = { 0, RELOCATION(AT64), 0, RELOCATION(AT32) };

	make_kernel();
	do {
		CHECK(!boot_in_memory(""));
	} while (!delta());
	CHECK(get32(text() + AT32) == (uint32_t)(VIRTUAL + delta()));
	CHECK(get32(text() + AT_INVERSE) == (uint32_t)(0x1000 - delta()));
	set_relocations(newer, ARRAY_SIZE(newer));
	pack(pack_xz);
	do {
		CHECK(!boot_in_memory(""));
	} while (!delta());
	CHECK(get32(text() + AT32) == (uint32_t)(VIRTUAL + delta()));
	CHECK(get32(text() + AT_INVERSE) == 0x1000);
}

static void what_forbids_it_keeps_the_addresses(void)
{
	static const char *const lines[] = { "nokaslr", "quiet nokaslr", "nokaslr\tquiet" };
	static const char *const others[] = { "nokaslrs", "x.nokaslr", "nokaslr=1" };

	make_kernel();
	for (unsigned int i = 0; i < ARRAY_SIZE(lines); i++) {
		CHECK(!boot_in_memory(lines[i]));
		CHECK(unpacked_where_it_was_linked());
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(others); i++) {
		CHECK(!boot_in_memory(others[i]));
		CHECK(is_placed_well());
	}
	/* Memory that is not the kernel's to use is not the launcher's to choose from. */
	for (unsigned int i = 0; i < 4; i++) {
		CHECK(!boot_in_memory("mem=32M"));
		CHECK(state.rip == LINKED + ENTRY && is_placed_well());
	}
	file.code_size = offsetof(struct code, relocations);
	pack(pack_xz);
	CHECK(!boot_in_memory(""));
	CHECK(unpacked_where_it_was_linked());
}

static void a_kernel_keeps_clear_of_the_initrd(void)
{
	make_kernel();
	for (unsigned int i = 0; i < 24; i++) {
		const struct setup_header *hdr;
		char path[256];

		snprintf(path, sizeof(path), "%s", test_file(file.bytes, file.size));
		request = (struct boot_request){ .unpack.where = UNPACK_MEMORY, .initrd = path };
		CHECK(!boot(""));
		hdr = &params()->hdr;
		CHECK(state.rip - ENTRY + ROOM <= hdr->ramdisk_image);
		CHECK(!memcmp(guest_ptr(&memory, hdr->ramdisk_image, file.size), file.bytes, file.size));
		remove(path);
	}
}

/* ---- what is not as it should be ---- */

static bool still_boots(void)
{
	return !boot_in_memory("nokaslr") && packed();
}

static void a_payload_outside_the_file_is_left_alone(void)
{
	make_kernel();
	file.hdr->payload_offset = (uint32_t)file.size;
	CHECK(still_boots());
	file.hdr->payload_offset = UINT32_MAX;
	CHECK(still_boots());
	make_kernel();
	file.hdr->payload_length += 64;
	CHECK(still_boots());
	file.hdr->payload_length = UINT32_MAX;
	CHECK(still_boots());
	for (uint32_t length = 0; length < 16; length++) {
		file.hdr->payload_length = length;
		CHECK(still_boots());
	}
}

static void a_wrong_size_is_not_believed(void)
{
	static const packer packers[] = { pack_xz, pack_lzma, pack_gzip, pack_zstd };

	for (unsigned int i = 0; i < ARRAY_SIZE(packers); i++) {
		const uint32_t sizes[] = { 0, 1, (uint32_t)sizeof(file.code) * 2, ROOM, ROOM + 1,
					   UINT32_MAX };

		make_code();
		pack(packers[i]);
		for (unsigned int j = 0; j < ARRAY_SIZE(sizes); j++) {
			put32(file.payload + file.hdr->payload_length - 4, sizes[j]);
			CHECK(still_boots());
		}
		put32(file.payload + file.hdr->payload_length - 4, (uint32_t)file.code_size - 1);
		CHECK(still_boots());
		put32(file.payload + file.hdr->payload_length - 4, (uint32_t)file.code_size + 1);
		CHECK(still_boots());
	}
}

static void a_bomb_does_not_go_off(void)
{
	static uint8_t zeros[16 * MIB];

	make_code();
	pack_bytes(pack_xz, zeros, sizeof(zeros));
	CHECK(still_boots());
	put32(file.payload + file.hdr->payload_length - 4, MIB);
	CHECK(still_boots());
}

static void a_damaged_payload_is_left_to_the_guest(void)
{
	make_kernel();
	for (uint32_t at = 0; at < file.hdr->payload_length - 4; at += 7) {
		file.payload[at] ^= 0x5a;
		CHECK(still_boots());
		file.payload[at] ^= 0x5a;
	}
	memset(file.payload + file.hdr->payload_length / 2, 0, file.hdr->payload_length / 2 - 4);
	CHECK(still_boots());
}

static void unknown_formats_and_old_kernels_are_left_to_the_guest(void)
{
	make_kernel();
	memcpy(file.payload, "\x02\x21\x4c\x18", 4);	/* LZ4 */
	CHECK(still_boots());
	make_kernel();
	file.hdr->version = 0x020e;
	CHECK(still_boots());
	make_kernel();
	file.hdr->relocatable_kernel = 0;
	CHECK(still_boots());
	make_kernel();
	file.hdr->kernel_alignment = 3 * MIB;
	CHECK(still_boots());
}

static void hostile_kernels_inside_are_left_to_the_guest(void)
{
	struct code good;
	Elf64_Ehdr *ehdr = &file.code.ehdr;
	Elf64_Phdr *phdr = &file.code.phdr;

	make_code();
	good = file.code;
#define HOSTILE(change)                          \
	do {                                     \
		file.code = good;                \
		change;                          \
		pack(pack_gzip);                 \
		CHECK(still_boots());            \
	} while (0)

	HOSTILE(ehdr->e_ident[0] = 0);
	HOSTILE(ehdr->e_ident[EI_CLASS] = ELFCLASS32);
	HOSTILE(ehdr->e_machine = EM_AARCH64);
	HOSTILE(ehdr->e_entry = LINKED - 1);
	HOSTILE(ehdr->e_entry = LINKED + phdr->p_memsz);
	HOSTILE(ehdr->e_phoff = UINT64_MAX - 8);
	HOSTILE((ehdr->e_shnum = 1, ehdr->e_shoff = UINT64_MAX - 8));
	HOSTILE((ehdr->e_shnum = 1, ehdr->e_shentsize = 64, ehdr->e_shoff = file.code_size));
	HOSTILE(phdr->p_paddr = LINKED - ALIGN);
	HOSTILE(phdr->p_paddr = LINKED + ALIGN);
	HOSTILE(phdr->p_paddr = UINT64_MAX);
	HOSTILE(phdr->p_memsz = ROOM + 1);
	HOSTILE(phdr->p_memsz = UINT64_MAX);
	HOSTILE(phdr->p_memsz = sizeof(file.code.text) - 1);
	HOSTILE(phdr->p_filesz = 64 * KIB);
	HOSTILE(phdr->p_offset = UINT64_MAX - 8);
	HOSTILE(phdr->p_align = 4096);
}

static void hostile_relocations_are_left_to_the_guest(void)
{
	static const struct {
		uint64_t count;
		int32_t table[8];
	} tables[] = {
		{ 6, { 0, RELOCATION(-1), 0, RELOCATION(AT_INVERSE), 0, RELOCATION(AT32) } },
		{ 6, { 0, RELOCATION(2 * MIB - 7), 0, RELOCATION(AT_INVERSE), 0, RELOCATION(AT32) } },
		{ 6, { 0, RELOCATION(AT64), 0, RELOCATION(2 * MIB - 3), 0, RELOCATION(AT32) } },
		{ 6, { 0, RELOCATION(AT64), 0, RELOCATION(AT_INVERSE), 0, RELOCATION(ROOM) } },
		{ 6, { 0, RELOCATION(AT64), 0, 1, 0, RELOCATION(AT32) } },
		{ 6, { 0, RELOCATION(AT64), 0, -1, 0, RELOCATION(AT32) } },
		{ 6, { 0, INT32_MAX, 0, INT32_MIN, 0, RELOCATION(AT32) } },
		{ 5, { RELOCATION(AT64), 0, RELOCATION(AT_INVERSE), 0, RELOCATION(AT32) } },
		{ 2, { 0, RELOCATION(AT64) } },
		{ 7, { 0, RELOCATION(AT64), 0, 0, 0, 0, RELOCATION(AT32) } },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(tables); i++) {
		make_code();
		set_relocations(tables[i].table, tables[i].count);
		pack(pack_gzip);
		CHECK(!boot_in_memory(""));
		CHECK(packed());
	}
	make_code();
	file.code_size -= 2;	/* not whole words */
	pack(pack_gzip);
	CHECK(still_boots());
}

/* Random damage: in the kernel before it is packed, so that the decompressors do not find it. */
static void damaged_kernels_do_no_damage(void)
{
	uint32_t seed = 1;

	for (unsigned int round = 0; round < 200; round++) {
		make_code();
		for (unsigned int i = 0; i < 3; i++) {
			uint64_t at;

			seed = seed * 1664525 + 1013904223;
			at = (seed >> 8) % (sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + 24);
			if (at >= sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr))
				at += sizeof(file.code.text);
			((uint8_t *)&file.code)[at] = (uint8_t)(seed >> 24);
		}
		pack(pack_gzip);
		CHECK(!boot_in_memory(""));
		CHECK(state.rip && guest_ptr(&memory, state.rip, 1));
	}
}

/* ---- the cache ---- */

static char cache[300];

static void new_cache(void)
{
	static unsigned int count;
	char name[32];

	snprintf(name, sizeof(name), "cache%u/kernels", count++);
	snprintf(cache, sizeof(cache), "%s", test_path(name));
}

static int boot_cached(void)
{
	request = (struct boot_request){ .unpack = { UNPACK_CACHE, cache } };
	return boot("nokaslr");
}

/* How many files the directory has; the last one's name in @entry. */
static unsigned int entries(const char *path, char entry[512])
{
	DIR *dir = opendir(path);
	struct dirent *found;
	unsigned int count = 0;

	while (dir && (found = readdir(dir))) {
		if (*found->d_name == '.')
			continue;
		snprintf(entry, 512, "%s/%s", path, found->d_name);
		count++;
	}
	if (dir)
		closedir(dir);
	return count;
}

static uint64_t inode(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_ino;
}

static void a_second_run_takes_what_the_first_kept(void)
{
	char entry[512];
	struct stat st;
	uint64_t first;

	make_kernel();
	new_cache();
	CHECK(!boot_cached() && unpacked_where_it_was_linked());
	CHECK(entries(cache, entry) == 1);
	CHECK(!stat(cache, &st) && (st.st_mode & 0777) == 0700);
	CHECK(!stat(entry, &st) && (st.st_mode & 0777) == 0600);
	first = st.st_ino;
	CHECK(!boot_cached() && unpacked_where_it_was_linked());
	CHECK(entries(cache, entry) == 1 && inode(entry) == first);
}

static int change(const char *path, off_t at, bool from_end)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;
	struct stat st;
	int ret = -1;

	if (fd >= 0 && !fstat(fd, &st)) {
		at = from_end ? st.st_size - at : at;
		if (pread(fd, &byte, 1, at) == 1) {
			byte ^= 1;
			ret = pwrite(fd, &byte, 1, at) != 1;
		}
	}
	if (fd >= 0)
		close(fd);
	return ret;
}

static void a_changed_entry_is_replaced(void)
{
	const off_t places[] = { 0, sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + 5,
				 (off_t)offsetof(struct code, relocations) + 4 };
	const off_t from_end[] = { 1, sizeof(struct kernel_cache_end),
				   sizeof(struct kernel_cache_end) + 20 };
	char entry[512];

	make_kernel();
	new_cache();
	CHECK(!boot_cached());
	for (unsigned int i = 0; i < 6; i++) {
		CHECK(entries(cache, entry) == 1);
		CHECK(!change(entry, i < 3 ? places[i] : from_end[i - 3], i >= 3));
		CHECK(!boot_cached() && unpacked_where_it_was_linked());
		CHECK(entries(cache, entry) == 1);
		CHECK(!boot_cached() && unpacked_where_it_was_linked());
	}
	CHECK(!truncate(entry, 100));
	CHECK(!boot_cached() && unpacked_where_it_was_linked());
	CHECK(!chmod(entry, 0622));
	CHECK(!boot_cached() && unpacked_where_it_was_linked());
	CHECK(!unlink(entry) && !symlink("/etc/passwd", entry));
	CHECK(!boot_cached() && unpacked_where_it_was_linked());
	CHECK(entries(cache, entry) == 1);
}

/* As a collision of names would: another kernel's entry under this one's name. */
static void another_kernel_is_never_taken(void)
{
	char first[512], second[512];

	make_kernel();
	new_cache();
	CHECK(!boot_cached());
	CHECK(entries(cache, first) == 1);
	file.code.text[0x80] = 1;
	pack(pack_xz);
	CHECK(!boot_cached());
	CHECK(entries(cache, second) == 2);
	if (!strcmp(first, second)) {
		/* The directory's order is its own. */
		unlink(first);
		CHECK(entries(cache, second) == 1);
		CHECK(!rename(second, first));
		make_kernel();
	} else {
		CHECK(!rename(first, second));
	}
	CHECK(!boot_cached() && unpacked_where_it_was_linked());
}

static void the_longest_unused_goes(void)
{
	struct timespec times[2] = { { 0 } };
	char entry[512];

	make_kernel();
	new_cache();
	for (uint8_t i = 0; i < KERNEL_CACHE_ENTRIES; i++) {
		file.code.text[0x80] = i;
		pack(pack_xz);
		CHECK(!boot_cached());
		CHECK(entries(cache, entry) == i + 1U);
	}
	/* All are old, but the first is used again. */
	for (unsigned int i = 0; i < 2; i++)
		times[i].tv_sec = 1000000000;
	{
		DIR *dir = opendir(cache);
		struct dirent *found;

		while ((found = readdir(dir)))
			if (*found->d_name != '.')
				CHECK(!utimensat(dirfd(dir), found->d_name, times, 0));
		closedir(dir);
	}
	file.code.text[0x80] = 0;
	pack(pack_xz);
	CHECK(!boot_cached());
	file.code.text[0x80] = 100;
	pack(pack_xz);
	CHECK(!boot_cached());
	CHECK(entries(cache, entry) == KERNEL_CACHE_ENTRIES);
	file.code.text[0x80] = 0;
	pack(pack_xz);
	{
		struct packed kernel = { "kernel", file.payload, file.hdr->payload_length, 0 };
		char name[KERNEL_CACHE_NAME];

		kernel_cache_name(&kernel, name);
		snprintf(entry, sizeof(entry), "%.400s/%s", cache, name);
		CHECK(inode(entry));
	}
}

static void two_launchers_can_keep_the_same_at_once(void)
{
	char entry[512], path[256];
	pid_t pids[4];
	int status;

	make_kernel();
	new_cache();
	snprintf(path, sizeof(path), "%s", test_file(file.bytes, file.size));
	request = (struct boot_request){ .unpack = { UNPACK_CACHE, cache } };
	for (unsigned int i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		if (!pids[i])
			_exit(boot_file(path, "nokaslr") || !unpacked_where_it_was_linked());
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(pids); i++)
		CHECK(waitpid(pids[i], &status, 0) == pids[i] && !status);
	CHECK(entries(cache, entry) == 1);
	CHECK(!boot_cached() && unpacked_where_it_was_linked());
}

/* Boots, and keeps nothing in @where. */
static bool not_used(const char *where)
{
	char entry[512];

	return !boot_cached() && unpacked_where_it_was_linked() && !entries(where, entry);
}

static void a_cache_of_others_is_not_used(void)
{
	char target[300];

	make_kernel();
	CHECK(mkdir(test_path("unpack-real"), 0700) == 0);
	snprintf(target, sizeof(target), "%s", test_path("unpack-real"));
	snprintf(cache, sizeof(cache), "%s", test_path("unpack-link"));
	CHECK(!symlink(target, cache));
	CHECK(not_used(target));
	CHECK(!unlink(cache) && !chmod(target, 0770));
	snprintf(cache, sizeof(cache), "%s", target);
	CHECK(not_used(target));
	CHECK(!chmod(target, 0707));
	CHECK(not_used(target));
	CHECK(!chmod(target, 0700));
	/* Only root can give it to somebody else. */
	if (!geteuid()) {
		CHECK(!chown(target, 1, 1));
		CHECK(not_used(target));
	}
}

static void a_cache_that_cannot_be_had_is_no_error(void)
{
	char below[400];

	make_kernel();
	snprintf(below, sizeof(below), "%s/below", test_file("x", 1));
	snprintf(cache, sizeof(cache), "%.290s", below);
	CHECK(not_used(cache));
	strcpy(cache, "/proc/self");
	CHECK(!boot_cached() && unpacked_where_it_was_linked());
	strcpy(cache, "/dev/null");
	CHECK(!boot_cached() && unpacked_where_it_was_linked());
}

static const struct test tests[] = {
	TEST(each_format_is_unpacked),
	TEST(unpack_guest_leaves_it_to_the_guest),
	TEST(addresses_are_random_and_independent),
	TEST(each_relocation_moves_as_its_list_says),
	TEST(what_forbids_it_keeps_the_addresses),
	TEST(a_kernel_keeps_clear_of_the_initrd),
	TEST(a_payload_outside_the_file_is_left_alone),
	TEST(a_wrong_size_is_not_believed),
	TEST(a_bomb_does_not_go_off),
	TEST(a_damaged_payload_is_left_to_the_guest),
	TEST(unknown_formats_and_old_kernels_are_left_to_the_guest),
	TEST(hostile_kernels_inside_are_left_to_the_guest),
	TEST(hostile_relocations_are_left_to_the_guest),
	TEST(damaged_kernels_do_no_damage),
	TEST(a_second_run_takes_what_the_first_kept),
	TEST(a_changed_entry_is_replaced),
	TEST(another_kernel_is_never_taken),
	TEST(the_longest_unused_goes),
	TEST(two_launchers_can_keep_the_same_at_once),
	TEST(a_cache_of_others_is_not_used),
	TEST(a_cache_that_cannot_be_had_is_no_error),
	TESTS_END
};

const struct suite suite_unpack = { "unpack", tests };
