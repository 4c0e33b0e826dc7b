# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The kernel's own KVM selftests, from linux-source-6.1, as static programs in the cache.

# kvm_selftests: prints the directory they are in, builds them first if need be.
kvm_selftests() {
	local source dir
	source=$(kernel_source) || exit 125
	dir=$CACHE/kvm-selftests/$(source_version)
	if [ ! -e "$dir/done" ]; then
		with_lock "$CACHE/kvm-selftests.lock" kvm_selftests_build "$source" "$dir" || exit 125
	fi
	echo "$dir/bin"
}

# Built in a copy: their Makefile and that of the headers leave files among the sources.
kvm_selftests_build() {
	local source=$1 dir=$2 work file
	[ -e "$dir/done" ] && return
	say "building the kernel's KVM selftests (2 CPU minutes, once)"
	work=$(mktemp -d)
	rm -rf "$dir"
	mkdir -p "$dir/bin"
	if ! (
		set -e
		make -C "$source" O="$work/headers" headers_install
		mkdir -p "$work/src/tools" "$work/src/arch/x86"
		cp -r "$source"/tools/{testing,include,arch,scripts,build,lib} "$work/src/tools/"
		cp -r "$source/include" "$source/scripts" "$work/src/"
		cp -r "$source/arch/x86/include" "$work/src/arch/x86/"
		cp -r "$work/headers/usr" "$work/src/"
		# Of some versions of the source not every program builds: what there is is what runs.
		make -k -j2 -C "$work/src/tools/testing/selftests/kvm" ARCH=x86_64 CC="gcc -static" \
			KHDR_INCLUDES="-isystem $work/src/usr/include" || true
		test -x "$work/src/tools/testing/selftests/kvm/set_memory_region_test"
	) >"$dir/build.log" 2>&1; then
		tail -n 20 "$dir/build.log" >&2
		rm -rf "$work"
		die "the KVM selftests do not build, see $dir/build.log"
	fi
	find "$work/src/tools/testing/selftests/kvm" -type f -perm -u+x | while read -r file; do
		! readelf -h "$file" 2>/dev/null | grep -q 'Type: *EXEC' || strip -o "$dir/bin/${file##*/}" "$file"
	done
	rm -rf "$work"
	touch "$dir/done"
}
