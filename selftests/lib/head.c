// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a suite's TAP begins with: by whom and on which extension its guests run. The harness prints the version itself, and
 * nothing may come before it, so it is done here, and the harness is told that this was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <unistd.h>

#include "vm.h"

__attribute__((constructor)) static void print_head(void)
{
	const char *extension = host_cpu_is_intel() ? "Intel VMX" : "AMD SVM";

	if (!getenv("KSFT_TAP_LEVEL"))
		puts("TAP version 13");
	if (access(device_path(), R_OK | W_OK))
		printf("# %s: %s, on %s\n", device_path(), strerror(errno), extension);
	else
		printf("# %s on %s\n", device_is_kiln() ? "kiln" : "stock KVM", extension);
	fflush(stdout);
	setenv("KSFT_TAP_LEVEL", "1", 1);
}
