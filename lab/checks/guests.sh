# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Debian's kernels as guests: the packaged file, to userspace and a clean power-off.

# CPU, kernel of the machine, and what it runs one after the other: kernel of the guest, CPUs of the guest, and who unpacks
# it: nobody, since it is in kiln's cache (kept, which is quick), the launcher as on any first run (first), or the kernel
# itself (guest).
while read -r cpu host guests; do
	! has_backend "$cpu" || check "guest/$cpu-on-$host" \
		"build/module-$host build/launcher $(sed 's/:[^ ]*//g; s/[^ ]*/kernel\/&/g' <<<"$guests")" \
		check_guests "$cpu" "$host" "$guests"
done <<'END'
intel stock stock:2:kept stock:1:kept
intel dev stock:2:kept stock:1:kept stock-6.12:1:kept
amd stock stock:2:kept stock:1:kept
amd dev stock:2:first stock:1:guest stock-6.12:1:first
amd debug stock:2:kept
amd stock-6.12 stock:2:kept stock-6.12:2:kept
END

! has_backend amd || check guest/amd-disk "build/module-stock build/launcher kernel/stock" check_guest_disk amd
! has_backend intel || slow_check guest/intel-disk "build/module-stock build/launcher kernel/stock" \
	"takes minutes in Bochs, and launcher/disks-intel has a kernel with disks" check_guest_disk intel
! has_backend amd || check guest/amd-addresses "build/module-dev build/launcher kernel/stock kernel/stock-6.12" \
	check_guest_addresses amd

# What --verbose says of a kernel by who unpacked it.
declare -A UNPACKED_SAYS=([kept]='unpacked, from /var/cache/kiln/kernels$' [first]='unpacked, [0-9]* KiB$' [guest]='unpacks itself (--unpack guest)$')

