# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What can be said without running anything.

check static/spdx "" check_spdx
check static/tree "" check_tree
check static/shell "" check_shell
check static/docs "" check_docs
check static/rules "" check_rules
check static/seam "" check_seam
check static/launcher "build/launcher" check_launcher
check static/checkpatch "kernel/dev" check_checkpatch
check static/module-dev "build/kunit-dev" check_sparse dev
check static/module-stock "build/module-stock" check_sparse stock
check static/module-6.12 "kernel/stock-6.12" check_sparse stock-6.12

# The files that are the project's: known to git, or new and not ignored.
project_files() {
	git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do
		[ ! -f "$file" ] || echo "$file"
	done
}

check_spdx() {
	local file missing=0
	for file in $(project_files ':!COPYING' ':!.gitignore'); do
		head -n 2 "$file" | grep -q 'SPDX-License-Identifier: GPL-2.0-only' && continue
		echo "$file: no SPDX-License-Identifier in its first two lines"
		missing=1
	done
	return $missing
}

# Nothing that was built or downloaded, nothing that only holds on one machine.
check_tree() {
	local file bad=0
	for file in $(project_files); do
		if [ -s "$file" ] && ! grep -qI . "$file"; then
			echo "$file: not a text file"
			bad=1
		fi
	done
	# shellcheck disable=SC2046 # file names without spaces
	if grep -nE '/(home|root)/[a-z.]+/|/work/(main|shared)' $(project_files ':!lab/checks/static.sh'); then
		echo "absolute paths of one machine"
		bad=1
	fi
	return $bad
}

check_shell() {
	local file
	for file in $(project_files | xargs grep -lE '^#!/bin/(ba)?sh|^# shellcheck shell=' | grep -v '\.S$'); do
		expect "shellcheck $file" shellcheck -x -P "$LAB" -S style -e SC1090,SC1091 "$file"
	done
}

# hw.h is what a backend is, and nothing beside the two asks which one it has.
check_seam() {
	local names
	names=$(sed -nE 's/^\s+[a-z].*\(\*([a-z0-9_]+)\)\(.*/\1/p' module/hw.h)
	expect "hw.h has under 40 operations (it has $(wc -l <<<"$names"))" under_40 "$names"
	expect "each has its contract" all_have_contracts "$names"
	expect "nobody else asks for the vendor" nobody_asks
}

under_40() {
	[ "$(wc -l <<<"$1")" -gt 1 ] && [ "$(wc -l <<<"$1")" -lt 40 ]
}

all_have_contracts() {
	local name missing=0
	for name in $1; do
		grep -qE "^ \* @$name:" module/hw.h && continue
		echo "hw.h: $name has no contract"
		missing=1
	done
	return $missing
}

# main.c has the table of them, hw.h their names; what CPUID says to a guest hangs on whose CPUID it is.
nobody_asks() {
	# shellcheck disable=SC2046 # file names without spaces
	! grep -nE 'x86_vendor|X86_VENDOR|FEATURE_(VMX|SVM)\b|(vmx|svm)_hw|KILN_VENDOR_' \
		$(project_files 'module/*.[ch]' ':!module/vmx' ':!module/svm' ':!module/cpuid_offer.c' ':!module/*_test.c' ':!module/main.c' ':!module/hw.h')
}

check_docs() {
	sphinx-build -W --keep-going -E -b html Documentation "$LOGS/html"
}

# Each case that Documentation/virtio-rules.rst names is there, and each of the two kinds of ring has its rule.
check_rules() {
	local names suite
	# shellcheck disable=SC2016 # the backquotes of reStructuredText
	names=$(grep -oE '``[a-z_]+: [a-z0-9_]+``' Documentation/virtio-rules.rst | tr -d '`:' | sort -u)
	expect "rules name cases (here $(wc -l <<<"$names"))" test "$(wc -l <<<"$names")" -gt 60
	expect "each is there" all_are_cases "$names"
	for suite in split packed; do
		expect "each case of $suite has its rule" test -z "$(comm -13 \
			<(sed -n "s/^$suite //p" <<<"$names") <(cases_of "$suite" | sort))"
	done
}

cases_of() {
	case $1 in
	vring) set -- "vring_test" ;;
	split | packed | model | access) set -- "vring_$1_test" ;;
	*)
		sed -nE 's/^TEST(_F)?\(([a-z]+, )?([a-z0-9_]+)\)$/\3/p' "selftests/$1.c"
		return
		;;
	esac
	sed -nE 's/^\tKUNIT_CASE\(([a-z0-9_]+)\),$/\1/p' "module/virtio/$1.c"
}

