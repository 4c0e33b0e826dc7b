// SPDX-License-Identifier: GPL-2.0-only
/*
 * The launcher killed with SIGKILL at points all over its life, from its start to well into its guest: no VM stays
 * behind, no memory is lost, and the module can be unloaded and loaded again.
 *
 * KILN_KILLS says how many (50). The points are random but seeded: KILN_SEED repeats a run. The launcher is "kiln" on
 * the PATH, or KILN_LAUNCHER; the guest is busy.elf beside this program.
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
#include "machine.h"
#include "random.h"
#include "vm.h"

#define KILLS		50
#define WARM_UP		5
#define LONGEST_MS	400		/* and no more than twice what a launcher takes until its guest runs */
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

/* What the launcher's guest has had of the CPUs so far, in clock ticks: the 43rd field, and the 2nd may hold blanks. */
static unsigned long guest_ticks(pid_t pid)
{
	unsigned long ticks = 0;
	char path[40], line[1024];
	char *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f)) {
		at = strrchr(line, ')');
		for (int field = 2; at && field < 43; field++)
			at = strchr(at + 1, ' ');
		ticks = at ? strtoul(at, NULL, 10) : 0;
	}
	fclose(f);
	return ticks;
}

/* Microseconds until a guest runs, from its launcher's start; 0 if none does. */
static unsigned int until_guest_runs(void)
{
	struct timespec start, now;
	pid_t pid = launch();
	int polls = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!guest_ticks(pid) && ++polls < 10000)
		usleep(1000);
	clock_gettime(CLOCK_MONOTONIC, &now);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return polls == 10000 ? 0 : (now.tv_sec - start.tv_sec) * 1000000 + (now.tv_nsec - start.tv_nsec) / 1000;
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

FIXTURE(kill) {
	unsigned long kills;
};

FIXTURE_SETUP(kill)
{
	if (!launcher_exists())
		SKIP(_exit(255), "no launcher: %s is not on the PATH", launcher());
	self->kills = from_environment("KILN_KILLS", KILLS);
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

TEST_F_TIMEOUT(kill, kills_at_random_points_lose_no_memory, 600)
{
	struct in_use before;
	unsigned int longest = until_guest_runs();

	ASSERT_NE(0, longest)
		TH_LOG("no guest runs");
	printf("# a guest runs after %u ms\n", longest / 1000);
	longest = longest > LONGEST_MS * 500 ? LONGEST_MS * 1000 : 2 * longest;
	seed_random(_metadata->name);
	for (int i = 0; i < WARM_UP; i++)
		kill_after(longest);
	before = in_use();
	for (unsigned long i = 0; i < self->kills; i++) {
		unsigned int us = next_random() % longest;
		int status = kill_after(us);

		ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			TH_LOG("kill %lu, after %u us: the launcher had ended with status %#x", i, us, status);
	}
	printf("# %lu kills\n", self->kills);
	EXPECT_GE(TOLERANCE_KIB, left_kib(&before, TOLERANCE_KIB));
}

TEST_F(kill, a_new_vm_works_after_all_that)
{
	struct vm *vm = vm_create(VM_IRQCHIP | VM_PIT);

	vm_add_vcpu(vm);
	vm_destroy(vm);
}

TEST_F(kill, the_module_can_be_unloaded_and_loaded_again)
{
	int r;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	if (!module_file_exists())
		SKIP(return, "no module to load again: set KILN_MODULE to its file");
	EXPECT_EQ(0, module_users());
	r = module_unload("kiln");
	ASSERT_EQ(0, r)
		TH_LOG("delete_module: %s", strerror(-r));
	EXPECT_NE(0, access(device_path(), F_OK));
	r = module_load();
	ASSERT_EQ(0, r)
		TH_LOG("finit_module: %s", strerror(-r));
	EXPECT_TRUE(device_is_kiln());
}

TEST_F(kill, the_module_stays_while_a_vm_lives)
{
	struct vm *vm;

	if (!device_is_kiln())
		SKIP(return, "%s is not kiln", device_path());
	vm = vm_create(0);
	EXPECT_EQ(-EWOULDBLOCK, module_unload("kiln"));
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
