# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The vring engine in user space: its suites under sanitizers, a bounded fuzz, and how much of it both reach.

check virtio/vring-host "" check_vring_host

check_vring_host() {
	local out=$LOGS/vring log=$LOGS/vring-host.txt
	rm -rf "$out"
	make -s -C module/virtio/host test OUT="$out" >"$log" 2>&1
	expect "vring: the suites end well under ASan and UBSan" test $? = 0
	cat "$log"
	tap_results "vring: " <"$log"
	expect "vring: 30 s of fuzzing find nothing" make -s -C module/virtio/host fuzz OUT="$out" FUZZ_SECONDS=30
	make -s -C module/virtio/host coverage OUT="$out" COVERAGE=95 >"$log"
	expect "vring: 95 % of the lines are reached" test $? = 0
	cat "$log"
	print "vring: $(tail -n 1 "$log")"
}
