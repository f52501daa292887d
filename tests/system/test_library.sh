#!/bin/sh
# The library window by keyboard and by mouse: make, start, change, find, copy, delete.
. "$(dirname "$0")/lib.sh"
M=$XDG_DATA_HOME/hvrun/machines

need "the library" Xvfb xdotool
start_x
unset DBUS_SESSION_BUS_ADDRESS
export HOME="$tmp/home"
HVRUN="env PATH=$tmp/bin $HVRUN"	# no zenity: our own browser
mkdir -p "$HOME" "$tmp/bin"
make_halt_disk "$HOME/halt.img"
truncate -s 1440K "$HOME/small.img"

logs() { cat "$tmp"/*.log; $HVRUN list; }
text() { xdotool type --delay 30 "$1"; sleep 0.3; }
running() { $HVRUN list | grep -q "^$1 .*running"; }
off() { $HVRUN list | grep -q "^$1 .*off"; }
file_has() { grep -q -- "$2" "$M/$1.hvm" 2>/dev/null; }
no_file() { [ ! -e "$M/$1.hvm" ]; }
focus() { xdotool search --sync --onlyvisible --name "Machines - hvrun" windowactivate --sync 2>/dev/null; }
picture() { timeout 20 import -window "$(xdotool search --onlyvisible --name 'Machines - hvrun' | head -n 1)" "$shots/library-$1.png"; }

$HVRUN >"$tmp/library.log" 2>&1 &
lib=$!
pids="$pids $lib"
check "hvrun alone opens the library" within 60 shown "Machines - hvrun"
focus
sleep 1
picture 1-empty

# By keyboard: new machine from the built-in browser, started with Enter.
key ctrl+o
sleep 0.5
picture 2-browser
key Return
sleep 0.5
picture 3-new
key Return
check "a chosen image and Enter make a machine" within 30 file_has halt "disk = $HOME/halt.img"
check "and start it" within 60 running halt
check "in a window" within 60 shown "halt - hvrun"
xdotool search --onlyvisible --name "halt - hvrun" windowactivate --sync 2>/dev/null
xdotool keydown Control_R; xdotool key q; xdotool keyup Control_R; sleep 0.7
key Tab Tab Return
check "closed again" within 30 off halt
[ -s "$XDG_CACHE_HOME/hvrun/halt.png" ] && ok "its picture is kept" || not_ok "its picture is kept"

focus
sleep 4
key F2
sleep 2		# the sheet reads the machine's file first
picture 4-settings
key Tab Right Right Return	# memory: two steps up, Enter saves
check "settings change the file" within 20 file_has halt "memory = 3072M"

sleep 3
key F2
sleep 1
key Tab Tab Tab Tab Tab Tab Tab		# forwarded ports: a wrong one is told, nothing is lost
text "tcp:what"
key Return
sleep 0.5
picture 4-settings-wrong
key Return
key BackSpace BackSpace BackSpace BackSpace	# the sheet is back, as it was, at its top
key Escape
key F2
sleep 1
key Tab Tab Tab Tab Tab Tab Tab
text "tcp:20022:22, udp:20053:53"
key Tab Right Tab space Tab
text "$HOME/small.img"
picture 4-settings-more
key Return
check "forwarded ports" within 20 file_has halt "forward = tcp:20022:22"
check "two of them" file_has halt "forward = udp:20053:53"
check "a sound card with microphone" file_has halt "sound = hda,mic=on"
check "a floppy disk" file_has halt "floppy = $HOME/small.img"
check "the rest is as it was" file_has halt "memory = 3072M"

key F10 Down Down Down Down Return	# the menu: duplicate
sleep 0.5
key BackSpace BackSpace BackSpace BackSpace BackSpace BackSpace
text "other"
key Return
check "duplicate by the menu" within 30 file_has other "qcow2"
sleep 2.5
text "oth"
sleep 0.5
picture 5-search
key Delete
sleep 0.3
picture 6-delete
key space Tab Tab Return	# with its disk; Cancel, Delete
check "search and delete" within 20 no_file other
check "with its disk" within 5 sh -c "! ls '$XDG_DATA_HOME'/hvrun/disks/* >/dev/null 2>&1"
check "the other one stays" file_has halt "disk"
key Escape

# By mouse: New, a field, a choice, a button; then a double click on a card.
sleep 2.5
eval "$(xdotool getwindowgeometry --shell "$(xdotool search --onlyvisible --name 'Machines - hvrun' | head -n 1)")"
click() { xdotool mousemove --window "$WINDOW" "$1" "$2"; sleep 0.2; xdotool click "${3:-1}"; sleep 0.4; }
click $((WIDTH - 40)) 26
picture 7-mouse-new
key Escape
xdotool mousemove --window "$WINDOW" 140 160; sleep 0.2
xdotool click --repeat 2 --delay 80 1
check "a double click starts" within 60 running halt
within 60 shown "halt - hvrun"
vm=$($HVRUN list --json | python3 -c "import json,sys; print([m['pid'] for m in json.load(sys.stdin) if m['name']=='halt'][0])")
kill -9 "$vm"
check "a crash of a machine leaves the library" within 20 off halt
check "which is still there" kill -0 $lib
focus
click 140 160 3
sleep 0.3
picture 8-mouse-menu
key Escape
key ctrl+q
within 10 sh -c "! kill -0 $lib 2>/dev/null"
wait $lib
check "Ctrl+Q ends it with status 0" [ $? = 0 ]
[ -s "$tmp/library.log" ] && not_ok "it has nothing to complain of" "$(cat "$tmp/library.log")" ||
	ok "it has nothing to complain of"
exit 0
