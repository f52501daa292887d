#!/bin/sh
# A machine's window in its less usual states: discs changed, window closed and
# shown again, display server killed, guest off, guest that only crashes, full disk.
. "$(dirname "$0")/lib.sh"

need "states of the window" Xvfb xdotool
start_x
unset DBUS_SESSION_BUS_ADDRESS
export HOME="$tmp/home"
HVRUN="env PATH=$tmp/bin $HVRUN"	# no zenity: our own browser
mkdir -p "$HOME" "$tmp/iso"

gone() { ! shown "$1"; }
ended() { ! kill -0 "$1" 2>/dev/null; }
focus() { xdotool windowactivate --sync "$(xdotool search --onlyvisible --name "$1 .*hvrun" | head -n 1)" 2>/dev/null; sleep 0.3; }
picture() { timeout 20 import -window root "$shots/states-$1.png"; }
said() { grep -qF -- "$2" "$tmp/$1.log"; }
start() {
	name=$1 log=$tmp/$(basename "$1").log
	shift
	$HVRUN "$name" --engine soft "$@" >"$log" 2>&1 &
	vm=$!
	pids="$pids $vm"
}

# asm NAME: boot sector image from the 16-bit code on standard input
asm() {
	{ echo '.code16'; echo '.org 0'; cat; echo '.org 510'; echo '.word 0xaa55'; } >"$tmp/a.s"
	as --32 -o "$tmp/a.o" "$tmp/a.s" && objcopy -O binary "$tmp/a.o" "$HOME/$1.img"
	truncate -s 1M "$HOME/$1.img"
}
asm halt <<'EOS'
	sti
1:	hlt
	jmp 1b
EOS
asm crash <<'EOS'
	cli
	xor %ax, %ax
	mov %ax, %ds
	lidt empty + 0x7c00
	int3
empty:	.word 0
	.long 0
EOS
# Power off as SeaBIOS's APM does: 5307h, state 3.
asm off <<'EOS'
	mov $0x5301, %ax
	xor %bx, %bx
	int $0x15
	mov $0x530e, %ax
	xor %bx, %bx
	mov $0x0102, %cx
	int $0x15
	mov $0x5307, %ax
	mov $1, %bx
	mov $3, %cx
	int $0x15
1:	hlt
	jmp 1b
EOS
for d in one two; do
	echo $d >"$tmp/iso/f"
	xorriso -as mkisofs -quiet -V "$d" -o "$HOME/$d.iso" "$tmp/iso" 2>/dev/null
done

# ---- discs, by the menu and the built-in browser ----
$HVRUN create disc -m 64M --net none --new-disk none --cdrom "$HOME/one.iso" "$HOME/halt.img" >/dev/null
start disc
check "a machine with a CD drive" within 60 shown "disc - hvrun"
vm1=$vm
focus disc
host m
key Down Return		# Devices
picture 1-media
key Down Return		# Eject
check "eject" kill -0 $vm1
host m
key Down Return Return	# Insert disc...: the browser
sleep 0.5
xdotool type t		# jumps to two.iso
sleep 0.5
picture 2-browser
key Return
check "insert by the browser" within 20 said disc "inserted $HOME/two.iso"

# ---- without its window, and shown again ----
host q
key Tab Return
check "the window closes, the guest runs on" within 20 gone "disc - hvrun"
check "as a running machine" sh -c "$HVRUN list | grep -q 'disc .*running'"
check "hvrun NAME shows it again" timeout 30 $HVRUN disc
check "in a new window" within 20 shown "disc - hvrun"
check "of the same process" kill -0 $vm1
check "a second time only raises it" timeout 30 $HVRUN disc
( unset DISPLAY; LIMIT=20 expect_exit "without a display it is refused" 7 "running already" $HVRUN disc )
kill $vm1
within 20 ended $vm1

# ---- the display server dies ----
Xvfb -displayfd 3 -screen 0 800x600x24 -nolisten tcp 3>"$tmp/display2" >/dev/null 2>&1 &
x2=$!
pids="$pids $x2"
within 20 [ -s "$tmp/display2" ]
first=$DISPLAY
DISPLAY=:$(cat "$tmp/display2") start disc
within 60 sh -c "DISPLAY=:$(cat "$tmp/display2") xdotool search --onlyvisible --name 'disc - hvrun' >/dev/null 2>&1"
sleep 2
kill -9 $x2
check "display server killed: said so" within 30 said disc "the display is gone; the guest runs on"
check "the guest runs on" kill -0 $vm
check "and comes up on another display" timeout 30 $HVRUN disc
check "with a window" within 20 shown "disc - hvrun"
kill $vm
within 20 ended $vm

# ---- the guest powers off ----
$HVRUN create off -m 64M --net none "$HOME/off.img" >/dev/null
start off --on-poweroff stay
within 60 shown "off .*hvrun"
sleep 3
check "the window stays after power-off" kill -0 $vm
focus off
picture 3-off
key Return		# Start again
sleep 4
check "and starts again" kill -0 $vm
focus off
key Escape
check "or closes" within 20 ended $vm
wait $vm
check "with status 0" [ $? = 0 ]
start off
check "without --on-poweroff stay it ends by itself" within 60 ended $vm

# ---- crash after crash ----
$HVRUN create crash -m 64M --net none "$HOME/crash.img" >/dev/null
start crash
within 60 shown "crash .*hvrun"
check "a guest that only crashes is paused" within 90 shown "crash .paused. - hvrun"
sleep 1
picture 4-resets
focus crash
key Return		# Let it try again
within 30 sh -c "! xdotool search --onlyvisible --name 'crash .paused. - hvrun' >/dev/null 2>&1"
check "can try again, to no avail" within 90 shown "crash .paused. - hvrun"
focus crash
key Tab Tab Tab Return	# Power off
check "and be switched off" within 20 ended $vm
LIMIT=90 expect_exit "without a window it ends with 5" 5 "keeps crashing" $HVRUN crash --display none \
	--serial null --engine soft

# ---- the host's disk is full ----
asm fill <<'EOS'
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	mov %dl, drive + 0x7c00
1:	mov $0x42, %ah
	inc %ah			# 43h: extended write
	xor %al, %al
	mov drive + 0x7c00, %dl
	mov $packet + 0x7c00, %si
	int $0x13
	addl $64, packet + 0x7c00 + 8
	jmp 1b
drive:	.byte 0
packet:	.byte 16, 0
	.word 64
	.word 0x0000, 0x1000
	.long 64, 0
EOS
mkdir -p "$tmp/small"
if mount -t tmpfs -o size=4m hvrun-test "$tmp/small" 2>/dev/null; then
	truncate -s 64M "$HOME/fill.img"
	cp --sparse=always "$HOME/fill.img" "$tmp/small/fill.img"
	head -c 2M /dev/urandom >"$tmp/small/ballast"
	start "$tmp/small/fill.img" --net none
	check "a full disk pauses" within 90 shown "fill.*paused. - hvrun"
	sleep 1
	picture 5-full
	rm "$tmp/small/ballast"
	check "space again: it goes on" within 30 said fill.img "works again"
	kill $vm
	within 20 ended $vm
	umount "$tmp/small"
else
	skip "host disk full in the window" "mounting a small tmpfs needs root"
fi
exit 0
