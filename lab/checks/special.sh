# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Some suites where something is different: CPUs with bugs and a kernel that mitigates them (and, under VMX, a disk), a CPU
# with errata, checks at each VMRUN, SVM in Bochs, which has parts of it that QEMU has not, VMX with TSC scaling, lockdep
# under VMX, a huge page of 1 GiB.

# Name, what it needs, suites joined by commas, options of the machine.
while read -r name needs suites options; do
	! has_backend "${name#*/}" || check "$name" "$needs build/selftests build/launcher" check_some "$suites" "$options"
done <<'END'
mitigations/intel build/module-stock contract_test,cpu_test,run_test,virtio_block_test,vm_test --cpu intel --cpus 2 --kernel stock --append mitigations=auto
mitigations/amd build/module-stock contract_test,cpu_test,run_test,smp_test --cpu amd:EPYC --cpus 2 --kernel stock --append mitigations=auto;spec_rstack_overflow=off
ibrs/intel build/module-stock cpu_test --cpu intel:corei7_icelake_u --kernel stock --append mitigations=auto;clearcpuid=avx512f,pku,fsrm
bochs/intel build/module-dev clock_test,contract_test,cpu_test,dirty_test,event_test --cpu intel:corei7_skylake_x --append clearcpuid=avx512f
errata/intel build/module-dev pit_test,lapic_test,clock_test,run_test --cpu intel:corei5_arrandale_m520
verify/amd build/module-dev contract_test,contract_event_test,cpu_test,event_test,smp_test,memory_test --cpu amd --cpus 2 --module-args svm_verify=1
bochs/amd build/module-dev contract_test,cpu_test,event_test,io_test,kiln_test,memory_test,run_test,smp_test,state_test --cpu amd:trinity_apu
lockdep/intel build/module-debug vm_test,run_test,eventfd_test --cpu intel --kernel debug --memory 640 --append kmemleak=off
gigantic/intel build/module-dev kiln_test --cpu intel --memory 2304 --append hugepagesz=1G;hugepages=1
gigantic/amd build/module-dev kiln_test --cpu amd --memory 2304 --append hugepagesz=1G;hugepages=1
END

# What a check's log has to show beside its cases, a pattern a line: that what is different was so, and that the cases
# which are about it were not skipped.
GIGANTIC='^ok [0-9]* gigantic.a_page_of_1g_is_one_mapping$
^ok [0-9]* gigantic.slots_that_end_inside_a_page_of_1g_have_smaller_mappings$
^ok [0-9]* gigantic.a_page_of_1g_is_split_when_its_writes_are_logged$'
# shellcheck disable=SC2016 # patterns
declare -A SPECIAL=(
	[mitigations/intel]='meltdown:Mitigation: PTI
disk: sda'
	[mitigations/amd]='retbleed:Mitigation\|spectre_v2:Mitigation'
	[ibrs/intel]='spectre_v2:Mitigation: Enhanced / Automatic IBRS; IBPB'
	[bochs/intel]='flags: tsc_scaling $
^ok [0-9]* global.xss_takes_what_cpuid_offers_and_refuses_the_rest$
^ok [0-9]* global.xsaves_and_xrstors_keep_registers$'
	[errata/intel]="kiln: this CPU's VMX-preemption timer has an erratum"
	[verify/amd]='svm_verify: Y'
	[bochs/amd]='flags: nrip_save flushbyasid pausefilter $
^ok [0-9]* kiln.pauses_in_a_loop_exit_where_the_cpu_counts_them$'
	[lockdep/intel]='lock-classes: '
	[gigantic/intel]=$GIGANTIC
	[gigantic/amd]=$GIGANTIC
)

# What is done against side channels there: by how many instructions at least an exit costs more for it, one that is over
# in the kernel and one that user space sees; then what the module says. Filling the return stack are 81, clearing buffers
# 1, untraining returns 5, clearing branch history 100, a flush of L1D two for each of 1040 lines and pages.
declare -A SELECTED=(
	[mitigations/intel]='82 2162 L1D flush at entry, buffers cleared at entry, RSB filled at exit, small executable pages'
	[mitigations/amd]='86 86 RSB filled at exit, returns untrained at exit'
	[ibrs/intel]='101 101 buffers cleared at entry, one return filled at exit, branch history cleared at exit, IBRS, IBPB between guests, small executable pages'
)

