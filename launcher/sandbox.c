// SPDX-License-Identifier: GPL-2.0-only
#include "sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "error.h"
#include "parse.h"
#include "say.h"
#include "terminal.h"
#include "util.h"

/* ---- options ---- */

int sandbox_parse_seccomp(struct sandbox_config *config, const char *text)
{
	static const struct {
		const char *word;
		enum sandbox_seccomp mode;
	} words[] = { { "on", SANDBOX_ON }, { "log", SANDBOX_LOG }, { "off", SANDBOX_OFF } };

	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(words[i].word, text))
			continue;
		config->seccomp = words[i].mode;
		return 0;
	}
	return error_set("--seccomp %s: unknown; give on, log or off", text);
}

/* The file itself: a static program has no name services. */
static int find_name(struct sandbox_config *config, const char *name)
{
	FILE *file = fopen("/etc/passwd", "re");
	struct passwd *entry;
	int ret = -1;

	while (file && ret && (entry = fgetpwent(file))) {
		if (strcmp(entry->pw_name, name))
			continue;
		config->uid = entry->pw_uid;
		config->gid = entry->pw_gid;
		ret = 0;
	}
	if (file)
		fclose(file);
	if (ret)
		error_set("--user %s: not in /etc/passwd; give a name from there, or UID:GID", name);
	return ret;
}

int sandbox_parse_user(struct sandbox_config *config, const char *text)
{
	char uid_text[32];
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	uint64_t uid, gid;

	config->change_user = true;
	if (len && len < sizeof(uid_text) && strspn(text, "0123456789") == len) {
		memcpy(uid_text, text, len);
		uid_text[len] = '\0';
		/* The highest number means "none" to the system calls. */
		if (parse_number("--user", uid_text, 0, UINT32_MAX - 1, &uid) ||
		    parse_number("--user", colon ? colon + 1 : uid_text, 0, UINT32_MAX - 1, &gid))
			return -1;
		config->uid = (uid_t)uid;
		config->gid = (gid_t)gid;
		return 0;
	}
	return find_name(config, text);
}

/* ---- privileges ---- */

static int become(const struct sandbox_config *config)
{
	int parent_signal = 0;

	if (!config->change_user)
		return 0;
	prctl(PR_GET_PDEATHSIG, &parent_signal);
	if (setgroups(0, NULL) || setresgid(config->gid, config->gid, config->gid) ||
	    setresuid(config->uid, config->uid, config->uid))
		return error_set("--user: user %u, group %u: %s; only root can become another user",
				 config->uid, config->gid, strerror(errno));
	/* The change of user took it away (reserve.c). */
	prctl(PR_SET_PDEATHSIG, parent_signal);
	return 0;
}

/* Those of a file with capabilities would come back by execve(), but for the bounding set. */
static void drop_bounding_set(void)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);	/* EPERM: it had none to begin with */
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, none) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return error_set("privileges cannot be given up: %s; run it as a plain user of the group kiln",
				 strerror(errno));
	return 0;
}

/* ---- system calls ---- */

/* Made by filters.c: forbid[], note[], confine[] and names[]. */
#include "filters.inc"

static char *append(char *to, const char *text)
{
	while (*text)
		*to++ = *text++;
	return to;
}

static char *append_number(char *to, unsigned long value, unsigned int base)
{
	char digits[32];
	unsigned int count = 0;

	do {
		digits[count++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (count)
		*to++ = digits[--count];
	return to;
}

/* On whatever thread made the call; nothing here that a signal handler may not do. */
static void forbidden(int number, siginfo_t *info, void *context)
{
	const ucontext_t *user = context;
	unsigned int call = (unsigned int)info->si_syscall;
	char line[512], *end = line;

	terminal_restore();
	end = append(end, "kiln: system call ");
	end = append(end, call < ARRAY_SIZE(names) && names[call] ? names[call] : "unknown");
	end = append(end, " (number ");
	end = append_number(end, call, 10);
	if (call == SYS_ioctl) {
		end = append(end, ", request 0x");
		end = append_number(end, (unsigned long)user->uc_mcontext.gregs[REG_RSI], 16);
	}
	end = append(end, ") at 0x");
	end = append_number(end, (unsigned long)info->si_call_addr, 16);
	end = append(end, " is not one the launcher may make, so it ends here; report this, and use --seccomp log until then\n");
	if (write(STDERR_FILENO, line, (size_t)(end - line)) < 0)
		number = SIGSYS;
	/* SA_RESETHAND: this time it is the default action's. */
	raise(number);
}

static int catch_forbidden(void)
{
	struct sigaction action = { .sa_sigaction = forbidden,
				    .sa_flags = SA_SIGINFO | (int)SA_RESETHAND };

	return sigaction(SIGSYS, &action, NULL);
}

static bool kernel_has_it(void)
{
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
}

/* Of the calling thread and those it starts. The SSB mitigation that older kernels tie to it would slow guests down, too. */
static int load(const struct sock_filter *filter, unsigned int len)
{
	const struct sock_fprog program = { (unsigned short)len,
					    (struct sock_filter *)(uintptr_t)filter };

	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW,
			    &program);
}

static int filter_calls(enum sandbox_seccomp mode)
{
	int ret = catch_forbidden();

	if (!ret && mode == SANDBOX_LOG)
		ret = load(note, ARRAY_SIZE(note));
	else if (!ret)
		ret = load(forbid, ARRAY_SIZE(forbid));
	if (ret)
		return error_set("--seccomp: the filter cannot be loaded: %s; use --seccomp off",
				 strerror(errno));
	return 0;
}

const char *sandbox_seccomp_state(const struct sandbox_config *config)
{
	if (config->seccomp == SANDBOX_OFF)
		return "off";
	if (!kernel_has_it())
		return "not in this kernel";
	return config->seccomp == SANDBOX_LOG ? "log" : "on";
}

int sandbox_enter(const struct sandbox_config *config)
{
	/* What the clock's gmtime_r() would read later, from a file. */
	tzset();
	drop_bounding_set();
	if (become(config) || drop_capabilities())
		return -1;
	if (config->seccomp == SANDBOX_OFF)
		return 0;
	if (kernel_has_it())
		return filter_calls(config->seccomp);
	if (config->seccomp != SANDBOX_DEFAULT)
		return error_set("--seccomp: this kernel has none (CONFIG_SECCOMP_FILTER); leave it out");
	say("no seccomp in this kernel");
	return 0;
}

int sandbox_confine(void)
{
	drop_bounding_set();
	if (drop_capabilities())
		return -1;
	if (kernel_has_it() && load(confine, ARRAY_SIZE(confine)))
		return error_set("a process cannot be confined: %s; use a kernel with CONFIG_SECCOMP_FILTER",
				 strerror(errno));
	return 0;
}
