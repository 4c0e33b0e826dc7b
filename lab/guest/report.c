// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first process of the small Linux guests that kiln boots in the demo and the tests. It says what the guest
 * sees of its machine, then powers off; or, where the kernel command line has the word "shell", it gives a shell
 * on the console and powers off when that ends. With the word "addresses" it says where its kernel is, too.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static int asked_for(const char *word)
{
	char line[4096];
	FILE *file = fopen("/proc/cmdline", "re");
	char *at;
	int found = 0;

	if (!file)
		return 0;
	if (fgets(line, sizeof(line), file))
		for (at = strtok(line, " \n"); at; at = strtok(NULL, " \n"))
			found |= !strcmp(at, word);
	fclose(file);
	return found;
}

/* CPUID leaf 1 says whether there is a hypervisor, leaf 0x40000000 which. */
static void say_hypervisor(void)
{
	unsigned int a, b, c, d;
	char name[13] = "";

	__cpuid(1, a, b, c, d);
	if (!(c & (1u << 31))) {
		puts("hypervisor: none");
		return;
	}
	__cpuid(0x40000000, a, b, c, d);
	memcpy(name, &b, 4);
	memcpy(name + 4, &c, 4);
	memcpy(name + 8, &d, 4);
	printf("hypervisor: %s\n", name);
}

static void report(void)
{
	struct utsname name;
	struct sysinfo info;

	if (!uname(&name))
		printf("%s %s %s %s %s\n", name.sysname, name.nodename, name.release, name.version, name.machine);
	printf("CPUs: %ld\n", sysconf(_SC_NPROCESSORS_ONLN));
	if (!sysinfo(&info))
		printf("memory: %lu MiB\n", info.totalram / (1024 * 1024 / info.mem_unit));
	say_hypervisor();
	fflush(stdout);
}

/* The first line of @path that holds @word, "" where there is none. */
static void find_line(const char *path, const char *word, char *line, size_t size)
{
	FILE *file = fopen(path, "re");

	*line = '\0';
	while (file && fgets(line, (int)size, file) && !strstr(line, word))
		*line = '\0';
	if (file)
		fclose(file);
}

/* Where the kernel is: what of it changes from boot to boot. */
static void say_addresses(void)
{
	char physical[256], virtual[256];

	find_line("/proc/iomem", "Kernel code", physical, sizeof(physical));
	find_line("/proc/kallsyms", " _text", virtual, sizeof(virtual));
	printf("kernel: physical %llx, virtual %llx\n", strtoull(physical, NULL, 16),
	       strtoull(virtual, NULL, 16));
	fflush(stdout);
}

/* The signals by which busybox asks the first process for the end. */
static int end_of(int signal)
{
	switch (signal) {
	case SIGUSR1:
	case SIGUSR2:
		return RB_POWER_OFF;
	case SIGTERM:
		return RB_AUTOBOOT;
	default:
		return 0;
	}
}

static void become_shell(const sigset_t *signals)
{
	int fd;

	sigprocmask(SIG_UNBLOCK, signals, NULL);
	setsid();
	fd = open("/dev/ttyS0", O_RDWR);
	if (fd >= 0) {
		ioctl(fd, TIOCSCTTY, 0);
		dup2(fd, STDIN_FILENO);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
	}
	puts("A shell in the guest; `poweroff` ends it.");
	fflush(stdout);
	execl("/bin/sh", "sh", NULL);
	_exit(127);
}

/* Returns how the guest is to end. */
static int shell(void)
{
	int signal, how;
	sigset_t signals;
	pid_t pid;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGUSR2);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	pid = fork();
	if (!pid)
		become_shell(&signals);
	while (!sigwait(&signals, &signal)) {
		how = end_of(signal);
		if (how)
			return how;
		while ((how = waitpid(-1, NULL, WNOHANG)) > 0)
			if (how == pid)
				return RB_POWER_OFF;
	}
	return RB_POWER_OFF;
}

int main(void)
{
	int how = RB_POWER_OFF;

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	sethostname("guest", 5);
	setenv("PATH", "/sbin:/bin", 1);
	setenv("HOME", "/", 1);
	setenv("PS1", "guest# ", 1);
	report();
	if (asked_for("addresses"))
		say_addresses();
	if (asked_for("shell"))
		how = shell();
	sync();
	reboot(how);
	return 1;
}
