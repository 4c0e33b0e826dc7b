// SPDX-License-Identifier: GPL-2.0-only
#include "reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error.h"
#include "runtime.h"
#include "status.h"
#include "util.h"

/* What is for the launcher, whichever process that is now (signals.c). */
static const int passed_on[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPWR, SIGTSTP, SIGWINCH };

static void fill_set(sigset_t *set)
{
	sigemptyset(set);
	for (unsigned int i = 0; i < ARRAY_SIZE(passed_on); i++)
		sigaddset(set, passed_on[i]);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGCONT);
	sigaddset(set, SIGIO);
}

/* ---- standing in ---- */

/* True once @pid has ended, with its wait status. One that stopped stops us, too. */
static bool child_ended(pid_t pid, int *status)
{
	pid_t changed = waitpid(pid, status, WNOHANG | WUNTRACED);

	if (changed != pid)
		return changed < 0 && errno != EINTR;
	if (!WIFSTOPPED(*status))
		return true;
	raise(SIGSTOP);
	kill(pid, SIGCONT);
	return false;
}

static bool ends(int number)
{
	return number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT;
}

/* Whether nobody holds the other end of @pipe any more. */
static bool hung_up(int pipe)
{
	struct pollfd poll_fd = { .fd = pipe };

	return pipe >= 0 && poll(&poll_fd, 1, 0) == 1 && poll_fd.revents & POLLHUP;
}

/*
 * Passes signals on to @pid until it ends, and ends it where the other end of
 * @pipe (-1: none) goes. Where it is another user's (--user), all that can be
 * done about a signal is to end, which takes that way. Returns its exit status; ends as it did where a signal ended it.
 */
static int stand_in(pid_t pid, int pipe)
{
	int status = 0, number;
	sigset_t set;

	fill_set(&set);
	while (!child_ended(pid, &status)) {
		if (hung_up(pipe))
			kill(pid, SIGKILL);
		number = sigwaitinfo(&set, NULL);
		if (number > 0 && number != SIGCHLD && number != SIGIO && kill(pid, number) &&
		    errno == EPERM && ends(number))
			return STATUS_ENDED;
	}
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	signal(WTERMSIG(status), SIG_DFL);
	raise(WTERMSIG(status));
	return STATUS_FAILED;
}

/* ---- the process ---- */

/* Goes with @parent, which may be gone already. */
static void follow(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(STATUS_FAILED);
}

static void set_signals(void (*action)(int))
{
	for (unsigned int i = 0; i < ARRAY_SIZE(passed_on); i++)
		signal(passed_on[i], action);
}

static int run_child(reserve_run_fn run, void *context, const char *name, int again_fd)
{
	bool again = false;
	sigset_t none;
	int status;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	status = run(context, name, &again);
	if (status < 0)
		fprintf(stderr, "kiln: %s\n", error_text());
	fflush(NULL);
	/* Written or not: the pipe's end comes with ours. */
	if (again && write(again_fd, "", 1) != 1)
		status = STATUS_FAILED;
	return status < 0 ? STATUS_USAGE : status;
}

/* One run in a child; *@again: it asks for another. It ends with @pipe. */
static int run_once(reserve_run_fn run, void *context, const char *name, int pipe, bool *again)
{
	pid_t self = getpid(), pid;
	int ends[2], status;
	char byte;

	if (pipe2(ends, O_CLOEXEC))
		return STATUS_FAILED;
	pid = fork();
	if (!pid) {
		close(ends[0]);
		follow(self);
		_exit(run_child(run, context, name, ends[1]));
	}
	close(ends[1]);
	status = pid < 0 ? STATUS_FAILED : stand_in(pid, pipe);
	*again = read(ends[0], &byte, 1) == 1;
	close(ends[0]);
	return status;
}

/* Waits for a name; without one it is not needed. */
static void wait_for_turn(int fd, char name[RUNTIME_NAME_MAX + 1])
{
	ssize_t n = read(fd, name, RUNTIME_NAME_MAX);

	if (n <= 0)
		_exit(STATUS_OFF);
	name[n] = '\0';
	if (runtime_check_name(name))
		_exit(STATUS_FAILED);
}

/*
 * The launcher's end is learned from the pipe (SIGIO), not from its parent's
 * death signal: one that became another user may not send us that.
 */
static int live(int fd, reserve_run_fn run, void *context)
{
	char name[RUNTIME_NAME_MAX + 1];
	bool again = true;
	sigset_t set;
	int status = STATUS_FAILED;

	set_signals(SIG_IGN);
	wait_for_turn(fd, name);
	fill_set(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fcntl(fd, F_SETOWN, getpid());
	fcntl(fd, F_SETFL, O_ASYNC);
	set_signals(SIG_DFL);
	while (again)
		status = run_once(run, context, name, fd, &again);
	return status;
}

void reserve_make(struct reserve *reserve, reserve_run_fn run, void *context)
{
	int ends[2];

	*reserve = (struct reserve){ 0, -1 };
	if (pipe2(ends, O_CLOEXEC))
		return;
	fflush(NULL);
	reserve->pid = fork();
	if (!reserve->pid) {
		close(ends[1]);
		_exit(live(ends[0], run, context));
	}
	close(ends[0]);
	if (reserve->pid > 0) {
		reserve->pipe = ends[1];
		return;
	}
	close(ends[1]);
	reserve->pid = 0;
}

void reserve_dismiss(struct reserve *reserve)
{
	if (!reserve->pid)
		return;
	close(reserve->pipe);
	while (waitpid(reserve->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	reserve->pid = 0;
}

int reserve_go(struct reserve *reserve, const char *name)
{
	size_t len = strlen(name);
	sigset_t set;
	int status;

	fill_set(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (!reserve->pid || write(reserve->pipe, name, len) != (ssize_t)len)
		return error_set("the guest cannot be started again: no process for it; run it again");
	status = stand_in(reserve->pid, -1);
	reserve->pid = 0;
	close(reserve->pipe);
	return status;
}
