// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../disk.h"
#include "../error.h"
#include "../util.h"
#include "tap.h"

static struct disk_config disks[2];

/* Opens what was parsed; closes and frees it again. */
static int open_disks(unsigned int count)
{
	struct disk opened[2];
	int ret;

	disk_init(&opened[0]);
	disk_init(&opened[1]);
	ret = disks_open(disks, count, opened);
	for (unsigned int i = 0; i < count; i++) {
		disk_close(&opened[i]);
		disk_free(&disks[i]);
	}
	return ret;
}

static const char *image(unsigned int size)
{
	static const uint8_t zeroes[4096];

	return test_file(zeroes, size);
}

static bool path_is(const char *text, const char *path)
{
	bool ok = !disk_parse(&disks[0], text, 0) && !strcmp(disks[0].path, path);

	disk_free(&disks[0]);
	return ok;
}

static void a_path_alone_is_a_disk(void)
{
	CHECK(!disk_parse(&disks[0], "a.img", 3));
	CHECK(!strcmp(disks[0].path, "a.img") && !strcmp(disks[0].id, "kiln-disk3"));
	CHECK(!disks[0].read_only && !disks[0].direct && disks[0].queues == 1);
	CHECK(!disks[0].iops && !disks[0].bps);
	disk_free(&disks[0]);
}

static void words_follow_the_path(void)
{
	CHECK(!disk_parse(&disks[0], "/x/a.img,ro,cache=none,queues=4,id=root,iops=500,bps=10M", 0));
	CHECK(!strcmp(disks[0].path, "/x/a.img") && disks[0].read_only && disks[0].direct);
	CHECK(disks[0].queues == 4 && !strcmp(disks[0].id, "root"));
	CHECK(disks[0].iops == 500 && disks[0].bps == 10 * MIB);
	disk_free(&disks[0]);
}

static void two_commas_are_one_of_the_path(void)
{
	CHECK(path_is("a,,b", "a,b"));
	CHECK(path_is("a,,b,ro", "a,b"));
	CHECK(path_is(",,", ","));
	CHECK(path_is("a,,,ro", "a,"));
	CHECK(path_is("a=b", "a=b"));
}

static void bad_words_are_named(void)
{
	static const struct {
		const char *text, *sentence;
	} bad[] = {
		{ "", "no path" },
		{ ",ro", "no path" },
		{ "a,rw", "a: rw is unknown" },
		{ "a,", "a:  is unknown" },
		{ "a,ro=1", "ro= is unknown" },
		{ "a,cache", "cache is unknown" },
		{ "a,cache=unsafe", "cache=unsafe is unknown" },
		{ "a,queues=0", "queues 0: out of range" },
		{ "a,queues=17", "queues 17: out of range" },
		{ "a,queues=x", "queues x: not a number" },
		{ "a,id=", "has 0 bytes" },
		{ "a,id=123456789012345678901", "has 21 bytes" },
		{ "a,iops=0", "iops 0: out of range" },
		{ "a,iops=-1", "iops -1: not a number" },
		{ "a,bps=1", "bps 1: out of range" },
		{ "a,bps=fast", "bps fast: not a size" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK(disk_parse(&disks[0], bad[i].text, 0));
		CHECK_ERROR(bad[i].sentence);
		CHECK(!disks[0].path);
	}
}

static void whole_sectors_make_a_disk(void)
{
	CHECK(!disk_parse(&disks[0], image(1024), 0));
	CHECK(!open_disks(1));
	CHECK(!disk_parse(&disks[0], image(1000), 0));
	CHECK(open_disks(1));
	CHECK_ERROR("1000 bytes are not whole sectors");
	CHECK(!disk_parse(&disks[0], image(0), 0));
	CHECK(open_disks(1));
	CHECK_ERROR("is empty");
}

static void what_is_no_disk_is_refused(void)
{
	CHECK(!disk_parse(&disks[0], "/nonexistent/x", 0));
	CHECK(open_disks(1));
	CHECK_ERROR("/nonexistent/x: not there");
	CHECK(!disk_parse(&disks[0], "/dev/null", 0));
	CHECK(open_disks(1));
	CHECK_ERROR("neither a file nor a block device");
	CHECK(!disk_parse(&disks[0], "/", 0));
	CHECK(open_disks(1));
	CHECK_ERROR("neither a file nor a block device");
	CHECK(!mkfifo(test_path("fifo"), 0600));
	CHECK(!disk_parse(&disks[0], test_path("fifo"), 0));
	CHECK(open_disks(1));
	CHECK_ERROR("neither a file nor a block device");
}

static void a_disk_that_is_written_is_given_once(void)
{
	char path[80], ro[96], link_path[256];

	snprintf(path, sizeof(path), "%s", image(512));
	snprintf(ro, sizeof(ro), "%s,ro", path);
	CHECK(!disk_parse(&disks[0], ro, 0) && !disk_parse(&disks[1], ro, 1));
	CHECK(!open_disks(2));
	CHECK(!disk_parse(&disks[0], ro, 0) && !disk_parse(&disks[1], path, 1));
	CHECK(open_disks(2));
	CHECK_ERROR("given twice");
	snprintf(link_path, sizeof(link_path), "%s", test_path("link"));
	CHECK(!link(path, link_path));
	CHECK(!disk_parse(&disks[0], path, 0) && !disk_parse(&disks[1], link_path, 1));
	CHECK(open_disks(2));
	CHECK_ERROR("given twice");
}

static void a_disk_of_another_program_is_refused(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	const char *path = image(512);
	int fd = open(path, O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0 && !fcntl(fd, F_OFD_SETLK, &lock));
	CHECK(!disk_parse(&disks[0], path, 0));
	CHECK(open_disks(1));
	CHECK_ERROR("in use by another program");
	close(fd);
	CHECK(!disk_parse(&disks[0], path, 0));
	CHECK(!open_disks(1));
}

static void the_back_end_is_told_all_of_it(void)
{
	struct kiln_virtio_block block;

	CHECK(!disk_parse(&disks[0], "a,ro,id=12345678901234567890,iops=7,bps=1K", 0));
	disk_back_end(&disks[0], 5, &block);
	disk_free(&disks[0]);
	CHECK(block.fd == 5 && block.flags == (KILN_BLOCK_RO | KILN_BLOCK_WRITEBACK));
	CHECK(block.iops == 7 && block.bps == 1024 && !block.sectors);
	CHECK(!memcmp(block.id, "12345678901234567890", 20));
}

static bool format_is(const char *text, const char *name)
{
	bool ok = !disk_parse(&disks[0], text, 0);

	ok = ok && (disks[0].format ? !strcmp(disk_format_name(disks[0].format), name) : !*name);
	disk_free(&disks[0]);
	return ok;
}

static void the_user_says_the_format_or_the_name_does(void)
{
	CHECK(format_is("a.img", "") && format_is("a.raw", "") && format_is("qcow2", ""));
	CHECK(format_is(".qcow2", "") && format_is("a.qcow2/b", ""));
	CHECK(format_is("a.qcow2", "qcow2") && format_is("/x/A.QCOW2,ro", "qcow2"));
	CHECK(format_is("a.vmdk", "vmdk") && format_is("a.vdi", "vdi"));
	CHECK(format_is("a.vhdx", "vhdx") && format_is("a.vhd", "vpc") && format_is("a.qed", "qed"));
	CHECK(format_is("a.qcow2,format=raw", "") && format_is("a.img,format=vdi", "vdi"));
	CHECK(disk_parse(&disks[0], "a.img,format=zip", 0));
	CHECK_ERROR("format=zip is unknown; give raw, qcow2");
}

/* An image of two sectors that begins with @bytes at @offset. */
static const char *beginning(unsigned int offset, const void *bytes, size_t len)
{
	uint8_t image_bytes[1024] = { 0 };

	memcpy(image_bytes + offset, bytes, len);
	return test_file(image_bytes, sizeof(image_bytes));
}

static bool looks_like(const char *path, const char *name)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const struct disk_format *format = disk_format_of_content(fd);

	close(fd);
	return format ? !strcmp(disk_format_name(format), name) : !*name;
}

