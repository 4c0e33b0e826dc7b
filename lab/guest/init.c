// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first process of a lab machine: mounts what a command expects, loads
 * kiln.ko when the image has one, runs one command, reports, powers off.
 *
 * What goes out leaves by the two parallel ports, because an emulated serial
 * port is as slow as a real one and cooks what passes through its tty. Port 0
 * carries the command's output byte for byte; port 1 carries the kernel log,
 * and lines that begin with LAB_MARK, which the kernel's "[time]" lines never
 * do: "start" when the command begins and "exit N" when it has ended. A kernel
 * with kmemleak is searched for leaks in between.
 *
 * An interactive command gets /dev/ttyS1 as its terminal instead of port 0.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/rtc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define LAB_MARK	"@lab "
#define STATUS_LAB	125	/* the machine itself failed, as lab/vm documents */

/* Where lab/vm puts what this run is about. */
#define COMMAND_FILE	"/lab/command"		/* argv, each ended by NUL */
#define TERMINAL_FILE	"/lab/terminal"		/* "ROWS COLS TERM", if interactive */
#define MODULE_FILE	"/lab/kiln.ko"		/* absent: nothing to load */
#define MODULE_ARGS	"/lab/kiln.args"	/* its parameters */
#define WORK_DIR	"/work"			/* files added to the image */

#define KMEMLEAK	"/sys/kernel/debug/kmemleak"
#define KMEMLEAK_AGE	5	/* seconds: it trusts no younger object to be lost */

enum channel { OUTPUT = 0x378, LOG = 0x278 };	/* data port of each interface */

static const struct {
	const char *type, *where;
} mounts[] = {
	{ "proc", "/proc" },
	{ "sysfs", "/sys" },
	{ "devtmpfs", "/dev" },
	{ "devpts", "/dev/pts" },
	{ "tmpfs", "/dev/shm" },
	{ "hugetlbfs", "/dev/hugepages" },
	{ "tmpfs", "/tmp" },
	{ "tmpfs", "/run" },
	{ "debugfs", "/sys/kernel/debug" },
	{ "tracefs", "/sys/kernel/tracing" },
};

static void send(enum channel port, const char *data, size_t len)
{
	enum { SELECT_INIT = 0x0c, STROBE = 0x01 };

	while (len--) {
		outb(*data++, port);
		outb(SELECT_INIT | STROBE, port + 2);
		outb(SELECT_INIT, port + 2);
	}
}

static void __attribute__((format(printf, 2, 3)))
sendf(enum channel port, const char *format, ...)
{
	char line[512];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (len > 0)
		send(port, line, (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
}

/* One record of /dev/kmsg, "level,sequence,usec,flags;text\n KEY=value…", as dmesg shows it. */
static void send_record(char *record)
{
	char *text = strchr(record, ';');
	unsigned long long usec;
	char *end;

	if (!text || sscanf(record, "%*u,%*u,%llu", &usec) != 1)
		return;
	text++;
	end = strchr(text, '\n');
	if (end)
		*end = '\0';
	sendf(LOG, "[%5llu.%06llu] ", usec / 1000000, usec % 1000000);
	send(LOG, text, strlen(text));
	send(LOG, "\n", 1);
}

static void drain_kmsg(int kmsg)
{
	char record[8192];
	ssize_t len;

	for (;;) {
		len = read(kmsg, record, sizeof(record) - 1);
		if (len < 0 && errno == EPIPE) {	/* records were overwritten before we came */
			sendf(LOG, LAB_MARK "log records lost\n");
			continue;
		}
		if (len <= 0)
			return;
		record[len] = '\0';
		send_record(record);
	}
}

static void drain_output(int fd)
{
	char data[4096];
	ssize_t len;

	while ((len = read(fd, data, sizeof(data))) > 0)
		send(OUTPUT, data, len);
}

static void mount_all(void)
{
	size_t i;

	for (i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].where, 0755);
		/* What this kernel was built without is not there: no error. */
		mount(mounts[i].type, mounts[i].where, mounts[i].type, 0, NULL);
	}
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
}

