# Sourced by the tests of hvrun img: lib.sh, and the work is in its scratch folder.
. "$(dirname "$0")/lib.sh"
command -v qemu-io >/dev/null || { echo "skip img: qemu-io is not installed"; exit 0; }
HV=$(realpath "$HVRUN")
cd "$tmp" || exit 1
img() { "$HV" img "$@" 2>err; }
expect() { # NAME COMMAND...
	name=$1
	shift
	if "$@" >out 2>&1; then ok "$name"; else not_ok "$name" "$(tail -n 2 out; tail -n 2 err)"; fi
}
