# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Instructions per operation, kiln beside stock KVM.

for cpu in $BACKENDS; do
	check "bench/$cpu" "kernel/dev build/module-dev build/selftests build/launcher" check_bench "$cpu"
done

# The AMD machine counts instructions: a second run has the same numbers.
check_bench_repeats() {
	local run
	for run in 1 2; do
		"$LAB/bench" --cpu amd --only exit >"$LOGS/bench-amd.$run" || fail "[amd] bench run $run"
	done
	cat "$LOGS/bench-amd.1"
	expect "[amd] two runs print the same numbers" cmp "$LOGS/bench-amd.1" "$LOGS/bench-amd.2"
	expect "[amd] there are numbers" grep -qE '^CPUID exit +[0-9]+ +[0-9]+ ' "$LOGS/bench-amd.1"
}

# check_bench CPU
check_bench() {
	local json=$BUILD/bench-$1.json rows slower
	[ "$1" != amd ] || check_bench_repeats
	rm -f "$json"
	expect "[$1] bench runs" "$LAB/bench" --cpu "$1"
	# One object a line or not: each row has exactly these four members.
	rows=$(tr '{' '\n' <"$json" | grep -cE '"name": *"[^"]+", *"kiln": *[0-9.]+, *"kvm": *[0-9.]+, *"ratio": *[0-9.]+ *}')
	expect "build/bench-$1.json has a row for each operation of the issue (12 at least, here $rows)" test "$rows" -ge 12
	# Bochs repeats to about a part in a thousand, hence a hundredth of grace. KiB are not instructions.
	slower=$(tr '{' '\n' <"$json" | sed -nE 's/.*"name": *"([^"]+)".*"ratio": *([0-9.]+).*/\2 \1/p' |
		grep -v ' KiB ' | awk '$1 > 1.01')
	echo "$slower"
	expect "[$1] no row costs more than on stock KVM" test -z "$slower"
}
