// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "../util.h"
#include "tap.h"

bool test_failed;

static char directory[] = "/tmp/kiln-test-XXXXXX";

static const struct suite *const suites[] = {
	&suite_parse, &suite_opts,    &suite_memory, &suite_boot, &suite_acpi,
	&suite_cpuid, &suite_bus,     &suite_mmio,   &suite_uart, &suite_rtc,
	&suite_pm,    &suite_death,   &suite_console, &suite_host, &suite_pci,
	&suite_virtio_pci, &suite_disk,   &suite_vconsole, &suite_net, &suite_vhost_ctrl,
	&suite_sandbox,
	&suite_runtime, &suite_control, &suite_reserve, &suite_signals, &suite_unpack,
};

const char *test_path(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

const char *test_file(const void *bytes, size_t size)
{
	static char path[64];
	static unsigned int count;
	int fd;

	snprintf(path, sizeof(path), "%s/file%u", directory, count++);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
		abort();
	close(fd);
	return path;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static unsigned int run_suite(const struct suite *suite, unsigned int *number)
{
	unsigned int failed = 0;

	for (const struct test *test = suite->tests; test->name; test++) {
		test_failed = false;
		test->run();
		failed += test_failed;
		printf("%sok %u - %s.%s\n", test_failed ? "not " : "", ++*number, suite->name,
		       test->name);
		fflush(stdout);
	}
	return failed;
}

int main(void)
{
	unsigned int count = 0, number = 0, failed = 0;

	if (!mkdtemp(directory))
		return 1;
	signal(SIGPIPE, SIG_IGN);	/* as a run does (signals.c) */
	for (unsigned int i = 0; i < ARRAY_SIZE(suites); i++)
		for (const struct test *test = suites[i]->tests; test->name; test++)
			count++;
	printf("TAP version 13\n1..%u\n", count);
	for (unsigned int i = 0; i < ARRAY_SIZE(suites); i++)
		failed += run_suite(suites[i], &number);
	nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return failed ? 1 : 0;
}
