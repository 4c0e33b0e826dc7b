// SPDX-License-Identifier: GPL-2.0-only
/*
 * The launcher killed with SIGKILL at 50 points of its life, from its start to well into its guest: no VM stays
 * behind, no memory is lost, and the module can be unloaded and loaded again.
 *
 * The points are random but seeded: KILN_SEED repeats a run. The launcher is "kiln" on the PATH, or KILN_LAUNCHER; the
 * guest is busy.elf beside this program; the module's file to load again is KILN_MODULE, or /lab/kiln.ko, with the
 * parameters in the file of the same name that ends in .args.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "vm.h"

#define KILLS		50
#define WARM_UP		5
#define LONGEST_MS	400
#define TOLERANCE_KIB	2048

static const char *launcher(void)
{
	const char *name = getenv("KILN_LAUNCHER");

	return name && *name ? name : "kiln";
}

static bool launcher_exists(void)
{
	char command[PATH_MAX + 32];

	snprintf(command, sizeof(command), "command -v '%s' >/dev/null", launcher());
	return system(command) == 0;
}

static const char *guest_file(void)
{
	static char path[PATH_MAX + 16];
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX);

	if (n < 0)
		die("/proc/self/exe cannot be read");
	path[n] = '\0';
	strcpy(path, dirname(path));
	return strcat(path, "/busy.elf");
}

static uint32_t seed(void)
{
	const char *given = getenv("KILN_SEED");

	return given ? strtoul(given, NULL, 0) : (uint32_t)time(NULL);
}

/* Numerical Recipes' generator: good enough to spread points over a time. */
static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

static pid_t launch(void)
{
	pid_t pid;

	fflush(NULL);		/* or the child would print what waits here once more */
	pid = fork();
	if (pid)
		return pid;
	if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
		_exit(126);
	execlp(launcher(), launcher(), "run", "--device", device_path(), "--kernel", guest_file(), "--memory", "64M",
	       "--cpus", "2", "--console", "null", NULL);
	_exit(127);
}

/* Returns how the launcher ended, as wait() says it. */
static int kill_after(unsigned int microseconds)
{
	pid_t pid = launch();
	int status;

	usleep(microseconds);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return status;
}

/* A line of /proc/meminfo, in KiB. */
static long meminfo(const char *name)
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

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd >= 0 && write(fd, text, strlen(text)) < 0)
		perror(path);
	if (fd >= 0)
		close(fd);
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

/* What is in use once caches are dropped and what was freed late is free. */
static long used_kib(void)
{
	sync();
	for (int i = 0; i < 3; i++) {
		write_file("/proc/sys/vm/drop_caches", "3");
		usleep(200000);
	}
	write_file("/proc/sys/vm/stat_refresh", "1");
	return meminfo("MemTotal") - meminfo("MemFree") - percpu_free_kib();
}

static int module_users(void)
{
	FILE *f = fopen("/sys/module/kiln/refcnt", "r");
	int n = -1;

	if (f && fscanf(f, "%d", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

FIXTURE(kill) {
	uint32_t seed;
};

FIXTURE_SETUP(kill)
{
	if (!launcher_exists())
		SKIP(_exit(255), "no launcher: %s is not on the PATH", launcher());
	self->seed = seed();
}

FIXTURE_TEARDOWN(kill)
{
}

TEST_F(kill, a_launcher_left_alone_goes_on)
{
	pid_t pid = launch();
	int status;

	/* Else the kills below would hit something that is dead already. */
	usleep(2 * LONGEST_MS * 1000);
	ASSERT_EQ(0, waitpid(pid, &status, WNOHANG))
		TH_LOG("the launcher ended by itself, status %#x", status);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	EXPECT_TRUE(WIFSIGNALED(status));
}

TEST_F_TIMEOUT(kill, fifty_kills_lose_no_memory, 110)
{
	long before, after, slab_before, slab_after;
	uint32_t state = self->seed;

	printf("# KILN_SEED=%u\n", self->seed);
	for (int i = 0; i < WARM_UP; i++)
		kill_after(LONGEST_MS * 1000);
	before = used_kib();
	slab_before = meminfo("SUnreclaim");
	for (int i = 0; i < KILLS; i++) {
		unsigned int us = next_random(&state) % (LONGEST_MS * 1000);
		int status = kill_after(us);

		ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			TH_LOG("kill %d, after %u us: the launcher had ended with status %#x", i, us, status);
	}
	after = used_kib();
	slab_after = meminfo("SUnreclaim");
	printf("# used: %ld KiB before, %ld after; slab: %ld before, %ld after\n", before, after, slab_before, slab_after);
	fflush(stdout);		/* the child that runs this ends without */
	EXPECT_LE(after - before, TOLERANCE_KIB);
	EXPECT_LE(slab_after - slab_before, TOLERANCE_KIB);
}

TEST_F(kill, a_new_vm_works_after_all_that)
{
	struct vm *vm = vm_create(VM_IRQCHIP | VM_PIT);

	vm_add_vcpu(vm);
	vm_destroy(vm);
}

/* What the module was loaded with: kiln.args beside kiln.ko. */
static const char *parameters(const char *module)
{
	static char text[512];
	char path[PATH_MAX];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%.*s.args", (int)(strlen(module) - strlen(".ko")), module);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

TEST_F(kill, the_module_can_be_unloaded_and_loaded_again)
{
	const char *file = getenv("KILN_MODULE");
	int fd, r;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	if (!file || !*file)
		file = "/lab/kiln.ko";
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		SKIP(return, "no module to load again: set KILN_MODULE to its file");
	EXPECT_EQ(0, module_users());
	r = syscall(SYS_delete_module, "kiln", O_NONBLOCK);
	ASSERT_EQ(0, r)
		TH_LOG("delete_module: %s", strerror(errno));
	EXPECT_NE(0, access(device_path(), F_OK));
	r = syscall(SYS_finit_module, fd, parameters(file), 0);
	ASSERT_EQ(0, r)
		TH_LOG("finit_module: %s", strerror(errno));
	EXPECT_TRUE(device_is_kiln());
}

TEST_F(kill, the_module_stays_while_a_vm_lives)
{
	struct vm *vm;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	vm = vm_create(0);
	EXPECT_EQ(-1, syscall(SYS_delete_module, "kiln", O_NONBLOCK));
	EXPECT_EQ(EWOULDBLOCK, errno);
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