/* Returns 0, also when the image holds no module; -1 after saying why not. */
static int load_module(void)
{
	int fd = open(MODULE_FILE, O_RDONLY | O_CLOEXEC);
	int args_fd = open(MODULE_ARGS, O_RDONLY | O_CLOEXEC);
	char args[512] = "";
	long error;

	if (args_fd >= 0) {
		if (read(args_fd, args, sizeof(args) - 1) < 0)
			args[0] = '\0';
		close(args_fd);
	}
	if (fd < 0)
		return 0;
	error = syscall(SYS_finit_module, fd, args, 0);
	if (error)
		sendf(OUTPUT, "lab: loading kiln.ko: %s\n", strerror(errno));
	close(fd);
	return error ? -1 : 0;
}

/*
 * Documentation/dev-tools/kmemleak.rst: an object is a suspect if two scans in
 * a row see the same content in it and no pointer to it. One that a CPU held
 * only in a register just then is found again by the next scan.
 */
static void look_for_leaks(void)
{
	int leaks = open(KMEMLEAK, O_RDWR | O_CLOEXEC), pass;
	time_t began = time(NULL);
	char text[4096];
	ssize_t len;

	if (leaks < 0)
		return;
	for (pass = 0; pass < 3; pass++) {
		if (pass == 1)
			while (time(NULL) <= began + KMEMLEAK_AGE)
				usleep(100000);
		if (pass == 2 && pread(leaks, text, 1, 0) <= 0)
			break;
		if (write(leaks, "scan", 4) != 4) {
			sendf(LOG, "kmemleak: Kernel memory leak detector disabled\n");
			break;
		}
	}
	lseek(leaks, 0, SEEK_SET);
	while ((len = read(leaks, text, sizeof(text))) > 0)
		send(LOG, text, len);
	close(leaks);
}

/*
 * QEMU's TCG may lose a CPU's request for an interrupt: its timer thread sets
 * the bit while the CPU, leaving a guest, clears another one of the same word.
 * The vector waits in the local APIC then, and with the timer's the CPU would
 * sleep, or run its guest, for good. Any other interrupt makes the APIC ask
 * again: so the clock interrupts the first CPU each second, and from there all
 * others are visited, ahead of whatever runs on them.
 */
static void heartbeat(void)
{
	struct sched_param first = { .sched_priority = 99 };
	int rtc = open("/dev/rtc0", O_RDONLY | O_CLOEXEC);
	unsigned long ticks;
	cpu_set_t cpu;
	int i, n = sysconf(_SC_NPROCESSORS_CONF);

	if (rtc < 0 || ioctl(rtc, RTC_UIE_ON, 0)) {
		sendf(LOG, LAB_MARK "no heartbeat: /dev/rtc0: %s\n", strerror(errno));
		_exit(1);
	}
	sched_setscheduler(0, SCHED_FIFO, &first);
	while (read(rtc, &ticks, sizeof(ticks)) > 0) {
		for (i = n - 1; i >= 0; i--) {
			CPU_ZERO(&cpu);
			CPU_SET(i, &cpu);
			sched_setaffinity(0, sizeof(cpu), &cpu);	/* fails for one that is offline */
		}
	}
	_exit(1);
}

/* Does the kernel's command line have this word? */
static int told(const char *word)
{
	char cmdline[4096];
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t len = read(fd, cmdline, sizeof(cmdline) - 1);

	close(fd);
	cmdline[len < 0 ? 0 : len] = '\0';
	return strstr(cmdline, word) != NULL;
}

/*
 * Guests are not to run on the first CPU of a machine that has one to spare for
 * that: QEMU's TCG writes to its state from others' threads.
 */
static void leave_first_cpu(void)
{
	int i, n = sysconf(_SC_NPROCESSORS_CONF);
	cpu_set_t others;

	CPU_ZERO(&others);
	for (i = 1; i < n; i++)
		CPU_SET(i, &others);
	if (sched_setaffinity(0, sizeof(others), &others))
		sendf(LOG, LAB_MARK "the first CPU is not left alone: %s\n", strerror(errno));
}

