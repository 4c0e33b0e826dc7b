// SPDX-License-Identifier: GPL-2.0-only
#include "signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error.h"
#include "say.h"
#include "status.h"
#include "terminal.h"
#include "util.h"

#define BUTTON_SECONDS 10

static void end_by(struct signals *signals, int number)
{
	char sentence[64];

	snprintf(sentence, sizeof(sentence), "ended by SIG%s", sigabbrev_np(number));
	end_run(signals->ending, STATUS_ENDED, sentence);
}

static void press_button(struct signals *signals, int number)
{
	struct itimerspec once = { .it_value.tv_sec = BUTTON_SECONDS };

	(void)number;
	say("power button pressed");
	pm_press_button(signals->pm);
	timerfd_settime(signals->reminder.fd, 0, &once, NULL);
}

static void stop_process(struct signals *signals, int number)
{
	(void)signals;
	(void)number;
	terminal_stop();
}

static void tell_resized(struct signals *signals, int number)
{
	(void)number;
	if (signals->resized)
		signals->resized(signals->resized_context);
}

static const struct {
	int number;
	void (*act)(struct signals *signals, int number);
} actions[] = {
	{ SIGINT, end_by },	  { SIGTERM, end_by },	    { SIGHUP, end_by },
	{ SIGQUIT, end_by },	  { SIGPWR, press_button }, { SIGTSTP, stop_process },
	{ SIGWINCH, tell_resized },
};

static void fill_set(sigset_t *set)
{
	sigemptyset(set);
	for (unsigned int i = 0; i < ARRAY_SIZE(actions); i++)
		sigaddset(set, actions[i].number);
}

void signals_block(void)
{
	sigset_t set;

	fill_set(&set);
	sigaddset(&set, SIGRTMIN);	/* the kick: for vCPU threads only */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	/* A reader of the console that went away is an error of write(), not our end. */
	signal(SIGPIPE, SIG_IGN);
}

void signals_unblock(void)
{
	sigset_t none;

	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
}

static bool ends_run(unsigned int action)
{
	return actions[action].act == end_by;
}

int signals_pending(void)
{
	sigset_t set;

	if (sigpending(&set))
		return 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(actions); i++)
		if (ends_run(i) && sigismember(&set, actions[i].number) == 1)
			return actions[i].number;
	return 0;
}

/* A signalfd of what ends the run: readable as long as that is pending. */
static int open_ends(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (unsigned int i = 0; i < ARRAY_SIZE(actions); i++)
		if (ends_run(i))
			sigaddset(&set, actions[i].number);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int signals_wait_child(pid_t pid)
{
	struct pollfd fds[] = {
		{ .fd = pidfd_open(pid, 0), .events = POLLIN },
		{ .fd = open_ends(), .events = POLLIN },
	};
	int status, ret;

	/* Without them it is waited for, however long that takes. */
	while (fds[0].fd >= 0 && !signals_pending() && !(fds[0].revents & POLLIN))
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			break;
	if (signals_pending())
		kill(pid, SIGKILL);
	do {
		ret = waitpid(pid, &status, 0);
	} while (ret < 0 && errno == EINTR);
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i].fd >= 0)
			close(fds[i].fd);
	return ret < 0 ? -1 : status;
}

static void signal_ready(struct loop_source *source, uint32_t events)
{
	struct signals *signals = container_of(source, struct signals, source);
	struct signalfd_siginfo info;

	(void)events;
	if (read(source->fd, &info, sizeof(info)) != sizeof(info))
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(actions); i++)
		if ((uint32_t)actions[i].number == info.ssi_signo)
			actions[i].act(signals, actions[i].number);
}

static void reminder_ready(struct loop_source *source, uint32_t events)
{
	struct signals *signals = container_of(source, struct signals, reminder);

	(void)events;
	loop_consume(source->fd);
	fprintf(stderr, "kiln: the guest has not powered off %d s after its power button: %s; SIGTERM ends it at once\n",
		BUTTON_SECONDS, pm_button_explain(pm_button_state(signals->pm)));
}

int signals_start(struct signals *signals, struct loop *loop, struct ending *ending,
		  struct pm *pm)
{
	sigset_t set;

	fill_set(&set);
	signals->ending = ending;
	signals->pm = pm;
	signals->source = (struct loop_source){ signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
						signal_ready };
	signals->reminder = (struct loop_source){
		timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), reminder_ready
	};
	if (signals->source.fd < 0 || signals->reminder.fd < 0)
		return error_set("signalfd or timerfd: %s; free file descriptors (ulimit -n)",
				 strerror(errno));
	if (loop_add(loop, &signals->source, EPOLLIN))
		return -1;
	return loop_add(loop, &signals->reminder, EPOLLIN);
}

void signals_close(struct signals *signals)
{
	if (signals->source.fd >= 0)
		close(signals->source.fd);
	if (signals->reminder.fd >= 0)
		close(signals->reminder.fd);
	signals->source.fd = signals->reminder.fd = -1;
}
