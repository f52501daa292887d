#!/bin/sh
# The window under a real X server with a window manager: menu, sheets and host
# key by keyboard and mouse, pause, fullscreen, running on without the window,
# two windows at once, no display.  Pictures stay in the log folder.
. "$(dirname "$0")/lib.sh"
G=$here/build/guest
"$here/scripts/make-initramfs" "$G" || { not_ok "guest kernel and initramfs"; exit 1; }

( unset DISPLAY WAYLAND_DISPLAY SDL_VIDEODRIVER
  LIMIT=20 expect_exit "no display: one clear line" 9 "use --display none" $HVRUN --engine soft \
	--display window --kernel "$G/vmlinuz" )

need "the window" Xvfb xdotool
start_x

# start NAME: a guest that counts on its serial line; vm=pid, serial=file
start() {
	serial=$tmp/$1.serial
	$HVRUN --engine soft --display window -m 256M --name "$1" --serial "file:$serial" \
		--kernel "$G/vmlinuz" --initrd "$G/initrd.gz" --append "console=ttyS0 console=tty0 quiet" \
		--timeout 280s >"$tmp/$1.log" 2>&1 &
	vm=$!
	pids="$pids $vm"
	within 120 shows "$serial" "hvrun# "
}
shows() { grep -qF -- "$2" "$1" 2>/dev/null; }
win() {
	for try in 1 2 3 4 5 6 7 8 9 10; do
		id=$(xdotool search --onlyvisible --name "$1 .*hvrun" 2>/dev/null | head -n 1)
		[ -z "$id" ] || break
		sleep 0.5
	done
	echo "${id:-none}"
}
focus() { xdotool windowactivate --sync "$(win "$1")" 2>/dev/null; }
gone() { ! kill -0 "$1" 2>/dev/null; }
size() { xdotool getwindowgeometry "$(win "$1")" | sed -n 's/.*Geometry: //p'; }
picture() { timeout 20 import -window "$(win "$1")" "$shots/window-$2.png"; }
# differ A B: the pictures are not the same
differ() { [ "$(compare -metric AE "$shots/window-$1.png" "$shots/window-$2.png" null: 2>&1)" != 0 ]; }
logs() { cat "$tmp"/*.log; }

start one || { not_ok "the guest starts in a window" "$(cat "$tmp/one.log")"; exit 1; }
vm1=$vm
ok "the guest starts in a window"
focus one
xdotool type --delay 60 'echo A-$((20+3)) >/dev/ttyS0'; xdotool key Return
check "typed keys reach the guest" within 30 shows "$tmp/one.serial" A-23

picture one 1-plain
check "the kernel's console is on the screen" sh -c \
	"[ \$(convert '$shots/window-1-plain.png' -crop 100%x90%+0+0 -format %k info:) -gt 1 ]"
host m; sleep 1; picture one 2-menu
check "the host key opens the menu" differ 1-plain 2-menu
xdotool key Return; sleep 1; picture one 3-submenu
check "Enter opens a submenu" differ 2-menu 3-submenu
xdotool type --delay 60 'zzz'; xdotool key Escape; sleep 0.3; xdotool key Escape; sleep 1
xdotool type --delay 60 'echo C-$((20+5)) >/dev/ttyS0'; xdotool key Return
check "after Escape keys are the guest's again" within 30 shows "$tmp/one.serial" C-25
check "keys typed into the menu did not reach the guest" sh -c "! grep -q zzz '$tmp/one.serial'"

xdotool type --delay 60 'while sleep 1; do echo tick; done >/dev/ttyS0 &'; xdotool key Return
within 20 shows "$tmp/one.serial" tick
host p
check "the title says paused" within 10 shown "paused"
sleep 1
a=$(wc -c <"$tmp/one.serial"); sleep 4; b=$(wc -c <"$tmp/one.serial")
check "a paused guest stands still" [ "$a" = "$b" ]
picture one 4-paused
host p
check "and goes on" within 20 sh -c "[ \$(wc -c <'$tmp/one.serial') -gt $b ]"

before=$(size one)
host f
check "fullscreen" within 10 sh -c "xdotool getwindowgeometry $(win one) | grep -q 1280x800"
picture one 5-full
host f
check "and back to the size before" within 10 sh -c \
	"xdotool getwindowgeometry $(win one) | grep -q 'Geometry: $before'"

start two && ok "a second window beside it" || not_ok "a second window beside it" "$(cat "$tmp/two.log")"
vm2=$vm
focus two
host q; sleep 1; picture two 6-close
xdotool key Escape; sleep 0.5
check "Escape leaves the close sheet, the guest runs" kill -0 $vm2
# By mouse: the strip's first sign opens the menu, its last row the close sheet.
xdotool mousemove --window "$(win two)" 14 $(($(size two | cut -d x -f 2) - 10)) click 1; sleep 1
picture two 7-mouse-menu
check "a click on the strip opens the menu" differ 6-close 7-mouse-menu
xdotool key Escape; sleep 0.5
host q; sleep 0.5
xdotool key Tab; xdotool key Tab; sleep 0.3; xdotool key Return
check "Power off in the close sheet ends it" within 20 gone $vm2
wait $vm2
check "with status 0" [ $? = 0 ]
check "the other machine runs on" kill -0 $vm1

focus one
host q; sleep 0.5
xdotool key Tab; sleep 0.3; xdotool key Return
check "keep running without a window: the window goes" within 20 sh -c "! xdotool search --onlyvisible --name 'one .*hvrun'"
a=$(wc -c <"$tmp/one.serial")
check "and the guest runs on" within 20 sh -c "[ \$(wc -c <'$tmp/one.serial') -gt $a ]"
kill $vm1
wait $vm1

# The desktop's scale on X11: the strip is twice as high, the guest's picture as before.
if command -v xprop >/dev/null; then
	make_halt_disk "$tmp/scale.img" '\373'
	strip() {
		$HVRUN --engine soft --no-remember --net none -m 64M --name "$1" "$tmp/scale.img" \
			>"$tmp/$1.log" 2>&1 &
		vm=$!
		pids="$pids $vm"
		within 60 shown "$1 .*hvrun"
		sleep 4
		size "$1" | cut -d x -f 2 >"$tmp/height"
		kill $vm
		wait $vm
	}
	strip plain
	one=$(cat "$tmp/height")
	xprop -root -f RESOURCE_MANAGER 8s -set RESOURCE_MANAGER "Xft.dpi:	192"
	strip doubled
	two=$(cat "$tmp/height")
	check "Xft.dpi 192: text at scale 2 ($one, then $two)" \
		[ $(((two - 400) * 10 / (one - 400))) -ge 18 ]
else
	skip "Xft.dpi" "no xprop"
fi

# A still picture (mode 13h has no cursor) and a guest that halts: the window's thread sleeps.
printf '\270\023\000\315\020\372\364\353\375' >"$tmp/still.img"
truncate -s 510 "$tmp/still.img"
printf '\125\252' >>"$tmp/still.img"
truncate -s 1M "$tmp/still.img"
$HVRUN --engine soft --serial null -m 64M --net none --no-remember "$tmp/still.img" \
	>"$tmp/still.log" 2>&1 &
still=$!
pids="$pids $still"
within 20 shown "still.img" || not_ok "the still window comes"
sleep 12
wakes() { sed -n 's/^voluntary_ctxt_switches:[^0-9]*//p' "/proc/$still/task/$still/status"; }
a=$(wakes)
sleep 5
b=$(wakes)
[ $((b - a)) -le 5 ] && ok "a still screen wakes the window less than once a second" ||
	not_ok "a still screen wakes the window less than once a second" "$((b - a)) in 5 s"
kill $still
wait $still

# With OpenGL and without the window looks the same, at 1:1 and scaled, menu and all.
# A pattern in mode 13h: 1: mov %di, %ax; add %ah, %al; stosb; test %di, %di; jnz 1b
printf '\270\023\000\315\020\150\000\240\007\061\377\211\370\000\340\252\205\377\165\367\364\353\375' \
	>"$tmp/look.img"
truncate -s 510 "$tmp/look.img"
printf '\125\252' >>"$tmp/look.img"
truncate -s 1M "$tmp/look.img"
looks() { # KIND: pictures of it in all sizes
	$HVRUN --engine soft --serial null -m 64M --net none --no-remember \
		--display "window,gl=$1" "$tmp/look.img" >"$tmp/look-$1.log" 2>&1 &
	vm=$!
	pids="$pids $vm"
	within 20 shown "look.img" || not_ok "the window with gl=$1 comes"
	sleep 3
	w=$(xdotool search --onlyvisible --name "look.img" | head -n 1)
	timeout 20 import -window "$w" "$tmp/look-1-$1.png"
	for size in "500 300" "1000 700"; do
		xdotool windowsize "$w" $size
		sleep 2
		timeout 20 import -window "$w" "$tmp/look-${size% *}-$1.png"
	done
	host m
	timeout 20 import -window "$w" "$tmp/look-menu-$1.png"
	kill $vm
	wait $vm
}
if command -v import >/dev/null; then
	looks on
	looks off
	for k in 1 500 1000 menu; do
		differ=$(compare -metric AE -fuzz 2% "$tmp/look-$k-on.png" "$tmp/look-$k-off.png" \
			null: 2>&1)
		check "without OpenGL it looks as with it: $k ($differ pixels differ)" [ "$differ" = 0 ]
	done
else
	skip "the look without OpenGL" "no import (ImageMagick)"
fi

# The X server dies while the window closes, whatever the window waits for just then: hvrun ends.
ended=0
for round in 1 2 3 4; do
	rm -f "$tmp/dying"
	Xvfb -displayfd 3 -screen 0 800x600x24 -nolisten tcp 3>"$tmp/dying" >/dev/null 2>&1 &
	server=$!
	pids="$pids $server"
	within 10 [ -s "$tmp/dying" ]
	DISPLAY=:$(cat "$tmp/dying") $HVRUN --engine soft --serial null -m 64M --net none \
		--no-remember --display window,gl=$([ $((round % 2)) = 0 ] && echo on || echo off) \
		"$tmp/still.img" >"$tmp/dying.log" 2>&1 &
	vm=$!
	pids="$pids $vm"
	DISPLAY=:$(cat "$tmp/dying") within 20 xdotool search --onlyvisible --name "still.img" >/dev/null
	kill -STOP $server
	kill $vm
	sleep 0.5
	kill -KILL $server
	within 10 sh -c "! kill -0 $vm 2>/dev/null" && ended=$((ended + 1)) || kill -KILL $vm
done
check "a display that dies while the window closes holds nothing up ($ended of 4)" [ $ended = 4 ]
exit 0
