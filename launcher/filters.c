// SPDX-License-Identifier: GPL-2.0-only
/*
 * Run when the launcher is built: which system calls it may make, by libseccomp
 * as programs for the kernel's filter, in C, on standard output. To make them
 * at each start took five times as long as all else of it.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>

#include "util.h"

#define NAMES	512

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
	{ SCMP_SYS(ioctl), ONE_REQUEST(TUNSETQUEUE) },
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

/* All of a libseccomp that is too old, and of a table that is wrong, ends the build. */
static void must(int ret, const char *what)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "filters: %s: %s\n", what, strerror(-ret));
	exit(1);
}

static void add_rules(scmp_filter_ctx filter, const struct rule *rules, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		const struct argument *arg = &rules[i].argument;
		struct scmp_arg_cmp compare = { arg->index, SCMP_CMP_MASKED_EQ, arg->mask,
						arg->value };

		must(seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rules[i].call,
					    arg->mask ? 1 : 0, &compare), "a rule");
	}
}

static void print(scmp_filter_ctx filter, const char *name)
{
	struct sock_filter code;
	FILE *file = tmpfile();

	must(file ? 0 : -ENOENT, "a temporary file");
	must(seccomp_export_bpf(filter, fileno(file)), name);
	rewind(file);
	printf("static const struct sock_filter %s[] = {\n", name);
	while (fread(&code, sizeof(code), 1, file) == 1)
		printf("\t{ 0x%02x, %u, %u, 0x%08x },\n", code.code, code.jt, code.jf, code.k);
	printf("};\n\n");
	fclose(file);
}

/* What becomes of calls that have no rule is @action. */
static void make_run(const char *name, uint32_t action)
{
	scmp_filter_ctx filter = seccomp_init(action);

	must(filter ? 0 : -ENOMEM, name);
	add_rules(filter, allowed, ARRAY_SIZE(allowed));
	/* Its flags are in memory, where a filter cannot look: glibc then takes clone(). */
	must(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0), "clone3");
	must(seccomp_syscall_priority(filter, SCMP_SYS(ioctl), UINT8_MAX), "a priority");
	print(filter, name);
	seccomp_release(filter);
}

static void make_confined(const char *name)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);

	must(filter ? 0 : -ENOMEM, name);
	add_rules(filter, confined, ARRAY_SIZE(confined));
	print(filter, name);
	seccomp_release(filter);
}

static void print_names(void)
{
	printf("static const char *const names[%d] = {\n", NAMES);
	for (int call = 0; call < NAMES; call++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, call);

		if (name)
			printf("\t[%d] = \"%s\",\n", call, name);
		free(name);
	}
	printf("};\n");
}

int main(void)
{
	make_run("forbid", SCMP_ACT_TRAP);
	make_run("note", SCMP_ACT_LOG);
	make_confined("confine");
	print_names();
	return fflush(stdout) ? 1 : 0;
}
