#!/bin/sh
# Files dragged out of a real file manager (PCManFM, XDND) and dropped: an ISO on a
# running machine, a floppy disk's image on one, a disk image on the library.
. "$(dirname "$0")/lib.sh"

need "drag and drop" Xvfb xdotool pcmanfm dbus-run-session xorriso
start_x
unset DBUS_SESSION_BUS_ADDRESS
export HOME="$tmp/home" XDG_CONFIG_HOME="$tmp/home/.config" NO_AT_BRIDGE=1
mkdir -p "$HOME/Templates" "$tmp/in" "$tmp/iso" "$tmp/floppy" "$tmp/disk"
echo x >"$tmp/in/f"
xorriso -as mkisofs -quiet -V drop -o "$tmp/iso/a disc.iso" "$tmp/in" 2>/dev/null
truncate -s 1440K "$tmp/floppy/small.img"
make_halt_disk "$HOME/halt.img" '\373'
make_halt_disk "$tmp/disk/new.img" '\373'
truncate -s 8M "$tmp/disk/new.img"
title() { xdotool search --onlyvisible --name "$1" | head -n 1; }

# drag FOLDER X Y: its only file, to that place of the screen
drag() {
	dbus-run-session pcmanfm --no-desktop "$tmp/$1" >"$tmp/pcmanfm.log" 2>&1 &
	fm=$!
	pids="$pids $fm"
	within 30 shown "^$1\$" || { not_ok "the file manager shows $1" "$(logs)"; return; }
	sleep 2
	w=$(title "^$1\$")
	xdotool windowsize --sync "$w" 500 330
	xdotool windowmove --sync "$w" 0 0
	sleep 1
	# The first icon is at the top left of the part right of "Places".
	xdotool mousemove 208 118 mousedown 1
	sleep 0.3
	for step in 1 2 3 4 5 6 7 8 9 10; do
		xdotool mousemove $((208 + ($2 - 208) * step / 10)) $((118 + ($3 - 118) * step / 10))
		sleep 0.1
	done
	sleep 0.5
	timeout 20 import -window root "$shots/drop-$1.png"
	xdotool mouseup 1
	sleep 0.5
}
leave() { xdotool windowkill "$(title "^$1\$")" 2>/dev/null; wait $fm 2>/dev/null; }

$HVRUN create drop -m 64M --net none --cdrom none --floppy none "$HOME/halt.img" >/dev/null
$HVRUN drop --engine soft >"$tmp/drop.log" 2>&1 &
vm=$!
pids="$pids $vm"
check "a machine with empty drives" within 60 shown "drop - hvrun"
xdotool windowmove --sync "$(title 'drop - hvrun')" 540 300
drag iso 900 500
check "an ISO dragged onto it is inserted" within 20 grep -qF "inserted $tmp/iso/a disc.iso" "$tmp/drop.log"
leave iso
drag floppy 900 500
check "a floppy disk's image, too" within 20 grep -qF "inserted $tmp/floppy/small.img" "$tmp/drop.log"
leave floppy
timeout 20 import -window root "$shots/drop-done.png"
check "the machine runs on" kill -0 $vm
kill $vm
wait $vm 2>/dev/null

$HVRUN >"$tmp/library.log" 2>&1 &
lib=$!
pids="$pids $lib"
within 60 shown "Machines - hvrun"
xdotool windowmove --sync "$(title 'Machines - hvrun')" 250 350
drag disk 700 600
timeout 20 import -window root "$shots/drop-library.png"
xdotool windowactivate --sync "$(title 'Machines - hvrun')" 2>/dev/null
sleep 0.5
key Return	# Start
check "a disk image dragged onto the library becomes a machine" within 30 \
	grep -qsF "disk = $tmp/disk/new.img" "$XDG_DATA_HOME/hvrun/machines/new.hvm"
leave disk
within 30 shown "new - hvrun"
pid=$($HVRUN list --json | python3 -c "import json,sys; print([m.get('pid') for m in json.load(sys.stdin) if m['name']=='new'][0] or '')")
[ -z "$pid" ] || kill "$pid"
kill $lib
wait $lib 2>/dev/null
exit 0
