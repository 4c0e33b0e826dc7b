// SPDX-License-Identifier: GPL-2.0-only
/* In children: what is given up is given up for good. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "../error.h"
#include "../sandbox.h"
#include "../util.h"
#include "tap.h"

static char said[1024];

/* Enters a sandbox in a child and does @act there: the child's wait status, its stderr in @said. */
static int inside(const struct sandbox_config *config, int (*act)(void))
{
	int ends[2], status = -1;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	if (pipe(ends))
		return -1;
	pid = fork();
	if (!pid) {
		dup2(ends[1], STDERR_FILENO);
		_exit(sandbox_enter(config) ? 100 : act());
	}
	close(ends[1]);
	while ((n = read(ends[0], said + used, sizeof(said) - 1 - used)) > 0)
		used += (size_t)n;
	said[used] = '\0';
	close(ends[0]);
	waitpid(pid, &status, 0);
	return status;
}

static bool killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static bool exited(int status, int code)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

static const struct sandbox_config on = { .seccomp = SANDBOX_ON };

static int make_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0;
}

static int run_program(void)
{
	char *argv[] = { (char *)(uintptr_t)"true", NULL };

	execv("/bin/true", argv);
	return 1;
}

static int open_file(void)
{
	return open("/etc/passwd", O_RDONLY) < 0;
}

static int push_input(void)
{
	return ioctl(0, TIOCSTI, "x") < 0;
}

static int make_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) == MAP_FAILED;
}

static int make_process(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return pid < 0;
}

static void a_forbidden_call_is_named_and_ends_the_process(void)
{
	static const struct {
		int (*act)(void);
		const char *name;
	} rows[] = {
		{ make_socket, "system call socket (number 41)" },
		{ run_program, "system call execve (" },
		{ open_file, "system call openat (" },
		{ push_input, "system call ioctl (number 16, request 0x5412)" },
		{ make_code, "system call mmap (" },
		{ make_process, "system call clone (" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		CHECK(killed(inside(&on, rows[i].act)));
		CHECK(strstr(said, rows[i].name));
		CHECK(strstr(said, "--seccomp log") && said[strlen(said) - 1] == '\n');
	}
}

/* Threads are for tests/control: here the sanitizers add calls of their own. */
static int do_what_a_run_does(void)
{
	struct winsize size;
	void *memory;

	/* No descriptor: allowed, and nothing there. */
	if (ioctl(-1, _IO(0xae, 0x80), 0) != -1 || errno != EBADF)
		return 1;
	if (ioctl(-1, TIOCGWINSZ, &size) != -1 || errno != EBADF)
		return 2;
	memory = malloc(1 << 20);
	if (!memory)
		return 3;
	free(memory);
	return 0;
}

static void what_a_run_needs_is_allowed(void)
{
	CHECK(exited(inside(&on, do_what_a_run_does), 0));
	CHECK(!*said);
}

static void log_and_off_forbid_nothing(void)
{
	static const struct sandbox_config log = { .seccomp = SANDBOX_LOG },
					   off = { .seccomp = SANDBOX_OFF };

	CHECK(exited(inside(&log, make_socket), 0));
	CHECK(exited(inside(&off, make_socket), 0));
	CHECK(!strcmp(sandbox_seccomp_state(&log), "log"));
	CHECK(!strcmp(sandbox_seccomp_state(&off), "off"));
	CHECK(!strcmp(sandbox_seccomp_state(&on), "on"));
}

static int has_privileges(void)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (!geteuid() && prctl(PR_CAPBSET_READ, cap, 0, 0, 0))
			return 1;
	/* Root without capabilities may not become somebody else any more. */
	if (!geteuid() && (!setgid(1) || errno != EPERM))
		return 2;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 3;
}

static void privileges_are_given_up(void)
{
	static const struct sandbox_config off = { .seccomp = SANDBOX_OFF };

	CHECK(exited(inside(&off, has_privileges), 0));
}

static int is_nobody(void)
{
	return getuid() == 65534 && geteuid() == 65534 && getegid() == 65533 && !getgroups(0, NULL) &&
			       setuid(0) < 0 ? 0 : 1;
}

static void another_user_is_only_for_root(void)
{
	struct sandbox_config config = { .seccomp = SANDBOX_OFF };

	CHECK(!sandbox_parse_user(&config, "65534:65533"));
	CHECK(exited(inside(&config, is_nobody), geteuid() ? 100 : 0));
}

static void options_are_checked(void)
{
	static const char *const bad_users[] = { "", "no-such-user-here", "1:", "1:x", "4294967295",
						 ":1", "99999999999" };
	struct sandbox_config config = { 0 };

	for (unsigned int i = 0; i < ARRAY_SIZE(bad_users); i++) {
		CHECK(sandbox_parse_user(&config, bad_users[i]) == -1);
		CHECK_ERROR("--user");
	}
	CHECK(!sandbox_parse_user(&config, "root") && !config.uid && !config.gid);
	CHECK(!sandbox_parse_user(&config, "77") && config.uid == 77 && config.gid == 77);
	CHECK(sandbox_parse_seccomp(&config, "maybe") == -1);
	CHECK_ERROR("--seccomp maybe");
	CHECK(!sandbox_parse_seccomp(&config, "log") && config.seccomp == SANDBOX_LOG);
}

/* In a child that is confined: does @act. */
static int confined(int (*act)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (!pid)
		_exit(sandbox_confine() ? 100 : act());
	waitpid(pid, &status, 0);
	return status;
}

static int use_memory(void)
{
	char *bytes = malloc(3 * MIB);
	int ret = !bytes;

	if (bytes)
		memset(bytes, 1, 3 * MIB);
	free(bytes);
	return ret;
}

static int say_something(void)
{
	return write(STDOUT_FILENO, "", 0) < 0;
}

static int read_something(void)
{
	char byte;

	return read(STDIN_FILENO, &byte, 0) < 0;
}

static void the_confined_have_memory_and_nothing_else(void)
{
	CHECK(exited(confined(use_memory), 0));
	CHECK(killed(confined(open_file)));
	CHECK(killed(confined(make_socket)));
	CHECK(killed(confined(run_program)));
	CHECK(killed(confined(say_something)));
	CHECK(killed(confined(read_something)));
}

static const struct test tests[] = {
	TEST(a_forbidden_call_is_named_and_ends_the_process),
	TEST(what_a_run_needs_is_allowed),
	TEST(log_and_off_forbid_nothing),
	TEST(privileges_are_given_up),
	TEST(another_user_is_only_for_root),
	TEST(options_are_checked),
	TEST(the_confined_have_memory_and_nothing_else),
	TESTS_END
};

const struct suite suite_sandbox = { "sandbox", tests };
