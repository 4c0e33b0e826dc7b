# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The kernel's own KVM selftests, on kiln through a /dev/kvm symlink. Those of KVM_REQUIRED have to pass, of the
# others it is printed which do.

KVM_REQUIRED="cpuid_test set_sregs_test userspace_io_test tsc_msrs_test kvm_create_max_vcpus"
KVM_OTHERS="kvm_binary_stats_test steal_time system_counter_offset_test cr4_cpuid_sync_test fix_hypercall_test
	get_msr_index_features kvm_clock_test kvm_pv_test max_vcpuid_cap_test monitor_mwait_test platform_info_test
	set_boot_cpu_id smm_test state_test sync_regs_test triple_fault_event_test ucna_injection_test
	userspace_msr_exit_test vmx_apic_access_test vmx_msrs_test debug_regs demand_paging_test
	set_memory_region_test xapic_state_test xapic_ipi_test xss_msr_test"

check kvm-selftests/build "kernel/dev" kvm_selftests
for cpu in $BACKENDS; do
	check "kvm-selftests/$cpu" "kvm-selftests/build build/module-dev" check_kvm_selftests "$cpu"
done

# check_kvm_selftests CPU
check_kvm_selftests() {
	local dir test log=$LOGS/kvm-selftests-$1.txt
	dir=$(kvm_selftests)
	# shellcheck disable=SC2016,SC2086 # for the shell of the machine; the lists are words
	"$LAB/vm" --cpu "$1" --timeout 1200 --memory 2048 --add "$dir:/kvm" -- sh -c '
		ln -s kiln /dev/kvm
		echo 1 >/proc/sys/vm/overcommit_memory
		for test; do
			[ -x /kvm/$test ] || { echo "### $test missing"; continue; }
			timeout -s KILL 60 /kvm/$test >/tmp/log 2>&1
			status=$?
			[ $status = 0 ] || tail -n 8 /tmp/log
			echo "### $test $status"
		done' sh $KVM_REQUIRED $KVM_OTHERS >"$log"
	expect "[$1] KVM selftests run without a report from the kernel" test $? = 0
	cat "$log"
	for test in $KVM_REQUIRED; do
		expect "[$1] KVM selftest $test" grep -qx "### $test 0" "$log"
	done
	# An exit status of 4 is how these programs skip.
	print "of the others pass: $(others_with 0 "$log")"
	print "skip: $(others_with 4 "$log"); do neither: $(others_with '([1235-9]|..+)' "$log")"
}

# others_with STATUS LOG: the names of those that ended so; STATUS is an extended regular expression.
others_with() {
	local test names=
	for test in $KVM_OTHERS; do
		! grep -qxE "### $test $1" "$2" || names+=" $test"
	done
	echo "${names:- none}"
}