all_are_cases() {
	local suite name missing=0
	while read -r suite name; do
		cases_of "$suite" | grep -qx "$name" && continue
		echo "virtio-rules.rst: there is no $suite: $name"
		missing=1
	done <<<"$1"
	return $missing
}

check_launcher() {
	local options=(--quiet --std=c11 "--enable=warning,performance,portability" --inline-suppr --error-exitcode=1
		--suppress=missingIncludeSystem -D__x86_64__ -Ilauncher -Iuapi)
	expect "cppcheck launcher" cppcheck "${options[@]}" launcher
	expect "launcher builds with -Wall -Wextra -Werror" launcher_strict
}

launcher_strict() {
	local out=$BUILD/checked/launcher
	rm -rf "$out"
	make -C launcher O="$out" V=1 >"$LOGS/launcher-build.txt" 2>&1
	local status=$?
	cat "$LOGS/launcher-build.txt"
	# libnl can resolve names, which a static program cannot; the launcher asks for none.
	[ $status = 0 ] && ! grep 'warning:' "$LOGS/launcher-build.txt" | grep -v 'in statically linked applications' &&
		grep -q -e -Werror launcher/Makefile
}

# The files of kernel code: all of module/ and uapi/ but user-space shims beside the tests.
kernel_code() {
	project_files 'module/*.[chS]' 'module/**/*.[chS]' 'uapi/*.h' | grep -v '/host/' | sort -u
}

check_checkpatch() {
	local source file files options
	source=$(kernel_source)
	files=$(kernel_code)
	cd "$LOGS" || return		# it leaves a cache where it runs
	for file in $files; do
		options=(--no-tree --strict --quiet --show-types)
		case $file in
		# The one place where versions may be told apart.
		module/compat.h) options+=(--ignore "LINUX_VERSION_CODE,CONSTANT_COMPARISON") ;;
		# The shape that every TRACE_EVENT() has.
		module/trace.h) options+=(--ignore "PARENTHESIS_ALIGNMENT,OPEN_ENDED_LINE") ;;
		# An iterator names what it iterates over more than once.
		module/vm.h) options+=(--ignore MACRO_ARG_REUSE) ;;
		# The label of an asm goto outside of a string looks like a modulo.
		module/vmx/vmcs.h | module/svm/enter.c) options+=(--ignore SPACING) ;;
		# A field's name is used as such, as its place and as its text.
		module/svm/verify.c) options+=(--ignore MACRO_ARG_REUSE) ;;
		esac
		expect "checkpatch $file" perl "$source/scripts/checkpatch.pl" "${options[@]}" -f "$TOP/$file"
	done
}

# compiled_sources KERNEL: how many there are.
compiled_sources() {
	find "$BUILD/$(cat "$(kernel_dir "$1")/release")" -name '*.o' ! -name '*.mod.o' | while read -r object; do
		[ ! -e "${object%.o}.c" ] || echo "$object"
	done | wc -l
}

# check_sparse KERNEL: the module under sparse. What is built of it stays as it is: that the compiler has nothing to say at
# W=1 is seen by who builds it, here for 6.12, else build_module.
check_sparse() {
	local kdir log=$LOGS/module-$1.txt targets=module sources
	kdir=$(kernel_dir "$1")/build
	! grep -q '^CONFIG_KUNIT=' "$kdir/.config" || targets="module kunit"
	# shellcheck disable=SC2086 # words
	make -j2 $targets KDIR="$kdir" C=2 >"$log" 2>&1
	expect "module for $1 builds" test $? = 0
	tail -n 5 "$log"
	sources=$(compiled_sources "$1")
	expect "sources are compiled for $1 (here $sources)" test "$sources" -gt 0
	expect "sparse looks at each of them on $1" test "$(grep -c '^ *CHECK ' "$log")" -ge "$sources"
	# Kernel headers have warnings of their own under sparse: ours are what counts.
	grep -E '(warning|error):' "$log" | grep -E '(^|/)(module|uapi)/' | sort -u
	expect "no warning (W=1, sparse) on $1" test "$(grep -E '(warning|error):' "$log" | grep -cE '(^|/)(module|uapi)/')" = 0
}
