# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The launcher's own tests: without a hypervisor, under sanitizers, and booting guests on kiln and on stock KVM.

check launcher/unit "build/launcher" check_launcher_unit
for cpu in $BACKENDS; do
	check "launcher/boot-kiln-$cpu" "build/module-dev build/launcher" check_launcher_boot "$cpu" /dev/kiln
done
check launcher/boot-kvm-amd "kernel/dev build/launcher" check_launcher_boot amd /dev/kvm
slow_check launcher/boot-kvm-intel "kernel/dev build/launcher" "takes a minute, and shows what launcher/boot-kvm-amd does" \
	check_launcher_boot intel /dev/kvm
for cpu in $BACKENDS; do
	check "launcher/devices-$cpu" "build/module-dev build/launcher" check_launcher_devices "$cpu"
done
for cpu in $BACKENDS; do
	check "launcher/disks-$cpu" "build/module-dev build/launcher" check_launcher_disks "$cpu"
done
# Between the launcher and the host: it is the same on any CPU.
! has_backend amd || check launcher/images "build/module-stock build/launcher kernel/stock kernel/dev" check_launcher_images amd
check launcher/devices-kvm "kernel/dev build/launcher" check_launcher_devices_kvm amd

check_launcher_unit() {
	local log=$LOGS/launcher-unit.txt
	make -s -C launcher test O="$BUILD" >"$log" 2>&1
	expect "launcher unit tests and bad input end well" test $? = 0
	cat "$log"
	tap_results "launcher: " <"$log"
}

# check_launcher_boot CPU DEVICE: launcher/tests/boot, with the files it wants beside it.
check_launcher_boot() {
	local dir log=$LOGS/${CHECK_NAME//\//.}.txt options=() setup=:
	dir=$(kernel_dir dev)
	make -s -C launcher guest O="$BUILD" || return
	if [ "$2" = /dev/kvm ]; then
		options=(--no-load)
		setup="modprobe kvm-$1"
	fi
	"$LAB/vm" --cpu "$1" "${options[@]}" --timeout 900 --memory 1536 \
		--add launcher/tests/boot:/t/boot --add "$BUILD/launcher-guest:/t/launcher-guest" \
		--add "$dir/vmlinuz:/t/vmlinuz" --add "$dir/vmlinux:/t/vmlinux" --add "$(guest_initrd):/t/initrd" -- \
		sh -c "$setup; sh /t/boot $2" >"$log"
	expect "launcher on $1 $2: guests end well" test $? = 0
	cat "$log"
	tap_results "launcher on $1 $2: " <"$log"
}

# devices_initrd: prints the path of an initrd whose /devices says what is on the PCI bus.
devices_initrd() {
	local initrd=$BUILD/lab/devices.cpio tree
	mkdir -p "$BUILD/lab"
	tree=$(mktemp -d)
	cp launcher/tests/devices "$tree/devices"
	{ cat "$(guest_initrd)" && pack "$tree"; } >"$initrd.$$" && mv "$initrd.$$" "$initrd"
	rm -rf "$tree"
	echo "$initrd"
}

# devices_guest NAME SETUP WORDS OPTION...: one guest of $cpu's machine that runs launcher/tests/devices.
devices_guest() {
	local name=$1 setup=$2 words=$3 dir log=$LOGS/${CHECK_NAME//\//.}-$1.txt load=()
	shift 3
	dir=$(kernel_dir dev)
	[ "$setup" = : ] || load=(--no-load)
	"$LAB/vm" --cpu "$cpu" "${load[@]}" --timeout 900 --memory 1536 \
		--add "$dir/vmlinux:/t/vmlinux" --add "$(devices_initrd):/t/initrd" -- \
		sh -c "$setup; exec kiln run $* --kernel /t/vmlinux --initrd /t/initrd --memory 256M \
			--append 'console=ttyS0 quiet panic=-1 no-kvmapf rdinit=/devices $words'" | tr -d '\r' >"$log"
	expect "$CHECK_NAME $name: powers off with status 0" test "${PIPESTATUS[0]}" = 0
	cat "$log"
	tap_results "$CHECK_NAME $name: " <"$log"
}

# check_launcher_devices CPU: by message, by pin, and without.
check_launcher_devices() {
	local cpu=$1
	devices_guest msi : "RNG=yes MSI=yes BALLOON=yes" --balloon
	devices_guest pin : "RNG=yes MSI=no pci=nomsi" --rng on --cpus 2
	devices_guest none : "RNG=no" --rng off
}

# check_launcher_devices_kvm CPU: the bus is there on stock KVM, too.
check_launcher_devices_kvm() {
	local cpu=$1
	devices_guest kvm "modprobe kvm-$1" "RNG=no" --device /dev/kvm
}

# check_launcher_disks CPU: launcher/tests/disks.
check_launcher_disks() {
	local dir log=$LOGS/${CHECK_NAME//\//.}.txt
	dir=$(kernel_dir dev)
	"$LAB/vm" --cpu "$1" --timeout 1200 --memory 1536 --disk "$(scratch_disk)" --add launcher/tests/disks:/t/disks \
		--add "$dir/vmlinux:/t/vmlinux" --add "$(devices_initrd):/t/initrd" -- sh /t/disks >"$log"
	expect "disks on $1: guests end well" test $? = 0
	cat "$log"
	tap_results "disks on $1: " <"$log"
}

# check_launcher_images CPU: launcher/tests/images, on the kernel that has FUSE.
check_launcher_images() {
	local dir log=$LOGS/${CHECK_NAME//\//.}.txt
	need storage
	dir=$(kernel_dir dev)
	"$LAB/vm" --cpu "$1" --kernel stock --timeout 2400 --memory 1536 --add launcher/tests/images:/t/images \
		--add "$(command -v qemu-storage-daemon):/bin/qemu-storage-daemon" --add "$(command -v qemu-img):/bin/qemu-img" \
		--add "$dir/vmlinux:/t/vmlinux" --add "$(devices_initrd):/t/initrd" -- sh /t/images >"$log"
	expect "images: guests end well" test $? = 0
	cat "$log"
	tap_results "images: " <"$log"
}