# check_guests CPU HOST KERNEL:CPUS:UNPACK...
check_guests() {
	local guest name how dir log=$LOGS/${CHECK_NAME//\//.}.txt machine=() guests=("${@:3}")
	for guest in "${guests[@]}"; do
		name=${guest%%:*} how=${guest##*:}
		dir=$(kernel_dir "$name")
		[[ " ${machine[*]} " = *":/guest/$name "* ]] || machine+=(--add "$dir/vmlinuz:/guest/$name")
		[ "$how" != kept ] || machine+=(--unpacked "$dir/vmlinuz")
	done
	# shellcheck disable=SC2016 # for the shell of the machine
	"$LAB/vm" --cpu "$1" --kernel "$2" --timeout 1800 "${machine[@]}" --add "$(guest_initrd):/guest/initrd" -- sh -c '
		for guest; do
			echo "### guest $guest"
			cpus=${guest#*:}
			kiln run --verbose --kernel "/guest/${guest%%:*}" --initrd /guest/initrd --cpus "${cpus%:*}" --memory 512M \
				$(case $guest in *:guest) echo --unpack guest ;; esac) --append "console=ttyS0 panic=-1 addresses"
			echo "### status $?"
		done' sh "${guests[@]}" | tr -d '\r' | tee "$log"
	expect "$CHECK_NAME: guests run without a report from the kernel" test "${PIPESTATUS[0]}" = 0
	for guest in "${guests[@]}"; do
		sed -n "/^### guest $guest\$/,/^### status /p" "$log" >"$log.$guest"
		guest_results "$CHECK_NAME, $guest" "$log.$guest" "$(kernel_dir "${guest%%:*}")" "$(cut -d: -f2 <<<"$guest")" "${guest##*:}"
	done
}

# guest_results NAME LOG KERNEL_DIR CPUS UNPACK
guest_results() {
	local release
	release=$(cat "$3/release")
	expect "$1: powers off with status 0" grep -qx "### status 0" "$2"
	expect "$1: reaches userspace on $release" grep -q "^Linux guest $release " "$2"
	expect "$1: has $4 CPUs" grep -qx "CPUs: $4" "$2"
	expect "$1: has its memory" guest_memory "$2"
	expect "$1: names its hypervisor" grep -qx "hypervisor: KVMKVMKVM" "$2"
	# The kernel says so of the first alone: an MSR it expects on any CPU like this one.
	expect "$1: finds the MSRs it wants" lacks_line "unchecked MSR access" "$2"
	expect "$1: is unpacked as it should ($5)" grep -q "^kiln: .* kernel /guest/[^ ]*: ${UNPACKED_SAYS[$5]}" "$2"
	expect "$1: is where chance put it" elsewhere "$(addresses <"$2")"
}

# addresses <LOG: "PHYSICAL VIRTUAL" for each boot of an initrd that was asked for them.
addresses() {
	sed -n 's/^kernel: physical \([0-9a-f]*\), virtual \([0-9a-f]*\)$/\1 \2/p'
}

LINKED_ADDRESSES="1000000 ffffffff81000000"

elsewhere() {
	[ -n "$1" ] && [ "$1" != "$LINKED_ADDRESSES" ]
}

# check_guest_addresses CPU: each kernel twice at random addresses, the second time from the cache, and where it was
# linked for with nokaslr.
check_guest_addresses() {
	local kernel dir log=$LOGS/${CHECK_NAME//\//.}.txt at
	for kernel in stock stock-6.12; do
		dir=$(kernel_dir "$kernel")
		# shellcheck disable=SC2016 # for the shell of the machine
		"$LAB/vm" --cpu "$1" --timeout 600 --add "$dir/vmlinuz:/guest/vmlinuz" --add "$(guest_initrd):/guest/initrd" -- \
			sh -c 'for words in "" "" nokaslr; do
				kiln run --verbose --kernel /guest/vmlinuz --initrd /guest/initrd \
					--append "console=ttyS0 quiet panic=-1 addresses $words" || exit
			done' | tr -d '\r' | tee "$log"
		expect "$CHECK_NAME: $kernel runs three times" test "${PIPESTATUS[0]}" = 0
		mapfile -t at < <(addresses <"$log")
		expect "$CHECK_NAME: $kernel is where chance put it" elsewhere "${at[0]}"
		expect "$CHECK_NAME: $kernel is elsewhere the second time" test "${at[0]}" != "${at[1]}"
		expect "$CHECK_NAME: $kernel is where it was linked for with nokaslr" test "${at[2]}" = "$LINKED_ADDRESSES"
		expect "$CHECK_NAME: $kernel is unpacked once" test "$(grep -c "${UNPACKED_SAYS[first]}" "$log")" = 1
		expect "$CHECK_NAME: $kernel is kept for twice" test "$(grep -c "${UNPACKED_SAYS[kept]}" "$log")" = 2
	done
}

# lacks_line TEXT LOG: the log is one of a kernel, and no line has TEXT.
lacks_line() {
	grep -q 'Linux version' "$2" && ! grep -a "$1" "$2"
}

# Of 512 MiB a kernel keeps some for itself: more than 400 are left.
guest_memory() {
	local mib
	mib=$(sed -n 's/^memory: \([0-9]*\) MiB$/\1/p' "$1")
	[ "${mib:-0}" -gt 400 ] && [ "$mib" -le 512 ]
}

# What Debian's kernel has as modules and needs for a root file system on a virtio disk.
DISK_MODULES="virtio_pci virtio_blk virtio_rng ext4 crc32c_generic"

# disk_initrd KERNEL_DIR [MODULES]: prints the path of an initrd that does what Debian's does: modules, then root= of the
# command line.
disk_initrd() {
	local initrd tree modules="$DISK_MODULES ${2:-}"
	initrd=$BUILD/lab/disk-$(cat "$1/release")${2:+-more}.cpio
	mkdir -p "$BUILD/lab"
	tree=$(mktemp -d)
	mkdir -p "$tree"/{proc,sys,dev,root,lib/modules/"$(cat "$1/release")"}
	put_busybox "$tree"
	IMAGE_MODULES=$modules add_modules "$1" "$tree" >&2
	echo "${2:-}" >"$tree/more"
	cat >"$tree/init" <<-'END'
		#!/bin/sh
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		mount -t devtmpfs dev /dev
		for device in /sys/bus/pci/devices/*; do
			modprobe -q "$(cat "$device/modalias")"
		done
		for device in /sys/bus/virtio/devices/*; do
			modprobe -q "$(cat "$device/modalias")"
		done
		modprobe ext4
		for module in crc32c_generic $(cat /more); do
			modprobe -q "$module"
		done
		mount "$(sed 's/.*root=\([^ ]*\).*/\1/' /proc/cmdline)" /root || poweroff -f
		mount -o move /dev /root/dev
		exec switch_root /root /sbin/init
	END
	chmod 755 "$tree/init"
	pack "$tree" >"$initrd.$$" && mv "$initrd.$$" "$initrd"
	rm -rf "$tree"
	echo "$initrd"
}

# disk_image: prints the path of an ext4 image whose /sbin/init says what it runs on, writes, and powers off.
disk_image() {
	local image=$BUILD/lab/disk.img tree
	mkdir -p "$BUILD/lab"
	tree=$(mktemp -d)
	mkdir -p "$tree"/{proc,sys,dev,sbin}
	put_busybox "$tree"
	rm -f "$tree/sbin/init"
	cat >"$tree/sbin/init" <<-'END'
		#!/bin/sh
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		mount -o remount,rw / || echo "cannot be remounted"
		echo "boots: $(cat /boots 2>/dev/null)"
		sed -n 's|^\(/dev/[^ ]*\) / \(ext4\) \(r.\),.*|root: \1 \2 \3|p' /proc/mounts
		echo "rng: $(cat /sys/class/misc/hw_random/rng_current)"
		echo "complaints: $(dmesg -r | grep -E '^<[0-4]>' | grep -ciE 'pci|virtio|vda|ext4')"
		dd if=/dev/urandom of=/data bs=64k count=32 conv=fsync 2>/dev/null
		md5sum /data >/sum
		sync
		echo 3 >/proc/sys/vm/drop_caches
		md5sum -c /sum
		echo x >>/boots
		for disk in /sys/block/vd*; do
			[ "$disk" != /sys/block/vda ] || continue
			dd if="/dev/${disk##*/}" bs=4k count=16 iflag=direct 2>/dev/null | md5sum
		done | sort | uniq -c | sed 's/^ */more: /'
		awk '/virtio[0-9]+-req/ && /MSI/ { for (i = 2; i < 4; i++) n[$NF] += $i } END { for (i in n) if (n[i]) m++; print "interrupts: " m }' \
			/proc/interrupts
		mount -o remount,ro /
		poweroff -f
	END
	chmod 755 "$tree/sbin/init"
	rm -f "$image"
	truncate -s 16M "$image"
	mkfs.ext4 -q -d "$tree" "$image" >&2 || die "mkfs.ext4 failed: package e2fsprogs"
	rm -rf "$tree"
	echo "$image"
}

# check_guest_disk CPU: Debian's kernel with root=/dev/vda, twice from the same image, then with a card in each slot of the bus.
check_guest_disk() {
	local dir log=$LOGS/${CHECK_NAME//\//.}.txt status release
	dir=$(kernel_dir stock)
	release=$(cat "$dir/release")
	# shellcheck disable=SC2016 # for the shell of the machine
	"$LAB/vm" --cpu "$1" --kernel stock --timeout 1800 --unpacked "$dir/vmlinuz" \
		--add "$dir/vmlinuz:/guest/vmlinuz" --add "$(disk_initrd "$dir"):/guest/initrd" --add "$(disk_image):/guest/disk" -- \
		sh -c 'run() { kiln run --kernel /guest/vmlinuz --initrd /guest/initrd --cpus 2 --disk /guest/disk,queues=2 "$@" \
			--append "console=ttyS0 panic=-1 root=/dev/vda"; }
			seq 20000 >/guest/more && truncate -s 128K /guest/more && echo "host: $(head -c 65536 /guest/more | md5sum)"
			run && run $(for i in $(seq 29); do echo --disk /guest/more,ro; done)' | tr -d '\r' | tee "$log"
	status=${PIPESTATUS[0]}
	expect "$CHECK_NAME: powers off with status 0, twice" test "$status" = 0
	expect "$CHECK_NAME: $release is booted twice" test "$(grep -c "Linux version $release " "$log")" = 2
	expect "$CHECK_NAME: its root is the disk" test "$(grep -cx 'root: /dev/vda ext4 rw' "$log")" = 2
	expect "$CHECK_NAME: what was written is read, twice" test "$(grep -cx '/data: OK' "$log")" = 2
	expect "$CHECK_NAME: the second run finds what the first wrote" grep -qx 'boots: x' "$log"
	expect "$CHECK_NAME: the rng is found" test "$(grep -cx 'rng: virtio_rng.0' "$log")" = 2
	expect "$CHECK_NAME: the kernel complains of nothing" test "$(grep -cx 'complaints: 0' "$log")" = 2
	expect "$CHECK_NAME: 29 more disks, all that there are slots for, are read" \
		grep -qx "more: 29 $(sed -n 's/^host: //p' "$log")" "$log"
	expect "$CHECK_NAME: all 30 have interrupted" grep -qx 'interrupts: 3[0-9]' "$log"
}
