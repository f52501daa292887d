#!/bin/sh
# What scripts/test-long runs inside its Debian root, natively for the expected
# results and then in the guest: guest.sh PART ARG...
# Every object file that the compiler writes is reported with its checksum.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/root
cd /long || exit 1
case "$1" in
compile)	# JOBS once|forever [PACKAGE...]: build and test what is in /long/src, from scratch
	jobs=$2 often=$3
	shift 3
	[ $# != 0 ] || set -- $(ls /long/src)
	while :; do
		rm -rf /long/work
		mkdir /long/work
		for p; do
			d=/long/src/$p
			cp -a "$d" /long/work/ && cd "/long/work/$p" || exit 1
			echo "long: begin $p"
			CC=/long/cc ./configure >/long/work/log 2>&1 || {
				tail -n 20 /long/work/log
				echo "long: FAILED configure $p"
				exit 1
			}
			LONG_PACKAGE=$p make -j "$jobs" CC=/long/cc 2>/long/work/err |
				grep --line-buffered '^long: '
			LONG_PACKAGE=$p make -j "$jobs" check CC=/long/cc >/long/work/log 2>&1
			rc=$?
			grep '^long: \|^# [A-Z]*: \|\*\*\*' /long/work/log
			echo "long: result $p check $rc"
		done
		[ "$often" = forever ] || break
	done
	;;
check)		# JOBS [PACKAGE...]: make check of what was built natively
	jobs=$2
	shift 2
	[ $# != 0 ] || set -- $(ls /long/src | sort -r)
	for p; do
		cd "/long/work/$p" || exit 1
		echo "long: begin check $p"
		LONG_PACKAGE=$p make -j "$jobs" check CC=/long/cc >/tmp/log 2>&1
		rc=$?
		grep '^long: \|^# [A-Z]*: \|\*\*\*' /tmp/log
		echo "long: result $p check $rc"
	done
	;;
stress)		# SECONDS CPUS
	for s in "--cpu $3 --cpu-method all" "--vm $3 --vm-bytes 32M --vm-method all" \
		"--matrix $3 --matrix-method all" "--memcpy $3" "--str $3" "--wcs $3" "--crypt $3" \
		"--hash $3" "--bsearch $3" "--qsort $3" "--heapsort $3" "--radixsort $3" \
		"--fork $3" "--pipe $3" "--mutex $3" "--atomic $3" "--futex $3" "--sem $3" \
		"--switch $3" "--sigsegv $3" "--sigfpe $3" "--longjmp $3" "--vecmath $3" \
		"--vecfp $3" "--fp $3" "--funccall $3" "--stack $3" "--mmap $3 --mmap-bytes 32M" \
		"--shm $3 --shm-bytes 8M" "--zlib $3" "--regs $3" "--prime $3" "--rdrand $3" \
		"--goto $3" "--branch $3" "--jpeg $3" "--x86syscall $3" "--flipflop $3" \
		"--cacheline $3" "--peterson $3" "--dekker $3" "--lockbus $3" "--bad-altstack $3" \
		"--context $3" "--vdso $3" "--trig $3" "--tree $3" "--tsearch $3"; do
		out=$(stress-ng --verify --timeout "$2" $s 2>&1)
		rc=$?
		case "$rc:$out" in
		0:*) echo "long: stress ok $s" ;;
		3:* | 4:* | *"nrecognized option"* | *"nknown option"*)
			echo "long: stress not there: $s" ;;
		*) echo "$out" | tail -n 12
			echo "long: FAILED stress $s: status $rc" ;;
		esac
	done
	;;
litmus)		# SECONDS
	/long/litmus "$2" | sed 's/^/long: /'
	;;
esac
echo "long: end"
