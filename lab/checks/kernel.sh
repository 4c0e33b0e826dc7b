# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# KUnit and kselftest suites, in the dev kernel.

check kunit "build/kunit" check_kunit
check selftests/1-cpu "build/module-dev build/selftests build/launcher" check_selftests 1
check selftests/2-cpus "build/module-dev build/selftests build/launcher" check_selftests 2
check selftests/stock "build/module-stock build/selftests build/launcher" check_selftests_stock

# One boot for all suites. The module leaves its results in debugfs; insmod says nothing about them.
check_kunit() {
	local release log=$LOGS/kunit.txt
	release=$(cat "$(kernel_dir dev)/release")
	"$LAB/vm" --timeout 900 --add "$BUILD/$release/kiln-kunit.ko" -- sh -c '
		insmod /work/kiln-kunit.ko || exit
		cat /sys/kernel/debug/kunit/*/results
		rmmod kiln-kunit' >"$log"
	expect "KUnit suites run without a report from the kernel" test $? = 0
	cat "$log"
	kunit_results <"$log"
}

# Every *_test of build/selftests in one boot, each with its time limit, its TAP and its status between marks.
run_suites() {
	local suites
	suites=$(cd "$BUILD/selftests" && find . -maxdepth 1 -type f -name '*_test' -perm -u+x -printf '%f ' | xargs -n 1 | sort | xargs)
	[ -n "$suites" ] || { echo "build/selftests holds no *_test"; return 1; }
	# shellcheck disable=SC2016,SC2086 # for the shell of the machine; the list is words
	"$LAB/vm" "$@" -- sh -c '
		echo 32 >/proc/sys/vm/nr_hugepages
		for suite; do
			echo "### suite $suite"
			timeout -s KILL 300 $suite
			echo "### status $?"
		done
		rmmod kiln
		echo "### unload $?"' sh $suites
}

# suite_results PREFIX LOG: what the marks of run_suites delimit.
suite_results() {
	local prefix=$1 log=$2 suite tap status
	sed -n 's/^### suite //p' "$log" | while read -r suite; do
		tap=$(sed -n "/^### suite $suite\$/,/^### status /p" "$log")
		status=$(sed -n 's/^### status //p' <<<"$tap")
		tap_results "$prefix$suite: " <<<"$tap"
		# A suite that fails says so in its cases; one that was killed or crashed does not.
		case $status in
		0 | 1 | 4) ;;
		*) fail "$prefix$suite: exit status ${status:-none}" ;;
		esac
	done
	expect "${prefix}kiln unloads afterwards" grep -qx '### unload 0' "$log"
}

check_selftests() {
	local log=$LOGS/selftests-$1.txt
	run_suites --cpus "$1" --timeout 1200 >"$log"
	expect "[$1 CPU] suites run without a report from the kernel" test $? = 0
	cat "$log"
	suite_results "[$1 CPU] " "$log"
}

check_selftests_stock() {
	local log=$LOGS/selftests-stock.txt
	run_suites --kernel stock --timeout 1500 >"$log"
	expect "[stock] suites run without a report from the kernel" test $? = 0
	cat "$log"
	suite_results "[stock] " "$log"
}