static void a_format_is_known_by_its_magic(void)
{
	CHECK(looks_like(image(1024), ""));
	CHECK(looks_like(beginning(0, "QFI\xfb\0\0\0\3", 8), "qcow2"));
	CHECK(looks_like(beginning(0, "QFI\xfb\0\0\0\2", 8), "qcow2"));
	CHECK(looks_like(beginning(0, "QFI\xfb\0\0\0\1", 8), "qcow"));
	CHECK(looks_like(beginning(0, "QFI\xfb\0\0\0\4", 8), ""));
	CHECK(looks_like(beginning(0, "KDMV", 4), "vmdk"));
	CHECK(looks_like(beginning(64, "\x7f\x10\xda\xbe", 4), "vdi"));
	CHECK(looks_like(beginning(65, "\x7f\x10\xda\xbe", 4), ""));
	CHECK(looks_like(beginning(0, "vhdxfile", 8), "vhdx"));
	CHECK(looks_like(beginning(0, "conectix", 8), "vpc"));
	CHECK(looks_like(beginning(512, "conectix", 8), "vpc"));
	CHECK(looks_like(test_file("QFI", 3), ""));
}

/* What the guest can write there changes nothing: a raw disk stays one. */
static void the_content_decides_nothing(void)
{
	char text[96];

	snprintf(text, sizeof(text), "%s,format=raw", beginning(0, "QFI\xfb\0\0\0\3", 8));
	CHECK(!disk_parse(&disks[0], text, 0));
	CHECK(!open_disks(1));
	snprintf(text, sizeof(text), "%s,format=qcow2", beginning(0, "vhdxfile", 8));
	CHECK(!disk_parse(&disks[0], text, 0));
	CHECK(open_disks(1));
	CHECK_ERROR("is no qcow2 image, it begins like vhdx; give format=vhdx");
	snprintf(text, sizeof(text), "%s,format=vdi", image(1024));
	CHECK(!disk_parse(&disks[0], text, 0));
	CHECK(open_disks(1));
	CHECK_ERROR("is no vdi image, it begins like none; give format=raw");
}

static const struct test tests[] = {
	TEST(a_path_alone_is_a_disk),
	TEST(words_follow_the_path),
	TEST(two_commas_are_one_of_the_path),
	TEST(bad_words_are_named),
	TEST(whole_sectors_make_a_disk),
	TEST(what_is_no_disk_is_refused),
	TEST(a_disk_that_is_written_is_given_once),
	TEST(a_disk_of_another_program_is_refused),
	TEST(the_back_end_is_told_all_of_it),
	TEST(the_user_says_the_format_or_the_name_does),
	TEST(a_format_is_known_by_its_magic),
	TEST(the_content_decides_nothing),
	TESTS_END
};

const struct suite suite_disk = { "disk", tests };
