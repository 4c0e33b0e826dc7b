// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls of machine.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "machine.h"
#include "vm.h"

bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

bool pin_to_cpu(unsigned int nth)
{
	static cpu_set_t allowed;
	cpu_set_t one;

	if (!CPU_COUNT(&allowed) && sched_getaffinity(0, sizeof(allowed), &allowed))
		die("sched_getaffinity: %s", strerror(errno));
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || nth--)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		return !sched_setaffinity(0, sizeof(one), &one);
	}
	return false;
}

long meminfo(const char *name)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long value = -1;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			value = atol(line + strlen(name) + 1);
	if (f)
		fclose(f);
	if (value < 0)
		die("/proc/meminfo has no %s", name);
	return value;
}

/*
 * Free pages that wait on the lists of a CPU: MemFree does not have them, and with two CPUs they come to 20 MiB and
 * back with nothing but the scheduler's choices.
 */
static long percpu_free_kib(void)
{
	FILE *f = fopen("/proc/zoneinfo", "r");
	long pages = 0, n;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " count: %ld", &n) == 1)
			pages += n;
	if (!f)
		die("/proc/zoneinfo cannot be read");
	fclose(f);
	return pages * sysconf(_SC_PAGESIZE) / 1024;
}

long used_kib(void)
{
	sync();
	for (int i = 0; i < 3; i++) {
		write_file("/proc/sys/vm/drop_caches", "3");
		usleep(200000);
	}
	write_file("/proc/sys/vm/stat_refresh", "1");
	return meminfo("MemTotal") - meminfo("MemFree") - percpu_free_kib();
}

struct in_use in_use(void)
{
	return (struct in_use){ used_kib(), meminfo("Slab"), meminfo("SUnreclaim") };
}

/*
 * KASAN keeps what is freed of the slab for a while, caches' inodes too. A kernel that has it has kmemleak, which is asked for that part when the
 * machine ends (lab/vm).
 */
long left_kib(const struct in_use *before, long enough)
{
	bool slab_is_kept = !access("/sys/kernel/debug/kmemleak", F_OK);
	struct in_use now;
	long used, unreclaimable, left;

	for (int i = 0; i < 20; i++) {
		now = in_use();
		used = now.used - before->used;
		unreclaimable = now.unreclaimable - before->unreclaimable;
		left = slab_is_kept ? used - (now.slab - before->slab) : used > unreclaimable ? used : unreclaimable;
		if (left <= enough)
			break;
	}
	printf("# used: %ld KiB before, %ld after; slab: %ld before, %ld after\n", before->used, now.used, before->slab, now.slab);
	fflush(stdout);		/* the child that runs a test ends without */
	return left;
}

static const char *module_file(void)
{
	const char *file = getenv("KILN_MODULE");

	return file && *file ? file : "/lab/kiln.ko";
}

bool module_file_exists(void)
{
	return !access(module_file(), R_OK);
}

/* What the module was loaded with: kiln.args beside kiln.ko. */
static void read_parameters(char *text, size_t size)
{
	const char *module = module_file();
	char path[PATH_MAX];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%.*s.args", (int)(strlen(module) - strlen(".ko")), module);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
}

int module_unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

int module_load(void)
{
	char parameters[512];
	int fd = open(module_file(), O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	read_parameters(parameters, sizeof(parameters));
	r = syscall(SYS_finit_module, fd, parameters, 0) ? -errno : 0;
	close(fd);
	return r;
}

int module_users(void)
{
	FILE *f = fopen("/sys/module/kiln/refcnt", "r");
	int n = -1;

	if (f && fscanf(f, "%d", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}
