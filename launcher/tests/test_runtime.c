// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names and sockets of guests. In a child that is nobody where we are root,
 * with the tests' own directory as $TMPDIR: /run/kiln stays as it is.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../error.h"
#include "../runtime.h"
#include "../util.h"
#include "tap.h"

static struct runtime runtime;
static char base[128];

static void become_nobody(void)
{
	snprintf(base, sizeof(base), "/tmp/kiln-runtime-%d", getpid());
	mkdir(base, 0777);
	if (!geteuid() && (chown(base, 65534, 65534) || setgid(65534) || setuid(65534)))
		_exit(1);
	unsetenv("XDG_RUNTIME_DIR");
	setenv("TMPDIR", base, 1);
}

/* Runs @body in the child; true where it found nothing wrong and left nothing. */
static bool as_nobody(void (*body)(void))
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		become_nobody();
		test_failed = false;
		body();
		fflush(stdout);
		if (!test_failed && rmdir(base))
			_exit(2);
		_exit(test_failed);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static void take_and_give_back(void)
{
	char name[RUNTIME_NAME_MAX + 1] = "one", path[256];
	struct stat st;
	char **names;
	int fd, client;

	CHECK(!runtime_open(&runtime, false) && runtime.fd < 0);
	CHECK(!runtime_open(&runtime, true));
	CHECK(!fstat(runtime.fd, &st) && (st.st_mode & 0777) == 0700);
	fd = runtime_listen(&runtime, name);
	CHECK(fd >= 0);
	snprintf(path, sizeof(path), "%s/one", runtime.path);
	CHECK(!stat(path, &st) && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
	CHECK(runtime_listen(&runtime, name) == -1);
	CHECK_ERROR("one: a guest of this name runs; choose another name");
	client = runtime_connect(&runtime, "one");
	CHECK(client >= 0);
	close(client);
	CHECK(runtime_connect(&runtime, "two") == -1);
	CHECK_ERROR("two: no such guest; there are: one");
	names = runtime_names(&runtime);
	CHECK(names && names[0] && !strcmp(names[0], "one") && !names[1]);
	runtime_free_names(names);
	runtime_forget(&runtime, name);
	close(fd);
	runtime_close(&runtime);
}

static void a_name_is_taken_once_and_given_back(void)
{
	CHECK(as_nobody(take_and_give_back));
}

static void take_defaults(void)
{
	char names[3][RUNTIME_NAME_MAX + 1] = { "", "", "" };
	int fds[3];

	CHECK(!runtime_open(&runtime, true));
	for (unsigned int i = 0; i < 2; i++)
		fds[i] = runtime_listen(&runtime, names[i]);
	CHECK(!strcmp(names[0], "vm0") && !strcmp(names[1], "vm1"));
	close(fds[0]);		/* as if killed */
	fds[2] = runtime_listen(&runtime, names[2]);
	CHECK(fds[2] >= 0 && !strcmp(names[2], "vm0"));
	runtime_forget(&runtime, "vm0");
	runtime_forget(&runtime, "vm1");
	runtime_close(&runtime);
}

static void without_a_name_the_first_free_one_is_taken(void)
{
	CHECK(as_nobody(take_defaults));
}

static void leave_stale(void)
{
	char name[RUNTIME_NAME_MAX + 1] = "dead", path[256];
	char **names;
	int fd;

	CHECK(!runtime_open(&runtime, true));
	fd = runtime_listen(&runtime, name);
	close(fd);
	snprintf(path, sizeof(path), "%s/dead", runtime.path);
	CHECK(!access(path, F_OK));
	CHECK(runtime_connect(&runtime, "dead") == -1);
	CHECK_ERROR("dead: no such guest; none of yours runs");
	names = runtime_names(&runtime);
	CHECK(names && !names[0] && access(path, F_OK));
	runtime_free_names(names);
	runtime_close(&runtime);
}

static void a_dead_guest_s_socket_is_cleared_away(void)
{
	CHECK(as_nobody(leave_stale));
}

static void meet_files(void)
{
	char name[RUNTIME_NAME_MAX + 1] = "file";
	char **names;
	int fd;

	CHECK(!runtime_open(&runtime, true));
	fd = openat(runtime.fd, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	close(fd);
	CHECK(runtime_listen(&runtime, name) == -1);
	names = runtime_names(&runtime);
	CHECK(names && !names[0]);
	runtime_free_names(names);
	/* What is no socket of ours stays. */
	CHECK(!unlinkat(runtime.fd, "file", 0));
	runtime_close(&runtime);
}

static void what_is_no_socket_stays(void)
{
	CHECK(as_nobody(meet_files));
}

static void meet_others(void)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/kiln-%u", base, geteuid());
	CHECK(!mkdir(path, 0777) && !chmod(path, 0777));
	CHECK(runtime_open(&runtime, true) == -1);
	CHECK_ERROR("others may write it; `chmod 700` it");
	CHECK(!rmdir(path));
	CHECK(!symlink("/tmp", path));
	CHECK(runtime_open(&runtime, true) == -1);
	CHECK(!unlink(path));
	setenv("XDG_RUNTIME_DIR", "/", 1);
	CHECK(runtime_open(&runtime, false) || runtime.fd < 0);
}

static void a_directory_that_others_may_write_is_refused(void)
{
	CHECK(as_nobody(meet_others));
}

static void lose_the_directory(void)
{
	char name[RUNTIME_NAME_MAX + 1] = "one";
	struct runtime other;
	int fd;

	CHECK(!runtime_open(&runtime, true) && !runtime_open(&other, true));
	runtime_close(&other);		/* the last of its guests ended */
	fd = runtime_listen(&runtime, name);
	CHECK(fd >= 0 && !runtime_open(&other, false) && other.fd >= 0);
	runtime_forget(&runtime, name);
	close(other.fd);
	runtime_close(&runtime);
}

static void a_directory_that_went_meanwhile_is_made_again(void)
{
	CHECK(as_nobody(lose_the_directory));
}

static void names_are_checked(void)
{
	static const char *const good[] = { "a", "7", "vm0", "web-1.example_x" };
	static const char *const bad[] = { "", ".", "..", "-x", "_x", "a/b", "a b", "a\nb", "\xc3\xa4",
					   "12345678901234567890123456789012345678901234567890123456789012345" };

	for (unsigned int i = 0; i < ARRAY_SIZE(good); i++)
		CHECK(!runtime_check_name(good[i]));
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK(runtime_check_name(bad[i]) == -1);
}

static const struct test tests[] = {
	TEST(a_name_is_taken_once_and_given_back),
	TEST(without_a_name_the_first_free_one_is_taken),
	TEST(a_dead_guest_s_socket_is_cleared_away),
	TEST(what_is_no_socket_stays),
	TEST(a_directory_that_others_may_write_is_refused),
	TEST(a_directory_that_went_meanwhile_is_made_again),
	TEST(names_are_checked),
	TESTS_END
};

const struct suite suite_runtime = { "runtime", tests };
