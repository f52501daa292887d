#!/bin/sh
# Debian desktops in the window, XFCE and LXQt: each logs in by itself; typed into,
# clicked, resized twice, fullscreen and back, two machines beside another program.
# Pictures stay in the log folder.  Needs root to make the disks, and Xvfb.
. "$(dirname "$0")/../system/lib.sh"
need "desktops" Xvfb
for d in ${DESKTOPS:-xfce lxqt}; do
	[ -s "$here/build/$d.img" ] || [ "$(id -u)" = 0 ] ||
		{ skip "desktops" "making the disks needs root (debootstrap)"; exit 0; }
	[ -s "$here/build/$d.img" ] || "$here/scripts/make-desktop-disk" "$here/build/$d.img" $d ||
		{ not_ok "make-desktop-disk $d"; exit 1; }
done
start_x
xmessage -geometry +900+600 "another program" 2>/dev/null &
pids="$pids $!"

says() { grep -qE -- "$1" "$tmp/$d.serial" 2>/dev/null; }
win() { xdotool search --onlyvisible --name "$d .*hvrun" 2>/dev/null | head -n 1; }
picture() { timeout 20 import -window root "$shots/desktop-$d-$1.png"; }
logs() { picture failed; tail -n 3 "$tmp/$d.log" "$tmp/$d.serial"; }
# typed TEXT: a line for the guest's terminal
typed() { xdotool type --delay 80 "$1"; xdotool key Return; }
# terminal_answers: the desktop's first window, opened by itself
terminal_answers() {
	for try in 1 2 3 4 5 6 7 8 9 10; do
		typed 'clear; echo term""inal-$((40+2)) >/dev/ttyS0'
		within 8 says terminal-42 && return 0
	done
	return 1
}

for d in ${DESKTOPS:-xfce lxqt}; do
	$HVRUN --engine soft --display window -m 1536M --cpus 2 --name $d --serial "file:$tmp/$d.serial" \
		--discard --timeout 900s "$here/build/$d.img" >"$tmp/$d.log" 2>&1 &
	eval "vm_$d=$!"
	pids="$pids $!"
	check "$d: boots to the login of its serial line" within 240 says "login:"
	sleep 20
	xdotool windowactivate "$(win)" 2>/dev/null
	check "$d: the desktop logs in, its terminal takes typed keys" terminal_answers
	picture 1-terminal

	# xwininfo names the window under the next click: the panel's, at the desktop's edge.
	set -- $(xdotool getwindowgeometry "$(win)" | sed -n 's/.*Geometry: \([0-9]*\)x\([0-9]*\)/\1 \2/p')
	[ $d = xfce ] && y=12 || y=$(($2 - 24 - 12))
	typed 'sleep 2; xwininfo >/dev/ttyS0'
	sleep 6
	xdotool mousemove --window "$(win)" $(($1 * 2 / 3)) $y
	sleep 1
	xdotool click 1
	check "$d: a click on its panel finds the panel" within 20 says '"(xfce4|lxqt|LXQt).*[Pp]anel'

	for size in 1024x704 896x640; do
		xdotool windowsize "$(win)" ${size%x*} $((${size#*x} + 24))
		sleep 3
		typed 'xrandr --output Virtual-1 --auto; xrandr | head -n 1 >/dev/ttyS0'
		check "$d: resized to $size: the guest is offered that size" within 20 \
			says "current ${size%x*} x ${size#*x}"
	done
	picture 2-resized
	host f
	sleep 3
	picture 3-full
	host f
	sleep 2
	typed 'echo ba""ck-$((50+1)) >/dev/ttyS0'
	check "$d: fullscreen and back" within 20 says back-51
done
[ "${vm_xfce:-}" ] && [ "${vm_lxqt:-}" ] || exit 0
d=both
xdotool windowmove "$(xdotool search --onlyvisible --name "xfce .*hvrun" | head -n 1)" 20 40
picture 4
kill -0 $vm_xfce && kill -0 $vm_lxqt && ok "two desktops beside another program" ||
	not_ok "two desktops beside another program"
kill $vm_xfce $vm_lxqt
wait $vm_xfce $vm_lxqt 2>/dev/null
exit 0
