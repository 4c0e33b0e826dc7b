# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The machine ends or sleeps while guests run: reboot, kexec, a crash with a crash kernel, suspend to RAM.

for cpu in $BACKENDS; do
	check "ends/$cpu" "build/module-dev build/launcher build/selftests" check_ends "$cpu"
	check "suspend/$cpu" "build/module-dev build/launcher build/selftests" check_suspend "$cpu"
done

# What the machine does first, in all of these: a guest on each of its two CPUs, seen at work.
# shellcheck disable=SC2016 # for the shell of the machine
GUEST_RUNS='
	kiln run --kernel /lab/selftests/busy.elf --cpus 2 --memory 64M --console null &
	guest=$!
	# The 43rd field is the time the guest has run, in ticks.
	guest_time() { awk "{ print \$43 }" /proc/$guest/stat; }
	runs() { was=$(guest_time); i=0; while [ $((i += 1)) -le 100 ]; do
		[ "$(guest_time)" -gt $((was + 2)) ] && return
		sleep 0.1
	done; return 1; }
	runs && echo "a guest runs"
	/work/msr 0xc0000080 | sed "s/^/before: EFER /"
	# A crash takes with it what init has not passed on: it has when it sleeps.
	until [ "$(cut -d " " -f 3 /proc/1/stat)" = S ]; do :; done
'

# second_kernel CPU: makes the files of the kernel that comes after, and of its only command: nobody left VMX or SVM on
# (CR4.VMXE would have been fatal before this; EFER is looked at), and kiln, loaded anew, has guests again.
second_kernel() {
	local dir tree=$LOGS/second-$1 release
	dir=$(kernel_dir dev) || return
	release=$(cat "$dir/release")
	rm -rf "$tree"
	mkdir -p "$tree"/{lab/bin,lab/selftests,work,lib/modules}
	# shellcheck disable=SC2016 # for the shell of the machine
	printf '%s\0' sh -c 'echo "the second kernel runs"
		grep -qw vmx /proc/cpuinfo || echo "EFER $(/work/msr 0xc0000080 | head -n 1)"
		vm_test >/tmp/log && echo "it has guests" || cat /tmp/log' >"$tree/lab/command"
	strip -g -o "$tree/lab/kiln.ko" "$BUILD/$release/kiln.ko"
	[ "$1" != intel ] || printf 'apicv=0' >"$tree/lab/kiln.args"
	cp "$LAB/guest/msr" "$tree/work/"
	cp "$BUILD/selftests/vm_test" "$tree/lab/selftests/"
	# With no more modules than that takes: both kernels compute its checksum.
	IMAGE_MODULES=msr add_modules "$dir" "$tree" || return
	make_base "$tree.none" "$(guest_program init)" "$tree.base" && overlay_image "$tree" | cat "$tree.base" - >"$tree.initrd"
}

# vm_with_second CPU LOG OPTION... -- BEFORE AFTER: what is done before and after the guest starts, in the machine's shell;
# $second has the arguments for kexec.
vm_with_second() {
	local dir log=$2
	dir=$(kernel_dir dev)
	set -- --cpu "$1" --cpus 2 --timeout 300 --log "$log" --add "$(guest_program kexec)" \
		--add "$LAB/guest/msr" --add "$dir/vmlinuz:/second/vmlinuz" --add "$LOGS/second-$1.initrd:/second/initrd" "${@:3}"
	# shellcheck disable=SC2016 # for the shell of the machine
	"$LAB/vm" "${@:1:$#-2}" sh -c 'second="/second/vmlinuz /second/initrd"
		cmdline="$(sed "s/crashkernel=[^ ]*//; s/lab.spare-cpu//" /proc/cmdline) nr_cpus=1"
		'"${*: -2:1}$GUEST_RUNS${*: -1}" | tee "$log.out"
	return "${PIPESTATUS[0]}"
}

# check_second WHAT CPU LOG: the second kernel came up, free of the first one's guests.
check_second() {
	local efer
	expect "[$2] $1: a guest ran" grep -qx 'a guest runs' "$3.out"
	expect "[$2] $1: the next kernel starts" grep -qx 'the second kernel runs' "$3.out"
	if [ "$2" = amd ]; then
		efer=$(sed -n 's/^EFER \([0-9a-f]*\)$/\1/p' "$3.out")
		expect "[$2] $1: SVM was on before" test "$(sed -n 's/^before: EFER //p' "$3.out" | sort -u)" = 0000000000001d01
		expect "[$2] $1: SVM is off then" test -n "$efer" -a $((0x${efer:-1000} & 0x1000)) = 0
	fi
	expect "[$2] $1: kiln has guests there" grep -qx 'it has guests' "$3.out"
}

