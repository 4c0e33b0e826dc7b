# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034 # its variables are for those who source it
# Kernels of the lab. Each lives in a directory of the cache that holds
#   vmlinux	the ELF image, entered by its PVH note
#   vmlinuz	the bzImage it came in
#   release	what uname -r says
#   build	link to what KDIR= of a module build is given
#   modules	link to the tree its modules are in
# kernel_dir NAME prints that directory and makes it first if need be.

# The modules a lab machine carries besides kiln.ko, with what they depend on.
IMAGE_MODULES="kvm kvm-intel kvm-amd lkdtm msr virtio_pci virtio_blk ata_piix sd_mod loop ext4 crc32c_generic fuse
	tun af_packet bridge vhost_net virtio_net veth crc32c_generic nf_tables nft_chain_nat nft_masq nft_ct brd"

kernel_dir() {
	case $1 in
	dev | debug) kernel_built "$1" ;;
	stock) kernel_packaged linux-image-amd64 linux-headers-amd64 ;;
	stock-6.12) kernel_packaged linux-image-6.12-amd64 linux-headers-6.12-amd64 ;;
	*) kernel_given "$1" ;;
	esac
}

# payload_of BZIMAGE: the kernel inside, decompressed, to stdout. The header's fields are those of the
# kernel's Documentation/x86/boot.rst: setup_sects, payload_offset and payload_length.
payload_of() {
	local image=$1 setup offset length magic
	setup=$(number_at "$image" $((0x1f1)) 1)
	offset=$(number_at "$image" $((0x248)) 4)
	length=$(number_at "$image" $((0x24c)) 4)
	offset=$((offset + ((setup ? setup : 4) + 1) * 512))
	magic=$(od -An -tx1 -j "$offset" -N 4 "$image" | tr -d ' ')
	tail -c "+$((offset + 1))" "$image" | head -c "$length" | case $magic in
	1f8b*) zcat 2>/dev/null ;;
	fd377a58) xz -dc --single-stream 2>/dev/null ;;
	28b52ffd) zstd -dc 2>/dev/null ;;
	02214c18) lz4 -dc 2>/dev/null ;;
	*) return 1 ;;
	esac
}

number_at() {
	od -An -v "-tu$3" -j "$2" -N "$3" "$1" | tr -d ' '
}

# release_of VMLINUX: from the banner every kernel carries.
release_of() {
	strings -n 16 "$1" | sed -n '/^Linux version [0-9][^ ]* (/{s/^Linux version \([^ ]*\) .*/\1/p;q}'
}

kernel_packaged() {
	local package headers=$2 release dir
	package=$(real_package "$1") || die "apt knows no package $1 (run apt-get update)"
	release=${package#linux-image-}
	dir=$CACHE/kernels/$release
	if [ ! -e "$dir/release" ]; then
		need machine
		with_lock "$CACHE/kernel.lock" kernel_unpack "$package" "$release" "$dir" || exit 125
	fi
	# Headers of that very release are what a module for it is built with.
	if [ ! -e "/usr/src/linux-headers-$release" ]; then
		install_packages "$headers" "linux-headers-$release" || die "no package linux-headers-$release"
	fi
	ln -sfn "/usr/src/linux-headers-$release" "$dir/build"
	echo "$dir"
}

# real_package META: the package a meta package depends on.
real_package() {
	local name
	name=$(depends_of "$1")
	if [ -z "$name" ]; then
		as_root apt-get update >/dev/null 2>&1
		name=$(depends_of "$1")
	fi
	[ -n "$name" ] && echo "$name"
}

depends_of() {
	apt-cache depends "$1" 2>/dev/null | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }'
}

