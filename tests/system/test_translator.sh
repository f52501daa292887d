#!/bin/sh
# The software CPU's tests once more with every block translated at its first
# execution, with the interpreter alone, and in lockstep.
. "$(dirname "$0")/lib.sh"
G=$(dirname "$0")/../../build/guest

# passes NAME COMMAND...: exit status 0.
passes() {
	name=$1
	shift
	if "$@" >"$tmp/out" 2>&1; then ok "$name"; else not_ok "$name" "$(tail -n 15 "$tmp/out")"; fi
}
for jit in 1 0; do
	export HV_JIT=$jit
	passes "instructions, HV_JIT=$jit" timeout 100 "$B/tests/engine/test_soft_int"
	passes "guest programs, HV_JIT=$jit" timeout 100 "$B/tests/guest/test_guests"
	passes "against the host, HV_JIT=$jit" env HV_DIFF_CASES=500000 timeout 200 \
		"$B/tests/engine/test_soft_diff"
done
unset HV_JIT
export HV_VERIFY=1
passes "instructions, in lockstep" timeout 100 "$B/tests/engine/test_soft_int"
passes "guest programs, in lockstep" timeout 100 "$B/tests/guest/test_guests"
passes "against the host, in lockstep" env HV_DIFF_CASES=200000 timeout 200 \
	"$B/tests/engine/test_soft_diff"
unset HV_VERIFY
LIMIT=400 expect_exit "a planted error is found in a boot" 5 "differs from the interpreter" \
	env HV_TEST_PLANT=29,01 $HVRUN --engine soft,verify --display none --kernel "$G/vmlinuz" \
	--initrd "$G/initrd.gz" --append "console=ttyS0" --timeout 300s
for n in 1 2; do
	export HV_JIT=16
	LIMIT=120 expect_exit "Debian kernel translated, $n CPU" 0 "Power down" $HVRUN --engine soft \
		--cpus $n --display none --kernel "$G/vmlinuz" --initrd "$G/initrd.gz" \
		--append "console=ttyS0" --timeout 100s --fail-on "Kernel panic" --fail-on "BUG:" \
		--expect "hvrun# " --send 'poweroff -f\n' --then keep
done