# check_some SUITES OPTION...
check_some() {
	local log=$LOGS/${CHECK_NAME//\//.}.txt options=("${@:2}") i pattern
	# Arguments of the kernel are words, too: semicolons stand for the blanks between them.
	for i in "${!options[@]}"; do
		options[i]=${options[i]//;/ }
	done
	# shellcheck disable=SC2016,SC2086 # for the shell of the machine; the list is words
	"$LAB/vm" "${options[@]}" --timeout 1200 --disk "$(scratch_disk)" -- sh -c '
		(cd /sys/devices/system/cpu/vulnerabilities 2>/dev/null && grep . *)
		dmesg | grep "kiln: "
		words="nrip_save|flushbyasid|pausefilter|tsc_scaling"
		echo "flags: $(grep -m 1 -A 1 ^flags /proc/cpuinfo | grep -owE "$words" | tr "\n" " ")"
		echo "svm_verify: $(cat /sys/module/kiln/parameters/svm_verify)"
		[ ! -e /proc/lockdep_stats ] || grep "lock-classes" /proc/lockdep_stats
		modprobe -q msr
		'"$RUN_SUITES"'
		echo "disk: $(cd /sys/block && ls -d [sv]da 2>/dev/null)"' sh ${1//,/ } >"$log"
	expect "[$CHECK_NAME] suites run without a report from the kernel" test $? = 0
	cat "$log"
	while read -r pattern; do
		expect "[$CHECK_NAME] says $pattern" grep -q "$pattern" "$log"
	done <<<"${SPECIAL[$CHECK_NAME]}"
	suite_results "[$CHECK_NAME] " "$log" "${CHECK_NAME#*/}"
	[ -z "${SELECTED[$CHECK_NAME]:-}" ] || check_selected "$log" "${options[@]}"
}

# check_selected LOG OPTION...
check_selected() {
	local log=$1 fast slow says on=$LOGS/${CHECK_NAME//\//.}.on off=$LOGS/${CHECK_NAME//\//.}.off
	shift
	read -r fast slow says <<<"${SELECTED[$CHECK_NAME]}"
	expect "[$CHECK_NAME] the module says what it does" grep -q "kiln: mitigations: $says\$" "$log"
	expect "[$CHECK_NAME] an exit is measured" exit_costs "$on" "$@"
	expect "[$CHECK_NAME] and with mitigations=off" exit_costs "$off" "${@/mitigations=auto/mitigations=off}"
	expect "[$CHECK_NAME] where the module does nothing" grep -q "kiln: mitigations: none\$" "$off"
	expect "[$CHECK_NAME] an exit costs $fast instructions more with it" costs_more "$on" "$off" "CPUID exit" "$fast"
	expect "[$CHECK_NAME] one that leaves the kernel $slow" costs_more "$on" "$off" "port read in user space" "$slow"
	case $CHECK_NAME in */amd) ;; *) return ;; esac
	expect "[$CHECK_NAME] an exit is measured again" exit_costs "$off.2" "${@/mitigations=auto/mitigations=off}"
	expect "[$CHECK_NAME] and costs the same" cmp "$off" "$off.2"
}

# exit_costs FILE OPTION...: what the module says, and "NAME COUNT" of each exit, on a machine of one CPU.
exit_costs() {
	local file=$1 options=()
	shift
	while [ $# -gt 0 ]; do
		case $1 in
		--cpus) shift ;;
		*) options+=("$1") ;;
		esac
		shift
	done
	case $CHECK_NAME in */amd) options+=(--deterministic) ;; esac
	# shellcheck disable=SC2016 # for the machine's shell
	KILN_BOCHS_IPS=100000000 "$LAB/vm" "${options[@]}" --timeout 600 -- sh -c '
		dmesg | grep -o "kiln: mitigations: .*"
		for row in "CPUID exit, 1 vCPU" "port read in user space"; do
			bench --device /dev/kiln --only "$row" | tail -n +2
		done' >"$file" && cat "$file"
}

# costs_more FILE THAN EXIT N
costs_more() {
	local on off
	on=$(awk -v name="$3" 'index($0, name) == 1 { print $NF }' "$1")
	off=$(awk -v name="$3" 'index($0, name) == 1 { print $NF }' "$2")
	echo "# $3: $on, without it $off"
	[ "$on" -gt 0 ] && [ "$off" -gt 0 ] && [ $((on - off)) -ge "$4" ]
}

# Backend and case, the model of its CPU, what that does not have, as the log has to say it.
while read -r cpu model words; do
	! has_backend "${cpu%/*}" || check "refuses/$cpu" "build/module-dev build/selftests build/launcher" check_refuses "$model" "$words"
done <<'END'
intel/no-vmx intel:p4_prescott_celeron_336 this CPU has no virtualization extension
intel/no-ept intel:core2_penryn_t9600 lacks 'EPT'
intel/no-unrestricted-guest intel:corei5_lynnfield_750 lacks 'unrestricted guest'
amd/no-svm amd:max,svm=off this CPU has no virtualization extension
amd/no-npt amd:max,npt=off this CPU's SVM lacks nested paging (NPT)
END

# all_have_remedies LOG: there is a line of what is missing, and each has a second half.
all_have_remedies() {
	grep -q '^missing ' "$1" && ! grep '^missing ' "$1" | grep -v '; '
}

refused_in_a_line() {
	[ "$(grep -c '^run: ' "$1")" = 1 ] && grep -q '^run: kiln: /dev/kiln: .*' "$1" && grep -qx 'run ended with 2' "$1"
}

# check_refuses CPU WORDS
check_refuses() {
	local log=$LOGS/${CHECK_NAME//\//.}.txt
	# shellcheck disable=SC2016 # for the machine's shell
	"$LAB/vm" --cpu "$1" --no-load --timeout 200 --add "$BUILD/$("$LAB/kernel" --release dev)/kiln.ko:/kiln.ko" \
		--add "$BUILD/selftests/bench-guest.elf:/kernel" -- sh -c '
		insmod /kiln.ko && exit 1
		dmesg | grep "kiln: "
		[ ! -e /sys/module/kiln ] || exit 1
		kiln check
		echo "check: $?"
		kiln run --kernel /kernel 2>&1 | sed "s/^/run: /"
		kiln run --kernel /kernel 2>/dev/null
		echo "run ended with $?"' >"$log"
	expect "[$CHECK_NAME] the module is refused" test $? = 0
	cat "$log"
	expect "[$CHECK_NAME] and the log says why" grep -qF "$2" "$log"
	expect "[$CHECK_NAME] kiln check says that something is missing" grep -qx 'check: 1' "$log"
	expect "[$CHECK_NAME] and for each thing what to do" all_have_remedies "$log"
	expect "[$CHECK_NAME] kiln run says it in one line, status 2" refused_in_a_line "$log"
}