kernel_unpack() {
	local package=$1 release=$2 dir=$3 work
	[ -e "$dir/release" ] && return
	say "fetching $package (70 MB, unpacked into the cache, not installed)"
	mkdir -p "$CACHE/kernels"
	work=$(mktemp -d "$CACHE/kernels/new.XXXXXX")
	(
		set -e
		cd "$work"
		# Lists that are old name what is not there any more.
		apt-get download "$package" >apt.log 2>&1 || { apt-get update && apt-get download "$package"; } >apt.log 2>&1 ||
			{ cat apt.log >&2; exit 1; }
		mkdir root
		dpkg-deb -x ./*.deb root
		mv "root/boot/vmlinuz-$release" vmlinuz
		mv "root/lib/modules/$release" modules
		rm -rf ./*.deb root apt.log
		payload_of vmlinuz >vmlinux
		readelf -h vmlinux >/dev/null
		rm -f modules/build modules/source
		mkdir -p tree/lib/modules
		mv modules "tree/lib/modules/$release"
		ln -s "tree/lib/modules/$release" modules
		depmod -b tree "$release"
		echo "$release" >release
	) || { rm -rf "$work"; die "$package could not be unpacked"; }
	rm -rf "$dir"
	mv "$work" "$dir"
}

# The version of the kernel source package that is installed.
source_version() {
	dpkg-query -W -f '${Version}' linux-source-6.1
}

# kernel_source: prints the directory of the unpacked linux-source-6.1, shared and read only.
kernel_source() {
	need kernel
	local dir
	dir=$CACHE/source/$(source_version)
	[ -e "$dir" ] || with_lock "$CACHE/source.lock" unpack_source "$dir"
	echo "$dir"
}

unpack_source() {
	local work=$CACHE/source/new.$$
	[ -e "$1" ] && return
	say "unpacking linux-source-6.1 (15 s)"
	mkdir -p "$work"
	tar -C "$work" --strip-components 1 -xf /usr/src/linux-source-6.1.tar.xz
	mv "$work" "$1"
}

# kernel_layers NAME: the configurations a kernel is made of, in the order they are applied.
kernel_layers() {
	case $1 in
	debug) printf '%s\n' "$LAB/kernels/dev.config" "$LAB/kernels/debug.config" ;;
	*) printf '%s\n' "$LAB/kernels/$1.config" ;;
	esac
}

# What make is told beside the configuration. The PVH entry (arch/x86/platform/pvh/enlighten.c, and memcmp() which it
# calls) runs before KASAN's shadow is mapped, where instrumented code dies of its first access. 6.1 excludes
# head64.c for that reason, string.c where it needs it early, and forgot this one. The other three are the debugging
# aids that run most: KASAN need not watch those. The debug kernel is compiled with less optimisation, which takes most of
# the time; signal.c has code for 32-bit kernels that is to be optimised away.
KERNEL_MAKE=(CFLAGS_signal.o=-O2 KASAN_SANITIZE_enlighten.o=n KASAN_SANITIZE_string.o=n
	KASAN_SANITIZE_unwind_frame.o=n KASAN_SANITIZE_lockdep.o=n KASAN_SANITIZE_kmemleak.o=n)
declare -A KERNEL_FLAGS=([dev]="" [debug]=-O1)

# kernel_built NAME: the kernel of its layers on top of tinyconfig, built once for each version of source,
# compiler and configuration.
kernel_built() {
	local layers source key dir
	mapfile -t layers < <(kernel_layers "$1")
	source=$(kernel_source) || exit 125
	key=$( (source_version; gcc -dumpfullversion; echo "${KERNEL_MAKE[*]} ${KERNEL_FLAGS[$1]}"; cat "${layers[@]}") |
		sha256sum | cut -c1-12)
	dir=$CACHE/kernels/$1-$key
	if [ ! -e "$dir/release" ]; then
		with_lock "$CACHE/build.lock" kernel_compile "$1" "$source" "$dir" "${layers[@]}" || exit 125
	fi
	echo "$dir"
}

# kernel_compile NAME SOURCE DIR LAYER...
kernel_compile() {
	local name=$1 source=$2 dir=$3 log began
	[ -e "$dir/release" ] && return
	log=$dir/build.log
	began=$(date +%s)
	say "building the $name kernel (10 CPU minutes, once; log: $log)"
	mkdir -p "$dir/build"
	kernel_configure "$source" "$dir/build" "${@:4}" >"$log" 2>&1 || die "kernel configuration failed, see $log"
	if ! make -s -C "$source" O="$dir/build" -j "$(nproc)" "${KERNEL_MAKE[@]}" KCFLAGS="${KERNEL_FLAGS[$name]}" \
		bzImage modules >>"$log" 2>&1; then
		tail -n 20 "$log" >&2
		die "the $name kernel does not build, see $log"
	fi
	kernel_publish "$dir"
	say "the $name kernel took $(($(date +%s) - began)) s"
}

# kernel_configure SOURCE BUILD LAYER...: every setting of the layers must survive Kconfig, unless a later layer has
# another: an option that quietly goes away is an error here.
kernel_configure() {
	local source=$1 build=$2 line lost=0
	make -s -C "$source" O="$build" tinyconfig || return
	cat "${@:3}" >"$build/layers"
	"$source/scripts/kconfig/merge_config.sh" -m -O "$build" "$build/.config" "$build/layers" || return
	make -s -C "$source" O="$build" olddefconfig || return
	while read -r line; do
		case $line in
		*=n) ! grep -q "^${line%=n}=" "$build/.config" ;;
		*) grep -qxF "$line" "$build/.config" ;;
		esac || { echo "not accepted by Kconfig: $line"; lost=1; }
	done < <(awk -F= '/^CONFIG_/ { last[$1] = $0 } END { for (name in last) print last[name] }' "$build/layers")
	return $lost
}

# install_modules BUILD DIR: the modules of a build directory into DIR/tree, and DIR/modules.
install_modules() {
	local release tree=$2/tree
	release=$(cat "$1/include/config/kernel.release") &&
		make -s -C "$1" INSTALL_MOD_PATH="$tree" INSTALL_MOD_STRIP=1 modules_install >>"$2/build.log" 2>&1 &&
		rm -f "$tree/lib/modules/$release/build" "$tree/lib/modules/$release/source" &&
		ln -sfn "tree/lib/modules/$release" "$2/modules"
}

kernel_publish() {
	local dir=$1 release
	release=$(cat "$dir/build/include/config/kernel.release")
	install_modules "$dir/build" "$dir" || die "modules_install failed, see $dir/build.log"
	cp "$dir/build/arch/x86/boot/bzImage" "$dir/vmlinuz"
	strip -g -o "$dir/vmlinux" "$dir/build/vmlinux"
	echo "$release" >"$dir/release"
}

# kernel_given PATH: a bzImage, an ELF vmlinux, or a build directory; modules only from the latter. What is made of them
# is kept by the kernel's content, and by the directory.
kernel_given() {
	local path=$1 dir image key
	[ -e "$path" ] || die "no such kernel: $path (dev, debug, stock, stock-6.12, a kernel file or a build directory)"
	image=$path
	[ -d "$path" ] && image=$path/arch/x86/boot/bzImage
	[ -f "$image" ] || die "$path: no arch/x86/boot/bzImage in this directory"
	key=$({ cat "$image" && { [ ! -d "$path" ] || realpath "$path"; }; } | sha256sum | cut -c1-12)
	dir=$CACHE/kernels/given-$key
	if [ ! -e "$dir/release" ]; then
		mkdir -p "$dir"
		if [ "$(head -c 4 "$image" | od -An -tx1 | tr -d ' ')" = 7f454c46 ]; then
			strip -g -o "$dir/vmlinux" "$image"
		else
			cp "$image" "$dir/vmlinuz"
			payload_of "$image" >"$dir/vmlinux" || die "$path: neither an ELF kernel nor a bzImage"
		fi
		if [ -d "$path" ]; then
			ln -sfn "$(realpath "$path")" "$dir/build"
			! grep -qsx CONFIG_MODULES=y "$path/.config" || install_modules "$path" "$dir" || die "$path: its modules cannot be installed, see $dir/build.log; run make modules there"
		fi
		release_of "$dir/vmlinux" >"$dir/release.new"
		mv "$dir/release.new" "$dir/release"
	fi
	echo "$dir"
}
