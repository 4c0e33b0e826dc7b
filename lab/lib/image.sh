# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The initramfs of a lab machine: a base that depends on the kernel only and is cached, and an overlay with
# what one run adds. The kernel unpacks cpio archives one after the other, so the image is both in a row.

# pack TREE: the tree as a cpio archive, on stdout, owned by root. Equal trees give equal archives: a deterministic
# machine would notice in its time of unpacking.
pack() {
	find "$1" -exec touch -h -d @0 {} +
	(cd "$1" && find . -mindepth 1 -print0 | LC_ALL=C sort -z | cpio --quiet --reproducible -0 -o -H newc -R +0:+0)
}

# guest_program NAME: prints the path of build/lab/NAME, a static program built from lab/guest/NAME.c.
guest_program() {
	local program=$BUILD/lab/$1 source=$LAB/guest/$1.c
	if ! fresh "$program" "$source"; then
		mkdir -p "${program%/*}"
		gcc -O2 -static -Wall -Wextra -Werror -o "$program.$$" "$source" || die "lab/guest/$1.c does not build"
		mv "$program.$$" "$program"
	fi
	echo "$program"
}

# put_busybox TREE: busybox and its names.
put_busybox() {
	local applet
	mkdir -p "$1/bin"
	cp "$(command -v busybox)" "$1/bin/busybox"
	busybox --list | while read -r applet; do
		[ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"
	done
}

# guest_initrd: prints the path of the initrd for Linux guests: busybox and lab/guest/report.c.
guest_initrd() {
	local initrd=$BUILD/lab/guest.cpio report tree
	report=$(guest_program report) || exit 125
	if ! fresh "$initrd" "$report" "$LAB/lib/image.sh"; then
		tree=$(mktemp -d)
		mkdir -p "$tree"/{proc,sys,dev,tmp}
		put_busybox "$tree"
		cp "$report" "$tree/init"
		pack "$tree" >"$initrd.$$" && mv "$initrd.$$" "$initrd"
		rm -rf "$tree"
	fi
	echo "$initrd"
}

# base_image KERNEL_DIR: prints the path of the base archive, which is named by what went into it: trees of different
# age share the cache.
base_image() {
	local dir=$1 base init
	init=$(guest_program init) || exit 125
	base=$dir/base.$({ cat "$init" "$LAB/lib/image.sh" "$(command -v busybox)" && echo "$IMAGE_MODULES"; } | sha256sum | cut -c1-12).cpio
	if ! fresh "$base" "$dir/release"; then
		find "$dir" -maxdepth 1 -name 'base.*' -mtime +2 -delete
		with_lock "$dir/image.lock" make_base "$dir" "$init" "$base" || die "the base image could not be made"
	fi
	echo "$base"
}

make_base() {
	local dir=$1 init=$2 base=$3 tree
	tree=$(mktemp -d)
	mkdir -p "$tree"/{bin,sbin,lab/bin,lab/selftests,work,root,etc,proc,sys,dev,tmp,run,lib/modules}
	cp "$init" "$tree/init"
	put_busybox "$tree"
	echo 'root:x:0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
	printf 'root:x:0:\nkiln:x:100:\n' >"$tree/etc/group"
	[ ! -e "$dir/modules" ] || add_modules "$dir" "$tree" || return
	pack "$tree" >"$base.$$" && mv "$base.$$" "$base"
	rm -rf "$tree"
}

# The modules of IMAGE_MODULES that this kernel has, and what they depend on. From 6.12 on Debian compresses them.
add_modules() {
	local dir=$1 tree=$2 release module file to
	release=$(cat "$dir/release")
	for module in $IMAGE_MODULES; do
		modprobe -d "$dir/tree" -S "$release" --show-depends -q "$module" 2>/dev/null
	done | awk '$1 == "insmod" { print $2 }' | sort -u | while read -r file; do
		to=$tree/lib/modules/${file##*/}
		to=${to%.xz}
		case $file in
		*.xz) xz -dc "$file" >"$to" && strip -g "$to" ;;
		*) strip -g -o "$to" "$file" ;;
		esac || exit
	done || die "no modules of $release"
	mkdir -p "$tree/lib/modules/$release/kernel"
	mv "$tree"/lib/modules/*.ko "$tree/lib/modules/$release/kernel/" 2>/dev/null
	cp "$dir/modules"/modules.{order,builtin,builtin.modinfo} "$tree/lib/modules/$release/"
	depmod -b "$tree" "$release"
}

# put_program FILE TREE WHERE: a program or other file, and the libraries it is linked with.
put_program() {
	local library
	mkdir -p "$2/$(dirname "$3")"
	cp -RL "$1" "$2/$3"
	[ -f "$1" ] || return 0
	ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
		[ -e "$2/$library" ] || install -D "$library" "$2/$library"
	done
}

# put_unpacked KERNEL TREE: the entry of kiln's cache for this bzImage, as `kiln run` leaves it after a first run.
put_unpacked() {
	local entry dir=$2/var/cache/kiln/kernels
	entry=$("$BUILD/kiln" unpack --kernel-cache "$BUILD/lab/kernels" "$1") || die "$1 cannot be unpacked"
	install -d -m 755 "$2/var" "$2/var/cache" "$2/var/cache/kiln"
	install -d -m 700 "$dir"
	cp --reflink=auto "$entry" "$dir/"
}

# network_options: the options of lab/vm, one a line, for a machine that makes networks once it has sourced /lab/network.
# Who calls it needs the packages of the group network.
network_options() {
	printf '%s\n' --add "$(command -v nft):/bin/nft" --add "$(command -v dnsmasq):/bin/dnsmasq" \
		--add "$(command -v ip)" --add "$LAB/guest/network:/lab/network"
}

# overlay_image TREE: packs the overlay of one run.
overlay_image() {
	pack "$1"
}
