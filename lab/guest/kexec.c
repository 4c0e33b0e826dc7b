// SPDX-License-Identifier: GPL-2.0-only
/*
 * Another kernel in this machine: "kexec load KERNEL INITRD CMDLINE" gets it ready and "kexec now" starts it; "kexec
 * crash KERNEL INITRD CMDLINE" has it wait for this one to crash. KERNEL is a bzImage.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RB_KEXEC	0x45584543	/* LINUX_REBOOT_CMD_KEXEC, which <sys/reboot.h> lacks */

static int load(const char *kernel_file, const char *initrd_file, const char *cmdline, unsigned long flags)
{
	int kernel = open(kernel_file, O_RDONLY | O_CLOEXEC);
	int initrd = open(initrd_file, O_RDONLY | O_CLOEXEC);

	if (kernel < 0 || initrd < 0) {
		perror(kernel < 0 ? kernel_file : initrd_file);
		return 1;
	}
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(cmdline) + 1, cmdline, flags)) {
		perror("kexec_file_load");
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "load"))
		return load(argv[2], argv[3], argv[4], 0);
	if (argc == 5 && !strcmp(argv[1], "crash"))
		return load(argv[2], argv[3], argv[4], KEXEC_FILE_ON_CRASH);
	if (argc == 2 && !strcmp(argv[1], "now")) {
		reboot(RB_KEXEC);
		perror("reboot");
		return 1;
	}
	fputs("usage: kexec load|crash KERNEL INITRD CMDLINE, or kexec now\n", stderr);
	return 2;
}
