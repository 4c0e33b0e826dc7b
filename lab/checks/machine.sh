# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The lab itself: a machine that hides failures would make every other check worthless.

check lab/status "kernel/dev" check_status
check lab/reports "kernel/dev" check_reports
check lab/timeout "kernel/dev" check_timeout
check lab/interrupted "kernel/dev" check_interrupted
check lab/terminal "kernel/dev build/module-dev build/launcher build/selftests" check_terminal
check lab/usage "" check_vm_usage
check lab/stock-kvm "kernel/dev" check_stock_kvm
check lab/deterministic "kernel/dev" check_deterministic
check lab/iommu "kernel/stock" check_iommu
check lab/start-dev "kernel/dev" check_start_time dev 5
check lab/start-stock "kernel/stock" check_start_time stock 10
! has_backend intel || check lab/start-dev-intel "kernel/dev" check_start_time_intel
check lab/kernel-path "kernel/dev build/module-dev" check_kernel_path
check lab/demo "kernel/dev kernel/stock build/module-stock build/launcher" check_demo

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
	mkdir -p "$LOGS/no-bochs"
	printf '#!/bin/sh\nexit 1\n' >"$LOGS/no-bochs/bochs"
	chmod 755 "$LOGS/no-bochs/bochs"
	expect_status "an emulator that does not start is 125" 125 \
		env PATH="$LOGS/no-bochs:$PATH" KILN_MACHINE=bochs "$LAB/vm" --no-load --timeout 120 -- true
	# Every byte value, and more than any buffer on the way holds.
	seq 100000 >"$LOGS/sent"
	printf '\0\1\r\n\377' >>"$LOGS/sent"
	"$LAB/vm" --no-load --timeout 120 --add "$LOGS/sent:/tmp-sent" -- cat /tmp-sent >"$LOGS/received"
	expect "output arrives byte for byte" cmp "$LOGS/sent" "$LOGS/received"
	output=$("$LAB/vm" --cpu amd --cpus 3 --no-load --timeout 120 -- nproc)
	expected=3
	expect "--cpus 3 gives 3 CPUs" test "$output" = "$expected"
	# shellcheck disable=SC2016 # for the shell of the machine
	output=$("$LAB/vm" --cpu amd --cpus 3 --no-load --timeout 120 -- awk '/Cpus_allowed_list/ { print $2 }' /proc/self/status)
	expect "none of them is QEMU's first" test "$output" = 1-3
}

# shellcheck disable=SC2016 # for the shell of the machine
check_reports() {
	is_reported WARNING 'WARNING: CPU: .* lkdtm' --cpu amd -- 'echo WARNING >$DIRECT; true'
	is_reported BUG 'kernel BUG at' -- '(echo BUG >$DIRECT); true'
	is_reported Oops 'BUG: kernel NULL pointer dereference' --cpu amd -- '(echo EXCEPTION >$DIRECT); true'
	is_reported panic 'Kernel panic - not syncing: sysrq' -- 'echo c >/proc/sysrq-trigger'
	is_reported "hung task" 'blocked for more than' --cpu amd -- \
		'echo 5 >/proc/sys/kernel/hung_task_timeout_secs; echo HUNG_TASK >$DIRECT & sleep 20'
}

# is_reported WHAT TEXT OPTION... -- COMMAND: what COMMAND does to the kernel ends lab/vm with 123, and its report has TEXT.
is_reported() {
	local what=$1 text=$2 report=$LOGS/report.txt options=()
	shift 2
	while [ "$1" != -- ]; do options+=("$1") && shift; done
	expect_status "a kernel $what is reported" 123 "$LAB/vm" "${options[@]}" --no-load --timeout 200 -- \
		sh -c "modprobe lkdtm; DIRECT=/sys/kernel/debug/provoke-crash/DIRECT; $2" 2>"$report"
	cat "$report"
	expect "and printed: $what" grep -q "$text" "$report"
}

check_timeout() {
	expect_status "a machine that goes on too long is stopped" 124 "$LAB/vm" --no-load --timeout 12 -- sleep 1000000
	expect "nothing is left running or lying about" nothing_left
}

