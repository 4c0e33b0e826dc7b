# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The debug kernel: a detector that sees nothing would make every green run on it worthless.

check build/faults "kernel/debug" build_lab_module faults
check build/medium "kernel/debug" build_lab_module medium
check lab/debug-amd "build/faults" check_debug amd
! has_backend intel || slow_check lab/debug-intel "build/faults" "takes a minute, and no detector asks for the vendor" check_debug_intel

# build_lab_module NAME: one of lab/guest/, for the debug kernel.
build_lab_module() {
	local out=$BUILD/lab/$1
	mkdir -p "$out"
	cp "$LAB/guest/$1"/* "$out/"
	make -C "$(kernel_dir debug)/build" M="$out" W=1 modules
}

# What each fault's report says. KASAN's comes last: lockdep trusts itself no more after it.
FAULTS=(
	"lock-order:possible circular locking dependency"
	"sleep-in-atomic:BUG: sleeping function called"
	"undefined-shift:UBSAN: shift-out-of-bounds"
	"list-twice:list_add double add"
	"unchecked-msr:unchecked MSR access error"
	"use-after-free:BUG: KASAN: (slab-)?use-after-free"
)

# check_debug CPU
check_debug() {
	local log=$LOGS/debug-$1.txt
	expect "[$1 debug] without a fault a run is green" vm_with_faults "$1" "$log" none
	expect "[$1 debug] KCOV and fault injection are there" grep -qx 'fail_page_alloc failslab kcov' "$log.out"
	expect "[$1 debug] an allocation fails on demand" grep -qi 'cannot allocate memory\|out of memory' "$log.out"
	vm_with_faults "$1" "$log" leak
	expect "[$1 debug] a leak makes a run fail" test $? = 123
	expect "[$1 debug] its report names who leaked" grep -q '\[faults\]' "$log"
	vm_with_faults "$1" "$log" "${FAULTS[@]%%:*}"
	expect "[$1 debug] faults make a run fail" test $? = 123
	each_is_reported "$1" "$log"
}

# each_is_reported CPU LOG: of a kernel that had all faults.
each_is_reported() {
	local fault log=$2
	for fault in "${FAULTS[@]}"; do
		expect "[$1 debug] ${fault%%:*} is reported" grep -qE "${fault#*:}" "$log"
		grep -A 2 -E "${fault#*:}" "$log" >"$log.fault"
		expect "[$1 debug] ${fault%%:*} alone makes a run fail" grep -qE "$REPORT" "$log.fault"
	done
}

# One boot, and without kmemleak: its records and its scans take three times as long in Bochs as all the rest, and it asks
# no processor. That a run without faults is green there is seen by lockdep/intel, which is without it for the same reason.
check_debug_intel() {
	local log=$LOGS/debug-intel.txt
	vm_with_faults intel "$log" "${FAULTS[@]%%:*}" -- --memory 512 --append kmemleak=off
	expect "[intel debug] faults make a run fail" test $? = 123
	sed "/faults: loading/,\$d" "$log" >"$log.before"
	expect "[intel debug] the kernel was logged before the first" grep -q "Linux version" "$log.before"
	expect "[intel debug] nothing in that would" test "$(grep -cE "$REPORT" "$log.before")" = 0
	each_is_reported intel "$log"
}

# vm_with_faults CPU LOG FAULT... [-- OPTION...] With little memory, because kmemleak reads all of it.
vm_with_faults() {
	local cpu=$1 log=$2 faults=()
	shift 2
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		faults+=("$1") && shift
	done
	# shellcheck disable=SC2016 # for the shell of the machine
	"$LAB/vm" --cpu "$cpu" --kernel debug --memory 768 --no-load --timeout 1500 "${@:2}" --log "$log" \
		--add "$BUILD/lab/faults/faults.ko" -- sh -c '
		cd /sys/kernel/debug && echo $(ls -d fail_page_alloc failslab kcov)
		echo N >failslab/ignore-gfp-wait
		sh -c "echo 1 >/proc/self/fail-nth; exec 3</etc/passwd" 2>&1
		for fault; do
			rmmod faults 2>/dev/null
			insmod /work/faults.ko kind=$fault || exit
		done' sh "${faults[@]}" >"$log.out"
}
