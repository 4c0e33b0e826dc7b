# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Debian's kernels as guests: the packaged file, to userspace and a clean power-off.

check guest/stock-2cpu-on-stock "build/module-stock build/launcher" check_guest stock stock 2
check guest/stock-1cpu-on-stock "build/module-stock build/launcher" check_guest stock stock 1
check guest/stock-2cpu-on-dev "build/module-dev build/launcher" check_guest dev stock 2
check guest/stock-1cpu-on-dev "build/module-dev build/launcher" check_guest dev stock 1
check guest/6.12-1cpu-on-dev "build/module-dev build/launcher kernel/stock-6.12" check_guest dev stock-6.12 1

# check_guest HOST GUEST CPUS
check_guest() {
	local guest release log=$LOGS/${CHECK_NAME//\//.}.txt status
	guest=$(kernel_dir "$2")
	release=$(cat "$guest/release")
	"$LAB/vm" --kernel "$1" --timeout 1200 \
		--add "$guest/vmlinuz:/guest/vmlinuz" --add "$(guest_initrd):/guest/initrd" -- \
		kiln run --kernel /guest/vmlinuz --initrd /guest/initrd --cpus "$3" --memory 512M \
		--append "console=ttyS0 panic=-1" | tr -d '\r' | tee "$log"
	status=${PIPESTATUS[0]}
	expect "$CHECK_NAME: powers off with status 0" test "$status" = 0
	expect "$CHECK_NAME: reaches userspace on $release" grep -q "^Linux guest $release " "$log"
	expect "$CHECK_NAME: has $3 CPUs" grep -qx "CPUs: $3" "$log"
	expect "$CHECK_NAME: has its memory" guest_memory "$log"
	expect "$CHECK_NAME: names its hypervisor" grep -qx "hypervisor: KVMKVMKVM" "$log"
}

# Of 512 MiB a kernel keeps some for itself: more than 400 are left.
guest_memory() {
	local mib
	mib=$(sed -n 's/^memory: \([0-9]*\) MiB$/\1/p' "$1")
	[ "${mib:-0}" -gt 400 ] && [ "$mib" -le 512 ]
}
