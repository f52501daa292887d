#!/bin/sh
# Choosing a file with the desktop's portal, with zenity and with kdialog: the real ones.
. "$(dirname "$0")/lib.sh"
M=$XDG_DATA_HOME/hvrun/machines

need "file dialogs" Xvfb xdotool
start_x
unset DBUS_SESSION_BUS_ADDRESS
export HOME="$tmp/home" GTK_USE_PORTAL=0 NO_AT_BRIDGE=1 GSETTINGS_BACKEND=memory
mkdir -p "$HOME"
truncate -s 1M "$HOME/by-portal.img" "$HOME/by-zenity.img" "$HOME/by-kdialog.img"

no() { ! "$@"; }
focus() { xdotool windowactivate --sync "$(xdotool search --onlyvisible --name "$1" | head -n 1)" 2>/dev/null; sleep 0.5; }
title="Choose an ISO, disk image or OVA"

# choose NAME: by the dialog that Ctrl+O opens; a machine of that name is made
choose() {
	$HVRUN >"$tmp/$1.log" 2>&1 &
	lib=$!
	pids="$pids $lib"
	within 30 shown "Machines - hvrun"
	sleep 1
	focus "Machines - hvrun"
	xdotool key ctrl+o
	check "$1: the dialog opens" within 30 shown "$title"
	sleep 1
	timeout 20 import -window root "$shots/dialog-$1.png"
	focus "$title"
	xdotool key Escape
	check "$1: cancelled, it goes" within 20 no shown "$title"
	sleep 0.5
	focus "Machines - hvrun"
	xdotool key ctrl+o
	within 30 shown "$title"
	sleep 1
	focus "$title"
	xdotool type --delay 40 "$HOME/$1.img"
	sleep 0.5
	xdotool key Return
	check "$1: chosen, it goes" within 20 no shown "$title"
	sleep 1
	focus "Machines - hvrun"
	xdotool key Tab Tab Tab Tab Tab Tab Tab Tab Tab	# to "Only create"
	timeout 20 import -window root "$shots/dialog-$1-sheet.png"
	xdotool key Return
	check "$1: the file becomes a machine" within 20 grep -qsF "disk = $HOME/$1.img" "$M/$1.hvm"
	kill $lib
	wait $lib 2>/dev/null
}

if [ -x /usr/libexec/xdg-desktop-portal-gtk ] && command -v dbus-daemon >/dev/null; then
	eval "$(dbus-daemon --session --fork --print-address=1 --print-pid=1 | {
		read -r a; read -r p; echo "DBUS_SESSION_BUS_ADDRESS='$a' bus=$p"; })"
	export DBUS_SESSION_BUS_ADDRESS
	pids="$pids $bus"
	/usr/libexec/xdg-desktop-portal-gtk >"$tmp/backend.log" 2>&1 &
	pids="$pids $!"
	sleep 1
	XDG_CURRENT_DESKTOP=GNOME /usr/libexec/xdg-desktop-portal >"$tmp/portal.log" 2>&1 &
	pids="$pids $!"
	sleep 2
	choose by-portal
	unset DBUS_SESSION_BUS_ADDRESS
else
	skip "the desktop's portal" "no xdg-desktop-portal-gtk"
fi
if command -v zenity >/dev/null; then
	choose by-zenity
else
	skip "zenity" "not installed"
fi
# Where zenity is not: found by PATH, as zenity is.
if command -v kdialog >/dev/null; then
	mkdir -p "$tmp/bin"
	ln -s "$(command -v kdialog)" "$tmp/bin/"
	HVRUN="env PATH=$tmp/bin QT_STYLE_OVERRIDE=fusion $HVRUN"
	choose by-kdialog
else
	skip "kdialog" "not installed"
fi
exit 0
