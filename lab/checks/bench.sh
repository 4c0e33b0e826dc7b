# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Instructions per operation, kiln beside stock KVM.

for cpu in $BACKENDS; do
	check "bench/$cpu" "kernel/dev build/module-dev build/selftests build/launcher" check_bench "$cpu"
done
! has_backend amd || check bench/repeat bench/amd check_repeat
! has_backend amd || check bench/boot "bench/amd kernel/stock" check_boot
# One bench at a time: they write the same logs.
! has_backend amd || check bench/devices "bench/boot build/module-stock kernel/stock" check_devices amd
! has_backend intel || slow_check bench/devices-intel "bench/boot build/module-stock kernel/stock" "four minutes, and amd has the same rows" \
	check_devices intel

# rows_of JSON: "KILN RATIO NAME" for each row, where each row has exactly its four members and they are numbers.
rows_of() {
	tr '{' '\n' <"$1" |
		sed -nE 's/.*"name": *"([^"]+)", *"kiln": *([0-9.]+), *"kvm": *[0-9.]+, *"ratio": *([0-9.]+) *}.*/\2 \3 \1/p'
}

# no_slower JSON: no row costs more than on stock KVM. Bochs repeats to about a part in a thousand, hence a hundredth of
# grace. KiB are not instructions.
no_slower() {
	! rows_of "$1" | grep -v ' KiB ' | awk '$2 > 1.01' | grep .
}

# larger_rows JSON: "KILN SMALLEST NAME" for each row named "OPERATION, N THINGS" but the first of each operation and
# thing, which has the fewest and whose cost is SMALLEST.
larger_rows() {
	rows_of "$1" | sed -nE 's/^([0-9.]+) [0-9.]+ (.*), ([0-9,]+) ([^ ,]+)$/\1;\2;\3;\4/p' | awk -F ';' '
		{ thing = $4; sub(/s$/, "", thing); row = $2 ";" thing }
		!(row in smallest) { smallest[row] = $1; next }
		{ print $1, smallest[row], $2 ", " $3 " " $4 }'
}

# no_growth JSON: a larger VM costs 3 % more at most. Among slots kiln searches in as many steps as their number has
# binary digits, which shows where each fault is in another slot.
no_growth() {
	! larger_rows "$1" | awk '$1 > $2 * (/ each in another slot, / ? 1.33 : 1.03)' | grep .
}

# The operations that each table has, with their aims: 0.4 where the exit stays in the kernel, 0.6 where it reaches the
# launcher, 0.7 for the first touch of memory; a large page is cleared by the host's kernel on both, which is nearly all
# of it. "KiB" rows are an amount, not a ratio.
operations() {
	cat <<-'END'
		0.4 CPUID exit
		0.4 RDMSR exit (APIC base)
		0.4 WRMSR exit (MTRR)
		0.4 port read in the kernel (PIC ELCR)
		0.6 port read in user space
		0.6 port write in user space
		0.6 MMIO read in user space
		0.6 MMIO write in user space
		0.4 ioeventfd, port write
		0.4 ioeventfd, MMIO write of length 0
		0.4 virtio kick served, ioeventfd to a thread
		0.6 64 bytes of entropy, kick to interrupt
		0.4 EOI, xAPIC
		0.4 EOI, x2APIC
		0.4 self-IPI, xAPIC
		0.4 self-IPI, x2APIC
		0.4 HLT to timer interrupt, past the deadline
		0.7 first touch of 4K, absent in the host
		0.7 first touch of 4K, present in the host
		1.01 first touch of 2M, clearing included
		0.7 first touch of 2M, present in the host
		0.4 VM and vCPU, create and destroy
		1 launcher start to the guest's first instruction
		3072 KiB per VM beyond guest RAM, kernel only
		3072 KiB per VM beyond guest RAM, launcher included
	END
}

# operation_within JSON AIM NAME: there is that row, once, and within its aim.
operation_within() {
	rows_of "$1" | awk -v aim="$2" -v name="$3" '
		{ row = $0; sub(/^[^ ]+ [^ ]+ /, "", row) }
		row == name { seen++; print; over = (name ~ /^KiB / ? $1 : $2) > aim }
		END { exit seen != 1 || over }'
}

# check_bench CPU
check_bench() {
	local json=$BUILD/bench-$1.json larger aim name
	rm -f "$json"
	expect "[$1] bench runs" "$LAB/bench" --cpu "$1"
	while read -r aim name; do
		expect "[$1] $name: at most $aim" operation_within "$json" "$aim" "$name"
	done < <(operations)
	larger=$(larger_rows "$json" | grep -c .)
	expect "[$1] no row costs more than on stock KVM" no_slower "$json"
	expect "build/bench-$1.json has rows of larger VMs (20 at least, here $larger)" test "$larger" -ge 20
	expect "[$1] what an operation costs does not grow with the VM" no_growth "$json"
}

# The numbers of two machines, to the last digit.
check_repeat() {
	local json=$BUILD/bench-amd.json run
	mv "$json" "$LOGS/bench-amd.json"
	for run in 1 2; do
		expect "[amd] run $run" "$LAB/bench" --cpu amd --only ", 16 MiB"
		mv "$json" "$LOGS/bench-amd-$run.json"
	done
	mv "$LOGS/bench-amd.json" "$json"
	expect "[amd] the runs have rows" grep -q '"kiln": [0-9]' "$LOGS/bench-amd-1.json"
	expect "[amd] two runs print the same numbers" cmp "$LOGS/bench-amd-1.json" "$LOGS/bench-amd-2.json"
}

# later_within_aim JSON: there is the row of later runs beside QEMU, and it is within its aim.
later_within_aim() {
	rows_of "$1" | awk '/later runs, by kiln run and QEMU/ { seen = 1; over = $2 > 0.5 } END { exit !seen || over }'
}

check_boot() {
	local json=$BUILD/bench-boot-amd.json
	rm -f "$json"
	expect "[amd] a stock kernel boots by kiln run, and by QEMU on stock KVM" "$LAB/bench" --cpu amd --boot
	expect "build/bench-boot-amd.json has its rows" test "$(rows_of "$json" | grep -c .)" = 4
	expect "[amd] no boot costs more than on stock KVM" no_slower "$json"
	expect "[amd] a kernel that is known boots within the aim, 0.5" later_within_aim "$json"
}

# within_aims JSON: no device costs more than its peer, and no more than its aim where that was met once. A stream of TCP
# has a little grace, since how it falls into segments is another matter with each build.
within_aims() {
	! rows_of "$1" | awk '
		{ aim = 1 }
		/ 4 KiB / { aim = 0.5 }
		/ packet / { aim = 0.8 }
		/ virtio console / { aim = 0.1 }
		/ of TCP / { aim = 1.05 }
		$2 > aim { print $0 ", aim " aim }' | grep .
}

# check_devices CPU
check_devices() {
	local json=$BUILD/bench-devices-$1.json
	rm -f "$json"
	expect "[$1] disks, cards and consoles are measured" "$LAB/bench" --cpu "$1" --devices
	expect "build/bench-devices-$1.json has its rows" test "$(rows_of "$json" | grep -c .)" = 29
	expect "[$1] no device costs more than its peer, and those within their aims stay there" within_aims "$json"
	expect "[$1] a request costs the same with more devices and more memory" no_growth "$json"
}
