// SPDX-License-Identifier: GPL-2.0-only
/* Signals before there is an event loop; each case is a child, whose mask may change. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../signals.h"
#include "tap.h"

/* Whether @check is true in a child. */
static bool in_child(bool (*check)(void))
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(check() ? 0 : 1);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       !WEXITSTATUS(status);
}

static bool finds_what_is_pending(void)
{
	signals_block();
	if (signals_pending())
		return false;
	raise(SIGWINCH);
	if (signals_pending())
		return false;
	raise(SIGTERM);
	return signals_pending() == SIGTERM;
}

static void a_signal_that_ends_a_run_is_pending(void)
{
	CHECK(in_child(finds_what_is_pending));
}

/* The status of a child that ends with @status, or stays where that is negative. */
static int wait_for_child(int status)
{
	pid_t pid = fork();

	if (!pid) {
		signals_unblock();
		if (status >= 0)
			_exit(status);
		for (;;)
			pause();
	}
	return pid < 0 ? -1 : signals_wait_child(pid);
}

static bool waits_to_its_end(void)
{
	int status;

	signals_block();
	status = wait_for_child(7);
	return status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 7;
}

static bool kills_what_stays(void)
{
	int status;

	signals_block();
	raise(SIGINT);
	status = wait_for_child(-1);
	return status >= 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
	       signals_pending() == SIGINT;
}

/* Another process says so while it is waited for. */
static bool kills_what_stays_later(void)
{
	pid_t self = getpid(), other;
	int status;

	signals_block();
	other = fork();
	if (!other) {
		/* Not before it waits in poll(): /proc says that it sleeps. */
		char path[64], state;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/stat", self);
		do {
			file = fopen(path, "r");
			if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
				_exit(1);
			fclose(file);
		} while (state != 'S');
		kill(self, SIGHUP);
		_exit(0);
	}
	status = other < 0 ? -1 : wait_for_child(-1);
	waitpid(other, NULL, 0);
	return status >= 0 && WIFSIGNALED(status) && signals_pending() == SIGHUP;
}

static void a_child_is_waited_for_until_a_signal_comes(void)
{
	CHECK(in_child(waits_to_its_end));
	CHECK(in_child(kills_what_stays));
	CHECK(in_child(kills_what_stays_later));
}

static const struct test tests[] = {
	TEST(a_signal_that_ends_a_run_is_pending),
	TEST(a_child_is_waited_for_until_a_signal_comes),
	TESTS_END
};

const struct suite suite_signals = { "signals", tests };