# check_ends CPU
check_ends() {
	local log=$LOGS/ends-$1
	expect "[$1] the second kernel is there" second_kernel "$1" || return

	vm_with_second "$1" "$log.reboot" -- '' 'reboot -f' 2>"$log.reboot.err"
	expect "[$1] reboot: the machine ends, and reports nothing" test $? = 125
	expect "[$1] reboot: a guest ran" grep -qx 'a guest runs' "$log.reboot.out"
	expect "[$1] reboot: the kernel came to its end" grep -q 'reboot: Restarting system' "$log.reboot.err"

	vm_with_second "$1" "$log.emergency" -- '' 'echo b >/proc/sysrq-trigger' 2>"$log.emergency.err"
	expect "[$1] restart in an emergency: the machine ends, and reports nothing" test $? = 125
	expect "[$1] restart in an emergency: a guest ran" grep -qx 'a guest runs' "$log.emergency.out"

	# shellcheck disable=SC2016 # for the shell of the machine
	vm_with_second "$1" "$log.kexec" -- '/work/kexec load $second "$cmdline"' '/work/kexec now'
	expect "[$1] kexec: ends well" test $? = 0
	check_second kexec "$1" "$log.kexec"

	# shellcheck disable=SC2016 # for the shell of the machine
	vm_with_second "$1" "$log.crash" --append crashkernel=192M -- \
		'/work/kexec crash $second "$cmdline"' 'echo c >/proc/sysrq-trigger' 2>"$log.crash.err"
	expect "[$1] crash: is reported" test $? = 123
	expect "[$1] crash: is the one that was asked for" grep -q 'Kernel panic.*sysrq triggered crash' "$log.crash.err"
	check_second crash "$1" "$log.crash"

	# On AMD the kernel of the machine does it by itself.
	[ "$1" = intel ] || return 0
	[ -n "${KILN_SLOW:-}" ] || { slow "[$1] crash after KVM" "takes a minute more"; return; }
	# shellcheck disable=SC2016 # for the shell of the machine
	vm_with_second "$1" "$log.kvm" --append crashkernel=192M -- \
		'/work/kexec crash $second "$cmdline"; modprobe kvm-intel' \
		'rmmod kvm_intel && echo "KVM has gone"; echo c >/proc/sysrq-trigger' 2>"$log.kvm.err"
	expect "[$1] crash after KVM: it had gone" grep -qx 'KVM has gone' "$log.kvm.out"
	check_second 'crash after KVM' "$1" "$log.kvm"
}

# keep_awake FIFO: wakes QEMU's machine up each time it has gone to sleep, until it is killed. FIFO.in and FIFO.out are
# QEMU's monitor (QMP).
keep_awake() {
	local line
	exec 3<>"$1.in" 4<>"$1.out"
	echo '{ "execute": "qmp_capabilities" }' >&3
	while read -r line <&4; do
		[[ $line != *'"SUSPEND"'* ]] || echo '{ "execute": "system_wakeup" }' >&3
	done
}

# The kernel's own test of suspending, which cuts no power, is among the self-tests; this is sleep. QEMU does not power off
# any more after it, so the end is a reset. In Bochs the machine wakes up at once. In QEMU the alarm of the machine's clock
# may pass unseen while Linux falls asleep, all the more as the machine's heartbeat sets it to each second, so its monitor
# does it.
# check_suspend CPU
check_suspend() {
	local log=$LOGS/suspend-$1.txt monitor=$LOGS/suspend-$1.qmp hsave waker
	rm -f "$monitor".{in,out}
	mkfifo "$monitor".{in,out} || return
	keep_awake "$monitor" &
	waker=$!
	# shellcheck disable=SC2016 # for the shell of the machine
	KILN_QEMU_ARGS="-chardev pipe,id=qmp,path=$monitor -mon qmp,mode=control" KILN_QEMU_IMAGE=vmlinuz "$LAB/vm" --cpu "$1" --cpus 2 --timeout 300 --add "$LAB/guest/msr" -- sh -c '
		KILN_SLEEP=mem power_test
		echo "### status $?"
		'"$GUEST_RUNS"'
		cd /sys/class/rtc/rtc0 && echo 0 >wakealarm && echo +3 >wakealarm
		echo mem >/sys/power/state
		runs && echo "a guest runs again"
		grep -qw vmx /proc/cpuinfo || /work/msr 0xc0010117 | sed "s/^/HSAVE /"
		dmesg | grep "Low-level resume"
		kill $guest
		wait
		rmmod kiln && echo "kiln unloads"
		reboot -f' >"$log" 2>"$log.err"
	expect "[$1] suspend: the kernel reports nothing" test $? = 125
	kill "$waker"
	rm -f "$monitor".{in,out}
	cat "$log"
	sed '/^### status/,$d' "$log" | tap_results "[$1] asleep: "
	expect "[$1] suspend: the machine slept" grep -q 'Low-level resume complete' "$log"
	expect "[$1] suspend: a guest runs before it" grep -qx 'a guest runs' "$log"
	expect "[$1] suspend: and after it" grep -qx 'a guest runs again' "$log"
	if [ "$1" = amd ]; then
		# TCG does not miss what a reset took from it.
		hsave=$(sed -n 's/^HSAVE 0*//p' "$log" | grep -c .)
		# Two, and the one to spare.
		expect "[amd] suspend: each CPU has its save area again" test "$hsave" = 3
	fi
	expect "[$1] suspend: kiln unloads" grep -qx 'kiln unloads' "$log"
}
