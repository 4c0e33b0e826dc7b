// SPDX-License-Identifier: GPL-2.0-only
#include "terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "error.h"
#include "util.h"

static struct termios saved, raw;
static volatile sig_atomic_t is_raw;

bool terminal_is_ours(void)
{
	return isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp();
}

void terminal_restore(void)
{
	if (!is_raw)
		return;
	is_raw = 0;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
}

static void crash(int signal_number)
{
	terminal_restore();
	/* SA_RESETHAND: the default action is back and takes the process down. */
	raise(signal_number);
}

static void catch_crashes(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	struct sigaction action = { .sa_handler = crash, .sa_flags = (int)SA_RESETHAND };

	for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &action, NULL);
}

int terminal_raw(void)
{
	if (tcgetattr(STDIN_FILENO, &saved))
		return error_set("stdin: %s; use --console pty or file:PATH", strerror(errno));
	raw = saved;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
	raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL | INLCR | IGNCR | ISTRIP | BRKINT);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	atexit(terminal_restore);
	catch_crashes();
	is_raw = 1;
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw)) {
		is_raw = 0;
		return error_set("stdin: %s; use --console pty or file:PATH", strerror(errno));
	}
	return 0;
}

void terminal_stop(void)
{
	bool was_raw = is_raw;

	terminal_restore();
	raise(SIGSTOP);
	if (was_raw && terminal_is_ours() && !tcsetattr(STDIN_FILENO, TCSADRAIN, &raw))
		is_raw = 1;
}
