# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Debian's kernels as guests: the packaged file, to userspace and a clean power-off.

# CPU, kernel of the machine, kernel of the guest, CPUs of the guest.
while read -r cpu host guest cpus; do
	! has_backend "$cpu" || check "guest/$cpu-$guest-${cpus}cpu-on-$host" \
		"build/module-$host build/launcher kernel/$guest" check_guest "$cpu" "$host" "$guest" "$cpus"
done <<'END'
intel stock stock 2
intel stock stock 1
intel dev stock 2
intel dev stock 1
intel dev stock-6.12 1
amd stock stock 2
amd stock stock 1
amd dev stock 2
amd dev stock 1
amd dev stock-6.12 1
amd debug stock 2
END

# check_guest CPU HOST GUEST CPUS
check_guest() {
	local guest release log=$LOGS/${CHECK_NAME//\//.}.txt status
	guest=$(kernel_dir "$3")
	release=$(cat "$guest/release")
	"$LAB/vm" --cpu "$1" --kernel "$2" --timeout 1200 \
		--add "$guest/vmlinuz:/guest/vmlinuz" --add "$(guest_initrd):/guest/initrd" -- \
		kiln run --kernel /guest/vmlinuz --initrd /guest/initrd --cpus "$4" --memory 512M \
		--append "console=ttyS0 panic=-1" | tr -d '\r' | tee "$log"
	status=${PIPESTATUS[0]}
	expect "$CHECK_NAME: powers off with status 0" test "$status" = 0
	expect "$CHECK_NAME: reaches userspace on $release" grep -q "^Linux guest $release " "$log"
	expect "$CHECK_NAME: has $4 CPUs" grep -qx "CPUs: $4" "$log"
	expect "$CHECK_NAME: has its memory" guest_memory "$log"
	expect "$CHECK_NAME: names its hypervisor" grep -qx "hypervisor: KVMKVMKVM" "$log"
}

# Of 512 MiB a kernel keeps some for itself: more than 400 are left.
guest_memory() {
	local mib
	mib=$(sed -n 's/^memory: \([0-9]*\) MiB$/\1/p' "$1")
	[ "${mib:-0}" -gt 400 ] && [ "$mib" -le 512 ]
}
