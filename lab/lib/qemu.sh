# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# A machine in QEMU: TCG emulates SVM; a host whose KVM nests emulates VMX.

# kvm_nests_vmx: true where a guest of this host's KVM really has VMX. That /dev/kvm exists says nothing, so
# the last word has a guest that looks; the answer is kept until the host reboots.
kvm_nests_vmx() {
	local answer
	grep -qw vmx /proc/cpuinfo || return 1
	[ -r /dev/kvm ] && [ -w /dev/kvm ] || return 1
	grep -q '[Y1]' /sys/module/kvm_intel/parameters/nested 2>/dev/null || return 1
	answer=$CACHE/nested-vmx-$(cat /proc/sys/kernel/random/boot_id)
	if [ ! -e "$answer" ]; then
		say "asking a guest of this machine's KVM whether it has VMX"
		if KILN_MACHINE=kvm "$LAB/vm" --kernel stock --no-load --timeout 60 -- grep -qw vmx /proc/cpuinfo >/dev/null 2>&1; then
			echo yes >"$answer"
		else
			echo no >"$answer"
		fi
	fi
	[ "$(cat "$answer")" = yes ]
}

# qemu_cpu: the arguments that say what executes the machine, one a line. TCG executes each round of a REP by itself (and
# counts it as an instruction): without ERMS and FSRM kernels and libraries, those of guests included, clear and copy by
# words, not bytes.
qemu_cpu() {
	local model=${CPU_MODEL:-max},la57=off,erms=off,fsrm=off
	if [ "$MACHINE" = kvm ]; then
		printf '%s\n' -accel kvm -cpu host
	elif [ -n "$DETERMINISTIC" ]; then
		# An instruction is a nanosecond and nothing is random; idle time passes at once.
		printf '%s\n' -accel "tcg,thread=single" -icount "shift=0,sleep=off" -rtc "base=2024-01-01,clock=vm" -seed 1 \
			-cpu "$model,rdrand=off,rdseed=off"
	else
		printf '%s\n' -accel "tcg,thread=multi" -cpu "$model"
	fi
}

# qemu_chipset: the arguments for the board, with --iommu if asked for. Both IOMMUs remap interrupts, for which the
# I/O APIC has to be QEMU's own.
qemu_chipset() {
	case $IOMMU in
	intel) printf '%s\n' -M "q35,kernel-irqchip=split" -device "intel-iommu,intremap=on,caching-mode=on" ;;
	amd) printf '%s\n' -M "q35,kernel-irqchip=split" -device "amd-iommu,intremap=on" ;;
	*) printf '%s\n' -M q35 ;;
	esac
}

# qemu_spares_cpu: does the machine have one CPU more than COMMAND is to see? TCG clears a flag of the first CPU's, without
# a lock, whenever any CPU loads FPU registers (cpu_clear_ignne() of QEMU); GIF and "nested paging is on" are bits of the
# same word. A CPU that runs guests must not be that one: Documentation/lab.rst. The dev kernel takes 8 CPUs.
# shellcheck disable=SC2153 # CPUS is lab/vm's
qemu_spares_cpu() {
	[ "$MACHINE" = tcg ] && [ -z "$DETERMINISTIC" ] && [ "$CPUS" -gt 1 ] && [ "$CPUS" -lt 8 ]
}

# qemu_prepare KERNEL_DIR INITRD CMDLINE: writes the command line of the machine to $RUN/qemu, NUL-separated.
qemu_prepare() {
	local dir=$1 initrd=$2 cmdline=$3 cpus=$CPUS board
	if qemu_spares_cpu; then
		cpus=$((CPUS + 1))
		cmdline+=" lab.spare-cpu"
	fi
	# KILN_QEMU_IMAGE=vmlinuz: entered in a second more, but QEMU puts an ELF image back into memory at each reset, and a
	# machine that wakes up is reset.
	mapfile -t board < <(qemu_cpu; qemu_chipset)
	printf '%s\0' qemu-system-x86_64 "${board[@]}" -m "$MEMORY" -smp "$cpus" \
		-no-user-config -nodefaults -display none -no-reboot \
		-kernel "$dir/${KILN_QEMU_IMAGE:-vmlinux}" -initrd "$initrd" -append "$cmdline" \
		-chardev "file,id=com1,path=$RUN/serial" -serial chardev:com1 \
		-chardev "file,id=output,path=$RUN/output" -device isa-parallel,chardev=output,iobase=0x378,irq=7 \
		-chardev "file,id=log,path=$RUN/log" -device isa-parallel,chardev=log,iobase=0x278,irq=5 \
		>"$RUN/qemu"
	# The second serial port comes after the first, so it is listed last.
	[ -z "$TTY" ] || printf '%s\0' -chardev "serial,id=com2,path=$TTY" -serial chardev:com2 >>"$RUN/qemu"
	[ -z "$DISK" ] || printf '%s\0' -drive "file=$DISK,format=raw,if=virtio,snapshot=on" >>"$RUN/qemu"
	# To look into the machine: a monitor, -d, -s.
	[ -z "${KILN_QEMU_ARGS:-}" ] || xargs -n1 printf '%s\0' <<<"$KILN_QEMU_ARGS" >>"$RUN/qemu"
}

qemu_run() {
	local command
	mapfile -d '' command <"$RUN/qemu"
	echo "$BASHPID" >"$RUN/pid"
	exec setpriv --pdeathsig KILL "${command[@]}" >"$RUN/emulator.log" 2>&1 </dev/null
}
