# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# KUnit and kselftest suites, in the dev kernel.

check kunit/intel-dev "build/kunit-dev" check_kunit intel dev
! has_backend amd || check kunit/amd-debug "build/kunit-debug" check_kunit amd debug

# CPU, kernel of the machine, its CPUs, an argument of the module or -, and the suites if not all: with two CPUs Bochs
# executes a fifth, and most suites do not care how many there are. Interrupts delivered by hardware are what Intel's
# processors have; Bochs has them well enough for all suites but two (Documentation/lab.rst). On AMD all suites run with
# every detector on; on the kernel without any, which others than the lab have, those that time or the allocator matters to.
while read -r cpu kernel cpus argument suites; do
	! has_backend "$cpu" || check "selftests/$cpu-$kernel-${cpus}cpu" \
		"build/module-$kernel build/selftests build/launcher$([ "$kernel" != debug ] || echo " build/medium")" check_selftests "$cpu" "$kernel" "$cpus" "$argument" "$suites"
done <<'END'
intel dev 1 -
intel dev 2 apicv=1 clock_test contract_test eventfd_test irqchip_test kill_test lapic_test machine_test memory_test pit_test run_test smp_test stress_test
amd debug 2 -
amd stock-6.12 2 - machine_test memory_test run_test virtio_balloon_test virtio_net_test vm_test
amd stock 1 - kill_test lapic_test stress_test virtio_block_test virtio_race_test
END

# One boot for all suites. Their results are in the log, and in debugfs only as far as 512 bytes a case go; insmod says
# nothing about them.
# check_kunit CPU KERNEL
check_kunit() {
	local release log=$LOGS/${CHECK_NAME//\//.}.txt
	release=$(cat "$(kernel_dir "$2")/release")
	"$LAB/vm" --cpu "$1" --kernel "$2" --timeout 900 --add "$BUILD/$release/kiln-kunit.ko" -- sh -c '
		dmesg -c >/dev/null
		insmod /work/kiln-kunit.ko || exit
		dmesg
		rmmod kiln-kunit' | sed 's/^\[ *[0-9.]*\] //' >"$log"
	expect "[$1 $2] KUnit suites run without a report from the kernel" test "${PIPESTATUS[0]}" = 0
	cat "$log"
	kunit_results "[$1 $2] " <"$log"
}

# run_suites LOG SUITES MACHINE-OPTION...: the suites (none: every *_test of build/selftests) in one machine, each with its
# time limit, its TAP and its status between marks. A suite that ends the machine fails this, and those after it get another
# machine.
run_suites() {
	local log=$1 suites=${2// /$'\n'} status=0
	shift 2
	[ -n "$suites" ] ||
		suites=$(cd "$BUILD/selftests" && find . -maxdepth 1 -type f -name '*_test' -perm -u+x -printf '%f\n' | sort)
	[ -n "$suites" ] || { echo "build/selftests holds no *_test"; return 1; }
	: >"$log"
	while [ -n "$suites" ]; do
		run_suites_once "$suites" "$@" >>"$log" || status=1
		suites=$(suites_after "$suites" "$(unfinished_suite <"$log")")
	done
	return $status
}

# suites_after SUITES SUITE: those of the list that come after this one; none after none.
suites_after() {
	[ -z "$2" ] || sed "1,/^$2\$/d" <<<"$1"
}

# unfinished_suite <LOG: the last one, if the log ends before its status.
unfinished_suite() {
	awk '/^### suite / { suite = $3 } /^### status / { suite = "" } END { print suite }'
}

# In a machine: the suites that are its arguments, with a disk where its kernel has a driver for it, with one that fails
# where its module was added, and with more kills where all detectors are on.
# shellcheck disable=SC2016 # for the shell of the machine
RUN_SUITES='
	for module in virtio_pci virtio_blk ata_piix sd_mod; do modprobe -q $module; done
	for disk in /dev/vda /dev/sda; do [ ! -b $disk ] || export KILN_TEST_DISK=$disk; done
	[ ! -e /work/medium.ko ] || insmod /work/medium.ko
	echo 32 >/proc/sys/vm/nr_hugepages
	case $(uname -r) in *-debug) export KILN_KILLS=200 ;; esac
	for suite; do
		echo "### suite $suite"
		timeout -s KILL 600 $suite
		echo "### status $?"
	done
	rmmod kiln
	echo "### unload $?"
'

# run_suites_once SUITES MACHINE-OPTION...
run_suites_once() {
	local suites=$1
	shift
	# shellcheck disable=SC2086 # the list is words
	"$LAB/vm" "$@" --disk "$(scratch_disk)" -- sh -c "$RUN_SUITES" sh $suites
}

# suites_ran_on CPU <LOG: there are suites, and each says that its guests ran on kiln, on this vendor's extension.
suites_ran_on() {
	local -A extensions=([intel]="Intel VMX" [amd]="AMD SVM")
	awk -v head="# kiln on ${extensions[$1]}" '
		/^### suite / { suites++; said = 0 }
		$0 == head && suites && !said++ { heads++ }
		/^# (kiln|stock KVM) on / && $0 != head { others++ }
		END { exit !suites || heads != suites || others }'
}

# suite_results PREFIX LOG CPU: what the marks of run_suites delimit.
suite_results() {
	local prefix=$1 log=$2 suite tap status
	expect "${prefix}each suite says that it ran on kiln on $3" suites_ran_on "$3" <"$log"
	sed -n 's/^### suite //p' "$log" | while read -r suite; do
		tap=$(sed -n "/^### suite $suite\$/,/^### status /p" "$log" | sed '1d;/^### suite /,$d')
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

# check_selftests CPU KERNEL CPUS ARGUMENT [SUITE...]
check_selftests() {
	local log=$LOGS/${CHECK_NAME//\//.}.txt argument=${4#-} prefix medium=
	[ "$2" != debug ] || medium=$BUILD/lab/medium/medium.ko
	prefix="[$1 $2, $3 CPU${argument:+, $argument}] "
	run_suites "$log" "${*:5}" --cpu "$1" --kernel "$2" --cpus "$3" ${argument:+--module-args "$argument"} \
		${medium:+--add "$medium"} --timeout 2400
	expect "${prefix}suites run without a report from the kernel" test $? = 0
	cat "$log"
	suite_results "$prefix" "$log" "$1"
	[ "$2" != debug ] || expect "${prefix}kill_test kills 200 times" grep -q '^# 200 kills' "$log"
}