# Interrupted as at a terminal: its processes all at once. Its first line is there long before its end; until then, no
# process of it has a socket of any network.
check_interrupted() {
	local cpu dir=$LOGS/interrupted pid line status
	for cpu in $BACKENDS; do
		rm -rf "$dir" && mkdir -p "$dir/tmp" && mkfifo "$dir/output" || return
		TMPDIR=$dir/tmp setsid env --default-signal=INT "$LAB/vm" --cpu "$cpu" --no-load --timeout 300 -- \
			sh -c 'echo first; sleep 1000000' >"$dir/output" 2>"$dir/err" &
		pid=$!
		line=
		read -r -t 120 line <>"$dir/output"
		expect "[$cpu] output comes while the command runs" test "$line" = first
		expect "[$cpu] processes of it were looked at" test "$(processes_of "$dir/tmp" | wc -l)" -ge 2
		expect "[$cpu] no network port is open" test -z "$(network_sockets "$dir/tmp")"
		kill -INT -- "-$pid"
		wait "$pid"
		status=$?
		cat "$dir/err"
		expect "[$cpu] interrupted, it ends with 130 (is: $status)" test $status = 130
		expect "[$cpu] nothing lies about after that" test -z "$(ls -A "$dir/tmp")"
		expect "[$cpu] nothing runs after that" test -z "$(processes_of "$dir/tmp")"
	done
}

# processes_of DIRECTORY: the processes that have something of it open or in their arguments.
processes_of() {
	local process
	for process in /proc/[0-9]*; do
		if grep -qs -- "$1" "$process/cmdline" || find "$process/fd" -lname "$1*" 2>/dev/null | grep -q .; then
			echo "${process#/proc/}"
		fi
	done
}

# network_sockets DIRECTORY: what the processes of DIRECTORY have of TCP's and UDP's, as /proc shows it.
network_sockets() {
	local inode
	for inode in $(processes_of "$1" | while read -r pid; do
		find "/proc/$pid/fd" -lname 'socket:*' -printf '%l\n' 2>/dev/null | tr -dc '0-9\n'
	done); do
		cat /proc/net/{tcp,tcp6,udp,udp6} 2>/dev/null | awk -v inode="$inode" '$10 == inode'
	done
}

check_terminal() {
	local log=$LOGS/terminal.txt
	need debian
	env expect "$LAB/checks/terminal.exp" "$LAB/vm" --cpu amd --interactive -- sh | tr -d '\r' >"$log"
	expect "[amd] the terminal's cases end well" test "${PIPESTATUS[0]}" = 0
	cat "$log"
	expect_results "[amd] terminal: " <"$log"
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
	expect_status "--deterministic wants the AMD machine" 125 "$LAB/vm" --cpu intel --deterministic --no-load -- true
	expect_status "--deterministic wants one CPU" 125 "$LAB/vm" --cpu amd --cpus 2 --deterministic --no-load -- true
	expect_status "an unknown IOMMU is a usage error" 125 "$LAB/vm" --cpu amd --iommu via --no-load -- true
	expect_status "an unknown vendor is a usage error" 125 "$LAB/vm" --cpu via --no-load -- true
	expect_status "an option without its value is a usage error" 125 "$LAB/vm" --iommu
	expect_status "lab/test wants a number of jobs" 125 "$LAB/test" --jobs x
	expect_status "lab/test has none done by nobody" 125 "$LAB/test" --jobs 0
	expect_status "lab/test wants a pattern after --only" 125 "$LAB/test" --only
	expect_status "lab/demo knows no other vendor" 125 "$LAB/demo" --cpu via
	expect_status "lab/bench knows no other vendor" 125 "$LAB/bench" --cpu via
}

check_stock_kvm() {
	expect "kvm-intel loads in the Intel machine" "$LAB/vm" --no-load --timeout 120 -- \
		sh -c 'modprobe kvm-intel && test -c /dev/kvm'
	expect "kvm-amd loads in the AMD machine" "$LAB/vm" --cpu amd --no-load --timeout 120 -- \
		sh -c 'modprobe kvm-amd && test -c /dev/kvm'
}

# Everything a deterministic machine does, to the microseconds in its log and to its random numbers.
check_deterministic() {
	local run
	for run in 1 2; do
		expect "deterministic run $run" "$LAB/vm" --cpu amd --deterministic --no-load --timeout 200 --log "$LOGS/repeat.$run" -- \
			sh -c 'modprobe kvm-amd; cat /proc/sys/kernel/random/uuid; date; cat /proc/uptime' >"$LOGS/repeat.out.$run"
	done
	sed -i '/^#/d' "$LOGS"/repeat.out.[12]
	expect "two runs say the same" cmp "$LOGS/repeat.out.1" "$LOGS/repeat.out.2"
	expect "two runs log the same" cmp "$LOGS/repeat.1" "$LOGS/repeat.2"
	expect "they say and log something" test -s "$LOGS/repeat.out.1" -a -s "$LOGS/repeat.1"
}

