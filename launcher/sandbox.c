// SPDX-License-Identifier: GPL-2.0-only
#include "sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <termios.h>
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

#define NAMES_MAX 512

static char *names[NAMES_MAX];

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
	end = append(end, call < NAMES_MAX && names[call] ? names[call] : "unknown");
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

	for (int call = 0; call < NAMES_MAX; call++)
		names[call] = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);
	return sigaction(SIGSYS, &action, NULL);
}

/* What a rule asks of one argument: argument & @mask is @value. */
struct argument {
	unsigned int index;
	uint64_t mask, value;
};

#define ANY		{ 0, 0, 0 }
#define ALL_BITS	UINT32_MAX	/* of what the kernel takes as an int */
#define REQUEST(type)	{ 1, 0xff00, (uint64_t)(type) << 8 }
#define ONE_REQUEST(nr)	{ 1, ALL_BITS, nr }
#define THREAD		(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)

struct rule {
	int call;
	struct argument argument;
};

/* The busiest first. */
static const struct rule allowed[] = {
	/* KVM's, kiln's and vhost's calls on the descriptors there are; nothing opens /dev/kiln again. */
	{ SCMP_SYS(ioctl), REQUEST(0xae) },
	{ SCMP_SYS(ioctl), REQUEST(0xdc) },
	{ SCMP_SYS(ioctl), REQUEST(0xaf) },
	/* The loop. */
	{ SCMP_SYS(epoll_wait), ANY },
	{ SCMP_SYS(epoll_pwait), ANY },
	{ SCMP_SYS(epoll_ctl), ANY },
	{ SCMP_SYS(poll), ANY },
	{ SCMP_SYS(ppoll), ANY },
	{ SCMP_SYS(timerfd_settime), ANY },
	{ SCMP_SYS(timerfd_gettime), ANY },
	/* Bytes of consoles, control sockets and what else is open. */
	{ SCMP_SYS(read), ANY },
	{ SCMP_SYS(readv), ANY },
	{ SCMP_SYS(pread64), ANY },
	{ SCMP_SYS(write), ANY },
	{ SCMP_SYS(writev), ANY },
	{ SCMP_SYS(pwrite64), ANY },
	{ SCMP_SYS(accept4), ANY },
	{ SCMP_SYS(sendto), ANY },
	{ SCMP_SYS(recvfrom), ANY },
	{ SCMP_SYS(shutdown), ANY },
	{ SCMP_SYS(close), ANY },
	{ SCMP_SYS(dup), ANY },
	{ SCMP_SYS(fcntl), ANY },
	{ SCMP_SYS(fstat), ANY },
	{ SCMP_SYS(newfstatat), ANY },	/* how glibc asks for fstat(); tells names, opens nothing */
	{ SCMP_SYS(lseek), ANY },
	/* What a guest's driver asks of a tap with vhost=kernel. */
	{ SCMP_SYS(ioctl), ONE_REQUEST(TUNSETOFFLOAD) },
	/* Terminals: raw and back, size, foreground; not TIOCSTI. */
	{ SCMP_SYS(ioctl), ONE_REQUEST(TCGETS) },
	{ SCMP_SYS(ioctl), ONE_REQUEST(TCSETS) },
	{ SCMP_SYS(ioctl), ONE_REQUEST(TCSETSW) },
	{ SCMP_SYS(ioctl), ONE_REQUEST(TIOCGWINSZ) },
	{ SCMP_SYS(ioctl), ONE_REQUEST(TIOCGPGRP) },
	/* Memory, none of it to be executed. */
	{ SCMP_SYS(mmap), { 2, PROT_EXEC, 0 } },
	{ SCMP_SYS(mprotect), { 2, PROT_EXEC, 0 } },
	{ SCMP_SYS(munmap), ANY },
	{ SCMP_SYS(mremap), ANY },
	{ SCMP_SYS(madvise), ANY },
	{ SCMP_SYS(brk), ANY },
	/* Threads of our own. */
	{ SCMP_SYS(clone), { 0, THREAD, THREAD } },
	{ SCMP_SYS(futex), ANY },
	{ SCMP_SYS(set_robust_list), ANY },
	{ SCMP_SYS(rseq), ANY },
	{ SCMP_SYS(sched_yield), ANY },
	{ SCMP_SYS(exit), ANY },
	{ SCMP_SYS(exit_group), ANY },
	/* Time. */
	{ SCMP_SYS(clock_gettime), ANY },
	{ SCMP_SYS(clock_nanosleep), ANY },
	{ SCMP_SYS(nanosleep), ANY },
	{ SCMP_SYS(gettimeofday), ANY },
	{ SCMP_SYS(time), ANY },
	/* Signals: kicks, and helpers that have to end. */
	{ SCMP_SYS(tgkill), ANY },
	{ SCMP_SYS(kill), ANY },
	{ SCMP_SYS(pidfd_send_signal), ANY },
	{ SCMP_SYS(wait4), ANY },
	{ SCMP_SYS(waitid), ANY },
	{ SCMP_SYS(rt_sigtimedwait), ANY },
	{ SCMP_SYS(getpid), ANY },
	{ SCMP_SYS(gettid), ANY },
	{ SCMP_SYS(getpgrp), ANY },
	{ SCMP_SYS(rt_sigaction), ANY },
	{ SCMP_SYS(rt_sigprocmask), ANY },
	{ SCMP_SYS(rt_sigreturn), ANY },
	{ SCMP_SYS(restart_syscall), ANY },
	{ SCMP_SYS(sigaltstack), ANY },
	{ SCMP_SYS(getrandom), ANY },
	/* Taking away what was made: sockets, files, the directory of the sockets. */
	{ SCMP_SYS(unlink), ANY },
	{ SCMP_SYS(unlinkat), ANY },
	{ SCMP_SYS(rmdir), ANY },
	{ SCMP_SYS(flock), ANY },
};

