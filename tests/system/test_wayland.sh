#!/bin/sh
# The window and the library under a Wayland compositor (sway without a screen):
# they come up natively, at the scale of the output, and outlive the compositor.
. "$(dirname "$0")/lib.sh"

need "Wayland" sway grim

# sway refuses to run as root: then as nobody, in a folder of nobody's.
chmod 755 "$tmp"
W=$tmp/wayland
mkdir -m 700 "$W"
cat >"$tmp/sway.conf" <<'EOS'
output HEADLESS-1 resolution 1280x800 scale 1.5
default_border none
for_window [app_id=".*"] floating enable
EOS
as=""
if [ "$(id -u)" = 0 ]; then
	chown nobody:nogroup "$W"
	as="setpriv --reuid=nobody --regid=nogroup --clear-groups"
fi
env -u DISPLAY -u WAYLAND_DISPLAY XDG_RUNTIME_DIR="$W" WLR_BACKENDS=headless \
	WLR_LIBINPUT_NO_DEVICES=1 WLR_RENDERER=pixman HOME="$W" \
	$as sway -c "$tmp/sway.conf" >"$tmp/sway.log" 2>&1 &
sway=$!
pids="$pids $sway"
socket() { ls "$W" 2>/dev/null | grep '^wayland-[0-9]*$' | head -n 1; }
within 20 sh -c "ls '$W' | grep -q '^wayland-[0-9]*\$'" || {
	skip "Wayland" "sway does not start here: $(tail -n 1 "$tmp/sway.log")"
	exit 0
}
unset DISPLAY SDL_VIDEODRIVER
# The compositor's socket by its path; our own run folder stays ours.
WAYLAND_DISPLAY=$W/$(socket)
export WAYLAND_DISPLAY LIBGL_ALWAYS_SOFTWARE=1
ipc() { XDG_RUNTIME_DIR=$W swaymsg -s "$(ls "$W"/sway-ipc.*.sock | head -n 1)" "$@" 2>/dev/null; }
shown() { ipc -t get_tree | grep -qF -- "\"name\": \"$1"; }
picture() { grim "$shots/wayland-$1.png" 2>>"$tmp/grim.log"; }

make_halt_disk "$tmp/halt.img" '\373'	# sti: an interrupt wakes it
$HVRUN create way -m 64M --net none "$tmp/halt.img" >/dev/null
$HVRUN way --engine soft --verbose >"$tmp/way.log" 2>&1 &
vm=$!
pids="$pids $vm"
check "the window comes up under Wayland" within 60 shown "way - hvrun"
sleep 3
picture 1-window
ipc -t get_tree >"$tmp/tree"
check "as a Wayland client" sh -c "grep -A60 '\"name\": \"way - hvrun' '$tmp/tree' | grep -q xdg_shell"
check "called as its desktop entry" grep -q '"app_id": "org.hvrun.hvrun"' "$tmp/tree"
check "with a picture" [ "$(convert "$shots/wayland-1-window.png" -format %k info: 2>/dev/null || echo 0)" -gt 3 ]
# 1:1: 720 dots of the guest are 720 dots of the screen, that is 480 units at scale 1.5.
check "at the output's scale, dot for dot" sh -c "python3 - '$tmp/tree' <<'EOS'
import json, sys
def walk(n):
    yield n
    for c in n.get('nodes', []) + n.get('floating_nodes', []):
        yield from walk(c)
t = json.load(open(sys.argv[1]))
w = [n for n in walk(t) if (n.get('name') or '').startswith('way - hvrun')][0]['geometry']
sys.exit(abs(w['width'] - 480) > 2)
EOS"
$HVRUN >"$tmp/library.log" 2>&1 &
lib=$!
pids="$pids $lib"
check "the library, too" within 30 shown "Machines - hvrun"
sleep 2
picture 2-library
kill $lib
kill -9 $sway
check "compositor killed: said so" within 30 grep -q "the display is gone; the guest runs on" "$tmp/way.log"
sleep 2
check "the guest runs on" kill -0 $vm
if command -v Xvfb >/dev/null && command -v xdotool >/dev/null; then
	start_x
	check "and comes up on an X server" timeout 30 $HVRUN way
	check "with a window" within 20 sh -c \
		"xdotool search --onlyvisible --name 'way - hvrun' >/dev/null 2>&1"
fi
kill $vm
wait $vm $lib 2>/dev/null
exit 0
