# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# A machine in Bochs: VMX with EPT, or SVM with some of what QEMU lacks of it. It executes up to 70 million instructions a
# second, a fifth of that with two CPUs. Its clock counts instructions, 25 million of them a second, so that what waits with
# a busy CPU does not wait for long. All CPUs are cores of one package: of a package's first CPU Linux believes the TSC that
# it has after a suspend.

BOCHS_BLOCK=$((0x20000))
BOCHS_PAYLOAD=$((0x1000000))

# bochs_has_amd MODEL: whether it is one of Bochs's CPUs with SVM and nested paging on which Linux comes up.
bochs_has_amd() {
	[[ $1 = trinity_apu || $1 = zambezi ]]
}

# bochs_rom: prints the path of the option ROM that starts the kernel (lab/boot/bootrom.S).
bochs_rom() {
	local rom=$BUILD/lab/bootrom.bin new=$BUILD/lab/bootrom.$$ sum
	if ! fresh "$rom" "$LAB/boot/bootrom.S" "$LAB/boot/bootrom.h"; then
		mkdir -p "${rom%/*}"
		if ! gcc -m32 -c -o "$new.o" "$LAB/boot/bootrom.S" ||
			! ld -m elf_i386 -Ttext 0xd0000 --oformat binary -o "$new" "$new.o"; then
			die "the boot ROM does not build"
		fi
		truncate -s 1024 "$new"
		# The BIOS runs a ROM whose bytes add up to 0.
		sum=$(od -An -v -tu1 "$new" | awk '{ for (i = 1; i <= NF; i++) s += $i } END { print (256 - s % 256) % 256 }')
		printf '%b' "\\x$(printf %x "$sum")" | dd of="$new" bs=1 seek=1023 conv=notrunc status=none
		rm -f "$new.o"
		mv "$new" "$rom"
	fi
	echo "$rom"
}

# flat_kernel KERNEL_DIR: makes DIR/flat, the memory image of vmlinux up to its last byte of bss, in whole blocks.
flat_kernel() {
	local dir=$1 end
	fresh "$dir/flat" "$dir/vmlinux" && return
	objcopy -O binary "$dir/vmlinux" "$dir/flat.$$" || die "$dir/vmlinux: not an ELF kernel"
	end=$(readelf -lW "$dir/vmlinux" | awk '$1 == "LOAD" { print $4, $6 }' | while read -r at size; do
		echo $((at + size))
	done | sort -n | tail -n 1)
	truncate -s $(((end - BOCHS_PAYLOAD + BOCHS_BLOCK - 1) / BOCHS_BLOCK * BOCHS_BLOCK)) "$dir/flat.$$"
	mv "$dir/flat.$$" "$dir/flat"
}

# pvh_entry VMLINUX: the address in its note XEN_ELFNOTE_PHYS32_ENTRY (type 18).
pvh_entry() {
	readelf -nW "$1" 2>/dev/null | awk '
		$1 == "Xen" { wanted = /0x00000012/ }
		wanted && /description data:/ { sub(/.*data: */, ""); print "0x" $4 $3 $2 $1; exit }'
}

# bochs_boot_image KERNEL_DIR INITRD CMDLINE: the image that bootrom.S looks for, on stdout.
bochs_boot_image() {
	local dir=$1 initrd=$2 cmdline=$3 entry kernel_size initrd_size pad work=$RUN/header
	flat_kernel "$dir"
	entry=$(pvh_entry "$dir/vmlinux")
	[ -n "$entry" ] || die "this kernel has no PVH entry (CONFIG_PVH)"
	kernel_size=$(stat -c %s "$dir/flat")
	initrd_size=$(stat -c %s "$initrd")
	pad=$(((initrd_size + 4 + BOCHS_BLOCK - 1) / BOCHS_BLOCK * BOCHS_BLOCK - initrd_size))
	gcc -m32 -c -o "$work.o" -DENTRY="$entry" -DINITRD="$((BOCHS_PAYLOAD + kernel_size))" \
		-DINITRD_SIZE="$initrd_size" -DSIZE="$((kernel_size + initrd_size + pad))" \
		-DCMDLINE="\"$cmdline\"" "$LAB/boot/header.S" || die "the boot header does not build"
	objcopy -O binary -j .text "$work.o" "$work"
	cat "$work" "$dir/flat" "$initrd"
	head -c $((pad - 4)) /dev/zero
	printf 'DNEK'
}