/* sandbox_confine(): what malloc() and _exit() need; there are no descriptors to map. */
static const struct rule confined[] = {
	{ SCMP_SYS(brk), ANY },
	{ SCMP_SYS(mmap), { 2, PROT_EXEC, 0 } },
	{ SCMP_SYS(mprotect), { 2, PROT_EXEC, 0 } },
	{ SCMP_SYS(munmap), ANY },
	{ SCMP_SYS(mremap), ANY },
	{ SCMP_SYS(madvise), ANY },
	{ SCMP_SYS(exit_group), ANY },
	{ SCMP_SYS(sigaltstack), ANY },	/* asked for by the address sanitizer before the end */
};

static int add_rules(scmp_filter_ctx filter, const struct rule *rules, unsigned int count)
{
	int ret = 0;

	for (unsigned int i = 0; i < count && !ret; i++) {
		const struct argument *arg = &rules[i].argument;
		struct scmp_arg_cmp compare = { arg->index, SCMP_CMP_MASKED_EQ, arg->mask,
						arg->value };

		ret = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rules[i].call,
					     arg->mask ? 1 : 0, &compare);
	}
	return ret;
}

static int fill(scmp_filter_ctx filter)
{
	int ret = add_rules(filter, allowed, ARRAY_SIZE(allowed));

	/* Its flags are in memory, where a filter cannot look: glibc then takes clone(). */
	if (!ret)
		ret = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	return ret;
}

static bool kernel_has_it(void)
{
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
}

static int filter_calls(enum sandbox_seccomp mode)
{
	scmp_filter_ctx filter =
		seccomp_init(mode == SANDBOX_LOG ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
	int ret = -ENOMEM;

	if (filter)
		ret = fill(filter);
	/* The SSB mitigation that older kernels tie to seccomp would slow the guest down, too. */
	if (!ret)
		ret = seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
	if (!ret)
		ret = seccomp_syscall_priority(filter, SCMP_SYS(ioctl), UINT8_MAX);
	if (!ret)
		ret = catch_forbidden();
	if (!ret)
		ret = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	if (ret)
		return error_set("--seccomp: the filter cannot be loaded: %s; use --seccomp off",
				 strerror(ret < 0 ? -ret : errno));
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
	scmp_filter_ctx filter;
	int ret = -ENOMEM;

	drop_bounding_set();
	if (drop_capabilities())
		return -1;
	if (!kernel_has_it())
		return 0;
	filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (filter)
		ret = add_rules(filter, confined, ARRAY_SIZE(confined));
	if (!ret)
		ret = seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
	if (!ret)
		ret = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	if (ret)
		return error_set("a process cannot be confined: %s; use a kernel with CONFIG_SECCOMP_FILTER",
				 strerror(-ret));
	return 0;
}
