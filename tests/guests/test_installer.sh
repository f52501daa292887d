#!/bin/sh
# Debian's installer from CDs made of its netboot package: the text one through
# language, keyboard, disk and DHCP to its mirror question; the graphical one in the
# window, by mouse.  Package: debian-installer-12-netboot-amd64.
. "$(dirname "$0")/../system/lib.sh"
D=/usr/lib/debian-installer/images/12/amd64

# installer_iso KIND PARAMETERS: a CD of text or gtk
installer_iso() {
	mkdir -p "$tmp/$1/boot/grub"
	cp "$D/$1/debian-installer/amd64/linux" "$D/$1/debian-installer/amd64/initrd.gz" "$tmp/$1/"
	cat >"$tmp/$1/boot/grub/grub.cfg" <<-EOS
		serial --unit=0 --speed=115200
		terminal_output console serial
		linux /linux $2
		initrd /initrd.gz
		boot
	EOS
	grub-mkrescue -d /usr/lib/grub/i386-pc -o "$tmp/$1.iso" "$tmp/$1" >"$tmp/err" 2>&1 ||
		not_ok "grub-mkrescue $1" "$(tail -n 3 "$tmp/err")"
}

# colour X Y: of a dot of the screen, as RRGGBB
colour() {
	timeout 20 import -window root -crop "1x1+$1+$2" -depth 8 "$tmp/dot.rgb" && od -An -tx1 "$tmp/dot.rgb" | tr -d " "
}

# colour_is X Y PATTERN SECONDS
colour_is() {
	n=0
	until colour "$1" "$2" | grep -q "$3"; do
		n=$((n + 1))
		[ $n -lt "$4" ] || return 1
		sleep 1
	done
}

if [ ! -r $D/text/debian-installer/amd64/linux ]; then
	skip "Debian installer" "no package debian-installer-12-netboot-amd64"
	exit 0
fi

installer_iso text "console=ttyS0 TERM=dumb DEBIAN_FRONTEND=text"
truncate -s 4G "$tmp/target.img"
LIMIT=500 expect_exit "text installer: language, keyboard, DHCP, to its mirror question" 0 \
	"archive mirror" $HVRUN --engine soft --display none --fail-on "Kernel panic" -m 1G \
	--timeout 480s --boot cd --cdrom "$tmp/text.iso" \
	--expect "Select a language" --expect "Prompt:" --send '\n' \
	--expect "location" --expect "Prompt:" --send '\n' \
	--expect "Keymap" --expect "Prompt:" --send '\n' \
	--expect "Hostname" --expect "Prompt:" --send 'hvguest\n' \
	--expect "Domain name" --expect "Prompt:" --send '\n' \
	--expect "archive mirror" "$tmp/target.img"

# A line of its list is chosen by a click, then the button for the next screen.
need "graphical installer" Xvfb
installer_iso gtk "vga=788 quiet"
start_x
$HVRUN --engine soft --display window -m 1G --timeout 480s "$tmp/gtk.iso" >"$tmp/log" 2>&1 &
vm=$!
pids="$pids $vm"
selected='^2.[78].[67].'	# the green of a chosen line, in any scale
if colour_is 600 446 $selected 300; then
	ok "graphical installer: its first screen"
else
	not_ok "graphical installer: its first screen" "$(colour 600 446)" "$(cat "$tmp/log")"
fi
sleep 3
xdotool mousemove 300 532
sleep 1
xdotool click 1
colour_is 600 532 $selected 30 && ok "graphical installer: a click on French chooses it" ||
	not_ok "graphical installer: a click on French chooses it" "$(colour 600 532)"
xdotool mousemove 1220 746
sleep 1
xdotool click 1
colour_is 600 532 '^f[a-f]f[a-f]f[a-f]' 60 && colour_is 600 264 $selected 30 &&
	ok "graphical installer: a click on the button leads to France" ||
	not_ok "graphical installer: a click on the button" "$(colour 600 264)"
mkdir -p "$B/test-logs"
timeout 20 import -window root "$B/test-logs/installer.png"
kill $vm
wait $vm 2>/dev/null
exit 0
