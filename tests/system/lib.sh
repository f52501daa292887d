# Helpers for the system tests: sourced, not run.
# A case prints "ok NAME", "not ok NAME" with what went wrong, or "skip NAME: REASON".
B=${B:-build/release}
HVRUN=$B/hvrun
here=$(cd "$(dirname "$0")/../.." && pwd)	# the source tree
shots=$here/$B/test-logs			# pictures of windows go beside the logs
mkdir -p "$shots"
export PATH="$PATH:/sbin:/usr/sbin"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hvrun-test.XXXXXX")
# Machines, pictures and sockets of a test are its own.
export XDG_DATA_HOME="$tmp/data" XDG_CACHE_HOME="$tmp/cache" XDG_RUNTIME_DIR="$tmp/run"
mkdir -m 700 "$XDG_RUNTIME_DIR"
pids=""
cleanup() {
	for p in $pids; do kill "$p" 2>/dev/null; done
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

ok() { echo "ok $1"; }
not_ok() { echo "not ok $1"; shift; [ $# = 0 ] || printf '    %s\n' "$@"; }
skip() { echo "skip $1: $2"; }

# need WHAT PROGRAM...: the test is of WHAT, and is skipped where a program is missing.
need() {
	what=$1
	shift
	for p; do
		command -v "$p" >/dev/null || { skip "$what" "no $p"; exit 0; }
	done
}

# expect_exit NAME STATUS TEXT COMMAND...: exit status and a text in the output.
expect_exit() {
	name=$1 want=$2 text=$3
	shift 3
	timeout -k 5 "${LIMIT:-60}" "$@" >"$tmp/out" 2>&1 </dev/null
	rc=$?
	if [ "$rc" != "$want" ]; then
		not_ok "$name" "exit status $rc instead of $want" "$(tail -n 15 "$tmp/out")"
		return 1
	fi
	if ! grep -qF -- "$text" "$tmp/out"; then
		not_ok "$name" "no '$text' in:" "$(tail -n 15 "$tmp/out")"
		return 1
	fi
	ok "$name"
}

# within SECONDS COMMAND...: until it succeeds
within() {
	n=$(($1 * 5))
	shift
	until "$@"; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.2
	done
}

# check NAME COMMAND...: a case; where it fails, the logs (a test may say others)
check() {
	what=$1
	shift
	if "$@"; then ok "$what"; else not_ok "$what" "$(logs)"; fi
}
logs() { tail -n 20 "$tmp"/*.log; }

# The X display: a window of that title is there; keys; a key with the host key held.
shown() { xdotool search --onlyvisible --name "$1" >/dev/null 2>&1; }
key() { xdotool key --delay 40 "$@"; sleep 0.4; }
host() { xdotool keydown Control_R; xdotool key "$1"; xdotool keyup Control_R; sleep 0.5; }

# start_x: a virtual X server with a window manager that is ready (DISPLAY is set).
start_x() {
	Xvfb -displayfd 3 -screen 0 1280x800x24 -nolisten tcp 3>"$tmp/display" >/dev/null 2>&1 &
	pids="$pids $!"
	n=0
	until [ -s "$tmp/display" ] || [ $n -gt 50 ]; do n=$((n + 1)); sleep 0.2; done
	DISPLAY=:$(cat "$tmp/display")
	export DISPLAY LIBGL_ALWAYS_SOFTWARE=1
	unset WAYLAND_DISPLAY
	# What an OpenGL driver leaves, unloaded by then, cannot be told from what we leave.
	export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"
	openbox >/dev/null 2>&1 &
	pids="$pids $!"
	# A window that appears while the manager starts may never be told that it is there.
	n=0
	until xdotool get_desktop >/dev/null 2>&1 || [ $n -gt 50 ]; do n=$((n + 1)); sleep 0.2; done
	sleep 1
}

# make_halt_disk FILE [OCTAL]: its boot sector halts, with interrupts off (or \373: on).
make_halt_disk() {
	printf "${2:-\\372}\\364\\353\\375" >"$1"	# cli; hlt; jmp
	truncate -s 510 "$1"
	printf '\125\252' >>"$1"
	truncate -s 1M "$1"
}

# make_boot_sector FILE: prints "sector ran" over COM1 and leaves by the debug-exit port with 7.
make_boot_sector() {
	cat >"$tmp/boot.s" <<'EOS'
	.code16
	.org 0
start:	cli
	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %ss
	mov	$0x7c00, %sp
	mov	$msg + 0x7c00, %si
1:	lodsb
	test	%al, %al
	jz	2f
	mov	$0x3f8, %dx
	out	%al, %dx
	jmp	1b
2:	mov	$7, %al
	out	%al, $0xf4
3:	hlt
	jmp	3b
msg:	.asciz	"sector ran\r\n"
	.org 510
	.word 0xaa55
EOS
	as --32 -o "$tmp/boot.o" "$tmp/boot.s" && objcopy -O binary "$tmp/boot.o" "$1"
}
