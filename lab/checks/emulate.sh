# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The emulator in user space: its suites under sanitizers, and random instructions beside the CPU this runs on.

check emulate/native "" check_emulate_native

# The log has the seeds: KILN_EMULATE_SEED repeats a run.
check_emulate_native() {
	local log=$LOGS/emulate-native.txt
	KILN_EMULATE_RUNS=8000000 timeout 300 make -s -C module/emulate -f Makefile.host test OUT="$LOGS/emulate" >"$log" 2>&1
	expect "emulate: it does what the CPU does, under ASan and UBSan" test $? = 0
	cat "$log"
	tap_results "emulate: " <"$log"
}
