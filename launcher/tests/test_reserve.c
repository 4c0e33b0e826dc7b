// SPDX-License-Identifier: GPL-2.0-only
/* The process that runs a guest again; the launcher is a child of the test. */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../error.h"
#include "../reserve.h"
#include "tap.h"

static int out[2];	/* what the runs say */

/* The run of a launcher that was told to go: @context is its program. */
static int run(void *context, const char *name, bool *again)
{
	static const char file[] = "/tmp/kiln-reserve-count";
	const char *program = context;
	char path[64];

	snprintf(path, sizeof(path), "%s.%d", file, getppid());
	if (!strcmp(program, "fail"))
		return error_set("it cannot run; do something");
	if (!strcmp(program, "crash"))
		raise(SIGKILL);
	if (!strcmp(program, "twice")) {
		*again = access(path, F_OK) != 0;
		if (*again)
			fclose(fopen(path, "w"));
		else
			unlink(path);
	}
	if (write(out[1], name, strlen(name)) < 0)
		return 99;
	if (!strcmp(program, "stay")) {
		sigset_t set;
		int number;

		sigemptyset(&set);
		sigaddset(&set, SIGTERM);
		sigprocmask(SIG_BLOCK, &set, NULL);
		if (write(out[1], "!", 1) < 0)
			return 99;
		sigwait(&set, &number);
		return 10;
	}
	return 7;
}

/* A launcher whose guest is to run again: it ends as that does. */
static pid_t launch(const char *program)
{
	struct reserve reserve;
	pid_t pid;

	if (pipe(out))
		return -1;
	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	if (!freopen("/dev/null", "w", stderr))
		_exit(98);
	reserve_make(&reserve, run, (void *)(uintptr_t)program);
	_exit(reserve_go(&reserve, "name"));
}

/* What it ended as; what was said in @said. */
static int finish(pid_t pid, char *said, size_t size)
{
	ssize_t n;
	int status = -1;
	size_t used = 0;

	close(out[1]);
	waitpid(pid, &status, 0);
	while ((n = read(out[0], said + used, size - 1 - used)) > 0)
		used += (size_t)n;
	said[used] = '\0';
	close(out[0]);
	return status;
}

static void it_runs_by_its_name_and_its_status_is_ours(void)
{
	char said[64];
	int status = finish(launch("once"), said, sizeof(said));

	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	CHECK(!strcmp(said, "name"));
}

static void it_runs_as_often_as_is_asked(void)
{
	char said[64];
	int status = finish(launch("twice"), said, sizeof(said));

	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	CHECK(!strcmp(said, "namename"));
}

static void bad_input_is_status_2(void)
{
	char said[64];
	int status = finish(launch("fail"), said, sizeof(said));

	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

static void a_crash_is_ours(void)
{
	char said[64];
	int status = finish(launch("crash"), said, sizeof(said));

	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static bool stays(void)
{
	char bytes[5];
	size_t used = 0;
	ssize_t n;

	while (used < sizeof(bytes) && (n = read(out[0], bytes + used, sizeof(bytes) - used)) > 0)
		used += (size_t)n;
	return used == sizeof(bytes) && !memcmp(bytes, "name!", used);
}

static void signals_are_passed_on(void)
{
	pid_t pid = launch("stay");
	char said[64];
	int status;

	CHECK(stays());
	kill(pid, SIGTERM);
	status = finish(pid, said, sizeof(said));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 10);
}

static void it_goes_with_a_launcher_that_is_killed(void)
{
	pid_t pid = launch("stay");
	char said[64];
	int status;

	CHECK(stays());
	kill(pid, SIGKILL);
	/* finish() comes to the pipe's end only when nobody has it any more. */
	status = finish(pid, said, sizeof(said));
	CHECK(WIFSIGNALED(status) && !*said);
}

static void it_is_not_needed_mostly(void)
{
	struct reserve reserve;

	if (pipe(out))
		return;
	reserve_make(&reserve, run, (void *)(uintptr_t)"once");
	CHECK(reserve.pid > 0);
	reserve_dismiss(&reserve);
	CHECK(!reserve.pid && waitpid(-1, NULL, WNOHANG) < 0);
	close(out[0]);
	close(out[1]);
	CHECK(reserve_go(&reserve, "name") == -1);
	CHECK_ERROR("cannot be started again");
}

static const struct test tests[] = {
	TEST(it_runs_by_its_name_and_its_status_is_ours),
	TEST(it_runs_as_often_as_is_asked),
	TEST(bad_input_is_status_2),
	TEST(a_crash_is_ours),
	TEST(signals_are_passed_on),
	TEST(it_goes_with_a_launcher_that_is_killed),
	TEST(it_is_not_needed_mostly),
	TESTS_END
};

const struct suite suite_reserve = { "reserve", tests };
