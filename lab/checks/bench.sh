# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Instructions per operation, kiln beside stock kvm-intel.

check bench "kernel/dev build/module-dev build/selftests build/launcher" check_bench

check_bench() {
	local json=$BUILD/bench-intel.json rows slower
	rm -f "$json"
	expect "bench runs" "$LAB/bench"
	# One object a line or not: each row has exactly these four members.
	rows=$(tr '{' '\n' <"$json" | grep -cE '"name": *"[^"]+", *"kiln": *[0-9.]+, *"kvm": *[0-9.]+, *"ratio": *[0-9.]+ *}')
	expect "build/bench-intel.json has a row for each operation of the issue (12 at least, here $rows)" test "$rows" -ge 12
	# Bochs repeats to about a part in a thousand, hence a hundredth of grace. KiB are not instructions.
	slower=$(tr '{' '\n' <"$json" | sed -nE 's/.*"name": *"([^"]+)".*"ratio": *([0-9.]+).*/\2 \1/p' |
		grep -v ' KiB ' | awk '$1 > 1.01')
	echo "$slower"
	expect "no row costs more than on stock KVM" test -z "$slower"
}