# The devices have to be there and, on a kernel with drivers for them, in use.
check_iommu() {
	local kind
	for kind in intel amd; do
		expect "--iommu $kind" "$LAB/vm" --cpu amd --iommu $kind --kernel stock --no-load --timeout 200 -- \
			sh -c 'ls /sys/class/iommu/* && dmesg | grep -iE "remapping"'
	done
	expect "no IOMMU unless asked for" "$LAB/vm" --cpu amd --kernel stock --no-load --timeout 200 -- \
		sh -c '! ls /sys/class/iommu/* 2>/dev/null'
	expect_status "Bochs has none" 125 env KILN_MACHINE=bochs "$LAB/vm" --iommu intel --no-load -- true
}

# check_start_time KERNEL SECONDS: until COMMAND, and the end. In seconds of CPU, which on an idle machine is what it
# takes, and on one that runs other checks beside stays that.
check_start_time() {
	is_started amd "$1" "$2"
	expect "on $1 with 4 CPUs" test "$("$LAB/vm" --cpu amd --cpus 4 --kernel "$1" --no-load --timeout 120 -- nproc)" = 4
}

check_start_time_intel() {
	is_started intel dev 15
}

# is_started CPU KERNEL SECONDS
is_started() {
	local TIMEFORMAT='%U %S' used
	used=$( (time "$LAB/vm" --cpu "$1" --kernel "$2" --no-load --timeout 120 -- true >/dev/null 2>&1) 2>&1 |
		awk '{ printf "%d", ($1 + $2) * 1000 }')
	expect "[$1] COMMAND is reached within $3 s on $2 (here $used ms)" test "$used" -lt $(($3 * 1000)) -a "$used" -gt 0
}

# A kernel by its file: the module built for its release is loaded, as for one by its name. And how much memory there is.
check_kernel_path() {
	local dir
	dir=$(kernel_dir dev)
	# shellcheck disable=SC2016 # for the machine's shell
	expect "--kernel of a file, and --memory" "$LAB/vm" --cpu amd --kernel "$dir/vmlinuz" --memory 300 --timeout 120 -- sh -c '
		[ "$(uname -r)" = "$1" ] && [ -c /dev/kiln ] || exit
		set -- $(grep MemTotal /proc/meminfo)
		[ "$2" -gt 200000 ] && [ "$2" -lt 307200 ]' sh "$(cat "$dir/release")"
	expect "--kernel of a build directory has its modules" "$LAB/vm" --cpu amd --kernel "$dir/build" --no-load --timeout 120 -- \
		sh -c 'modprobe kvm-amd && [ -c /dev/kvm ] && [ ! -e /dev/kiln ]'
}

# What a new user sees first, without a terminal and at one. That it compiles no kernel is seen in the cache, where other
# checks put theirs meanwhile, but not that kind. expect is a function here.
check_demo() {
	local out=$LOGS/demo.out before after
	before=$(ls -d "$CACHE"/kernels/dev-*)
	expect_status "lab/demo: the guest powers off, status 0" 0 "$LAB/demo" >"$out" 2>"$out.said" </dev/null
	sed -i 's/\r$//' "$out"
	after=$(ls -d "$CACHE"/kernels/dev-*)
	cat "$out.said" "$out"
	expect "lab/demo: it takes the machine that is ready soonest, and says so" grep -q 'starting an AMD machine' "$out.said"
	expect "lab/demo: the guest says its kernel" grep -q '^Linux guest 6\.1\.' "$out"
	expect "lab/demo: 2 CPUs" grep -qE 'CPUs: +2$' "$out"
	expect "lab/demo: its memory" grep -qE 'emory: +[45][0-9]{2} MiB' "$out"
	expect "lab/demo: the hypervisor in CPUID" grep -q KVMKVMKVM "$out"
	expect "lab/demo: no kernel is made for it" test "$before" = "$after"
	need debian
	expect_status "lab/demo at a terminal: a shell, and poweroff with status 0" 0 \
		env expect "$LAB/checks/demo.exp" "$LAB/demo"
	expect_status "lab/demo --debian: a login with network, and poweroff with status 0" 0 \
		env expect "$LAB/checks/demo.exp" "$LAB/demo" --debian --cpu amd
}