static char **read_command(void)
{
	static char text[65536];
	static char *argv[4096];
	int fd = open(COMMAND_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	size_t n = 0;
	char *arg;

	close(fd);
	for (arg = text; len > 0 && arg < text + len && n < 4095; arg += strlen(arg) + 1)
		argv[n++] = arg;
	return argv;
}

static void attach_terminal(void)
{
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	struct termios mode;
	char term[64] = "linux";
	int fd = open("/dev/ttyS1", O_RDWR);
	FILE *file = fopen(TERMINAL_FILE, "re");

	if (file) {
		if (fscanf(file, "%hu %hu %63s", &size.ws_row, &size.ws_col, term) < 2)
			size.ws_row = 24;
		fclose(file);
	}
	setenv("TERM", term, 1);
	if (fd < 0)
		return;
	ioctl(fd, TIOCSCTTY, 0);
	ioctl(fd, TIOCSWINSZ, &size);
	if (!tcgetattr(fd, &mode)) {
		cfsetspeed(&mode, B115200);
		mode.c_cflag |= CLOCAL;
		tcsetattr(fd, TCSANOW, &mode);
	}
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static pid_t start(char **argv, int out, int terminal)
{
	pid_t pid = fork();
	sigset_t none;
	int null;

	if (pid)
		return pid;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (told("lab.spare-cpu"))
		leave_first_cpu();
	iopl(0);		/* the ports are ours, not the command's */
	setsid();
	null = open("/dev/null", O_RDWR);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	if (terminal)
		attach_terminal();
	if (chdir(WORK_DIR))
		dprintf(STDERR_FILENO, "lab: " WORK_DIR ": %s\n", strerror(errno));
	execvp(argv[0], argv);
	dprintf(STDERR_FILENO, "lab: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Reaps everything; true when the command itself is among it, with its status as a shell has it. */
static int reap(pid_t command, int *status)
{
	int wstatus, done = 0;
	pid_t pid;

	while ((pid = waitpid(-1, &wstatus, WNOHANG)) > 0) {
		if (pid != command)
			continue;
		done = 1;
		*status = WIFSIGNALED(wstatus) ? 128 + WTERMSIG(wstatus) : WEXITSTATUS(wstatus);
	}
	return done;
}

static int run(char **argv, int kmsg, int terminal)
{
	enum { OUT, KMSG, SIGNAL };
	struct pollfd fds[3];
	struct signalfd_siginfo info;
	int status = STATUS_LAB, out[2];
	sigset_t chld;
	pid_t pid;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	if (pipe2(out, O_CLOEXEC))
		return STATUS_LAB;
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fds[OUT] = (struct pollfd){ .fd = out[0], .events = POLLIN };
	fds[KMSG] = (struct pollfd){ .fd = kmsg, .events = POLLIN };
	fds[SIGNAL] = (struct pollfd){ .fd = signalfd(-1, &chld, SFD_CLOEXEC), .events = POLLIN };

	sendf(LOG, LAB_MARK "start\n");
	pid = start(argv, out[1], terminal);
	if (pid < 0)
		return STATUS_LAB;
	for (;;) {
		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			break;
		drain_output(out[0]);
		drain_kmsg(kmsg);
		if (!(fds[SIGNAL].revents & POLLIN) ||
		    read(fds[SIGNAL].fd, &info, sizeof(info)) < 0)
			continue;
		if (reap(pid, &status))
			break;
	}
	drain_output(out[0]);
	if (terminal) {
		/* What the tty still holds would die with the machine. */
		int tty = open("/dev/ttyS1", O_RDWR | O_NOCTTY);

		tcdrain(tty);
		usleep(20000);
		close(tty);
	}
	return status;
}

int main(void)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	int status = STATUS_LAB, kmsg;
	char **argv;

	if (iopl(3))
		perror("lab: iopl");
	mount_all();
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	setenv("PATH", WORK_DIR ":/lab/bin:/lab/selftests:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("LAB", "1", 1);
	sethostname("lab", 3);
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	argv = read_command();
	if (told("lab.heartbeat") && !fork())
		heartbeat();
	if (!argv[0])
		sendf(OUTPUT, "lab: the image holds no command\n");
	else if (!load_module())
		status = run(argv, kmsg, access(TERMINAL_FILE, F_OK) == 0);
	/* A detector that went out by itself is a finding. */
	if (!told("kmemleak=off"))
		look_for_leaks();
	drain_kmsg(kmsg);
	sendf(LOG, LAB_MARK "exit %d\n", status);
	sync();
	reboot(RB_POWER_OFF);
	return 1;
}
