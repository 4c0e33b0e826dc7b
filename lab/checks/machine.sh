# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The lab itself: a machine that hides failures would make every other check worthless.

check lab/status "kernel/dev" check_status
check lab/reports "kernel/dev" check_reports
check lab/timeout "kernel/dev" check_timeout
check lab/usage "" check_vm_usage
check lab/stock-kvm "kernel/dev" check_stock_kvm

# expect_status NAME STATUS COMMAND...
expect_status() {
	local name=$1 wanted=$2 status
	shift 2
	echo "# $name: $*"
	"$@"
	status=$?
	echo "# exit status $status, wanted $wanted"
	if [ $status = "$wanted" ]; then pass "$name"; else fail "$name"; fi
}

check_status() {
	local output expected
	expect_status "lab/vm exits with the command's status" 42 "$LAB/vm" --no-load --timeout 120 -- sh -c 'exit 42'
	expect_status "a command that is not there is 127" 127 "$LAB/vm" --cpu amd --no-load --timeout 120 -- no-such-command
	expect_status "a command killed by a signal is 128+N" 137 "$LAB/vm" --cpu amd --no-load --timeout 120 -- sh -c 'kill -9 $$'
	# Every byte value, and more than any buffer on the way holds.
	seq 100000 >"$LOGS/sent"
	printf '\0\1\r\n\377' >>"$LOGS/sent"
	"$LAB/vm" --no-load --timeout 120 --add "$LOGS/sent:/tmp-sent" -- cat /tmp-sent >"$LOGS/received"
	expect "output arrives byte for byte" cmp "$LOGS/sent" "$LOGS/received"
	output=$("$LAB/vm" --cpu amd --cpus 3 --no-load --timeout 120 -- nproc)
	expected=3
	expect "--cpus 3 gives 3 CPUs" test "$output" = "$expected"
}

check_reports() {
	expect_status "a kernel WARNING is reported" 123 "$LAB/vm" --cpu amd --no-load --timeout 120 -- \
		sh -c 'modprobe lkdtm; echo WARNING >/sys/kernel/debug/provoke-crash/DIRECT; true'
	expect_status "a kernel BUG is reported" 123 "$LAB/vm" --no-load --timeout 120 -- \
		sh -c 'modprobe lkdtm; (echo BUG >/sys/kernel/debug/provoke-crash/DIRECT); true'
	expect_status "a kernel panic is reported" 123 "$LAB/vm" --no-load --timeout 120 -- \
		sh -c 'echo c >/proc/sysrq-trigger'
	expect_status "a hung task is reported" 123 "$LAB/vm" --cpu amd --no-load --timeout 200 -- \
		sh -c 'modprobe lkdtm; echo 5 >/proc/sys/kernel/hung_task_timeout_secs; echo HUNG_TASK >/sys/kernel/debug/provoke-crash/DIRECT & sleep 20'
}

check_timeout() {
	expect_status "a machine that goes on too long is stopped" 124 "$LAB/vm" --no-load --timeout 12 -- sleep 1000000
	expect "nothing is left running or lying about" nothing_left
}

# Other checks run machines at the same time, so look at those of our own session's ended runs only.
nothing_left() {
	local dir=$LOGS/tmp
	mkdir -p "$dir"
	TMPDIR=$dir "$LAB/vm" --no-load --timeout 12 -- sleep 1000000
	sleep 1
	[ -z "$(ls -A "$dir")" ] && ! grep -qsz -- "$dir" /proc/[0-9]*/cmdline
}

check_vm_usage() {
	expect_status "no command is a usage error" 125 "$LAB/vm" --no-load
	expect_status "an unknown option is a usage error" 125 "$LAB/vm" --frobnicate -- true
	expect_status "9 CPUs are a usage error" 125 "$LAB/vm" --cpus 9 -- true
	expect_status "an unknown kernel is a usage error" 125 "$LAB/vm" --kernel no-such-kernel --no-load -- true
	expect_status "adding a missing file is a usage error" 125 "$LAB/vm" --add /no/such/file --no-load -- true
}

check_stock_kvm() {
	expect "kvm-intel loads in the Intel machine" "$LAB/vm" --no-load --timeout 120 -- \
		sh -c 'modprobe kvm-intel && test -c /dev/kvm'
	expect "kvm-amd loads in the AMD machine" "$LAB/vm" --cpu amd --no-load --timeout 120 -- \
		sh -c 'modprobe kvm-amd && test -c /dev/kvm'
}