# bochs_prepare KERNEL_DIR INITRD CMDLINE: writes what the machine is started with into $RUN. Of its memory Bochs holds 2 GiB
# at most; what is touched beyond that goes to a file and back.
bochs_prepare() {
	local logged=ignore clock=none magic=0 ips=${KILN_BOCHS_IPS:-25000000}
	[ -z "${KILN_BOCHS_RC:-}" ] || magic=1
	[ -z "${KILN_BOCHS_LOG:-}" ] || logged=report
	# An idle machine runs ahead of real time, which nobody wants who sits before it.
	[ -z "$TTY" ] || { clock=slowdown && ips=100000000; }
	bochs_boot_image "$@" >"$RUN/boot.img"
	# KILN_BOCHS_RC: commands for Bochs's debugger, whose output goes to KILN_BOCHS_TTY. XCHG BX,BX is a breakpoint then.
	if [ -n "${KILN_BOCHS_RC:-}" ]; then cat "$KILN_BOCHS_RC"; else echo c; fi >"$RUN/debugger.rc"
	cat >"$RUN/bochsrc" <<-END
		romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
		vgaromimage: file=/usr/share/vgabios/vgabios.bin
		optromimage1: file=$(bochs_rom), address=0xd0000
		optramimage1: file=$RUN/boot.img, address=0x800000
		memory: guest=$MEMORY, host=$((MEMORY < 2048 ? MEMORY : 2048))
		cpu: model=${CPU_MODEL:-corei7_haswell_4770}, count=1:$CPUS:1, quantum=32, ips=$ips, reset_on_triple_fault=0, ignore_bad_msrs=1
		clock: sync=$clock
		com1: enabled=1, mode=file, dev=$RUN/serial
		$(bochs_com2)
		$(bochs_disk)
		parport1: enabled=1, file=$RUN/output
		parport2: enabled=1, file=$RUN/log
		display_library: term
		panic: action=report
		error: action=$logged
		info: action=$logged
		log: ${KILN_BOCHS_LOG:-$RUN/bochs.log}
		magic_break: enabled=$magic
	END
}

bochs_com2() {
	if [ -n "$TTY" ]; then
		echo "com2: enabled=1, mode=term, dev=$TTY"
	else
		echo "com2: enabled=0"
	fi
}

bochs_disk() {
	[ -z "$DISK" ] || cat <<-END
		ata0: enabled=1
		ata0-master: type=disk, mode=volatile, path="$(realpath "$DISK")", journal="$RUN/journal"
	END
}

# bochs_drain: reads what Bochs shows on the terminal that it makes for its screen, which nobody watches: once its buffer
# were full, Bochs would wait for ever.
bochs_drain() {
	local pts=''
	# Not as redirections of a call, behind which bash keeps them open.
	# shellcheck disable=SC2154 # they are lab/vm's
	exec {hold_output}>&- {hold_log}>&- <&- >/dev/null 2>&1
	while [ -z "$pts" ]; do
		[ -d "$RUN" ] && kill -0 "$EMULATOR" 2>/dev/null || return
		sleep 0.2
		pts=$(sed -n 's/.*connected to screen "\([^"]*\)".*/\1/p' "$RUN/emulator.log" 2>/dev/null)
	done
	stty -F "$pts" raw -echo && exec cat "$pts"
}

# bochs_run: the machine, until it is off. Its display wants a terminal: script gives it one nobody sees.
bochs_run() {
	export TERM=linux
	exec setpriv --pdeathsig TERM script -qfec \
		"echo \$\$ >'$RUN/pid'; exec setpriv --pdeathsig KILL bochs -q -f '$RUN/bochsrc' -rc '$RUN/debugger.rc'" \
		"${KILN_BOCHS_TTY:-/dev/null}" >"$RUN/emulator.log" 2>&1 </dev/null
}
