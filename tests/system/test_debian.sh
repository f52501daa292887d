#!/bin/sh
# A full Debian 12 disk (debootstrap, GRUB, systemd) on the software CPU: from
# SeaBIOS through GRUB to the login, over the serial line and in the window;
# the network, 200 MB written and read back, power-off; then fsck, qemu-img
# check, and QEMU boots what we wrote.  Pictures stay in the log folder.
. "$(dirname "$0")/lib.sh"
img=$here/build/debian.img
qcow2=$here/build/debian.qcow2

if [ ! -s "$img" ] || [ ! -s "$qcow2" ]; then
	if [ "$(id -u)" != 0 ]; then
		skip "Debian disk" "making it needs root (debootstrap)"
		exit 0
	fi
	"$here/scripts/make-debian-disk" "$img" "$qcow2" || { not_ok "make-debian-disk"; exit 1; }
fi

fsck_partition() {	# of a raw image
	dd if="$1" of="$tmp/part" bs=1M skip=1 conv=sparse status=none &&
		e2fsck -fn "$tmp/part" >"$tmp/fsck" 2>&1
}

# ---- raw, serial ------------------------------------------------------------
head -c 3000000 /dev/urandom >"$tmp/payload"
sum=$(sha256sum <"$tmp/payload" | cut -c 1-64)
port=$((20000 + $$ % 10000))
python3 -m http.server --bind 127.0.0.1 --directory "$tmp" $port >/dev/null 2>&1 &
pids="$pids $!"
cp --sparse=always "$img" "$tmp/debian.img"
LIMIT=700 expect_exit "raw disk: login, fetch, write 200 MB, power off" 0 "Power down" $HVRUN \
	--engine soft --display none -m 1G --timeout 680s --fail-on "Kernel panic" \
	--fail-on "emergency mode" \
	--expect "GRUB" --expect "login: " --send 'root\n' --expect "Password: " --send 'hvrun\n' \
	--expect '# ' --send 'PS1=; stty -echo; echo in\n' --expect 'in' \
	--send 'n=0; until curl -sf http://10.0.2.2:'$port'/payload | sha256sum | grep '"$sum"'; do n=$((n+1)); [ $n -lt 30 ] || break; sleep 1; done\n' \
	--expect "$sum" \
	--send 'dd if=/dev/urandom of=/root/big bs=1M count=200 status=none; sha256sum /root/big >/root/sum; sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum -c /root/sum\n' \
	--expect "/root/big: OK" --send 'rm /root/big; poweroff\n' --then keep "$tmp/debian.img"
if fsck_partition "$tmp/debian.img"; then ok "fsck after power-off (raw)"; else
	not_ok "fsck after power-off (raw)" "$(tail -n 5 "$tmp/fsck")"; fi

# ---- qcow2 in the window ------------------------------------------------------
cp "$qcow2" "$tmp/debian.qcow2"
need "Debian in the window" Xvfb
start_x
$HVRUN --engine soft --display window -m 1G --serial "file:$tmp/serial" --timeout 680s \
	--screenshot-at-exit "$shots/debian-last.png" "$tmp/debian.qcow2" >"$tmp/window.log" 2>&1 &
vm=$!
pids="$pids $vm"
# wait_for TEXT SECONDS: in the serial log
wait_for() {
	n=0
	until grep -qF -- "$1" "$tmp/serial" 2>/dev/null; do
		n=$((n + 1))
		[ $n -lt "$2" ] && kill -0 $vm 2>/dev/null || return 1
		sleep 1
	done
}
if wait_for "login:" 400; then
	ok "qcow2 disk in the window: login appears"
	timeout 20 import -window root "$shots/debian-login.png"
	win=$(xdotool search --onlyvisible --name hvrun | head -n 1)
	xdotool windowfocus "$win"
	sleep 3
	xdotool type --delay 120 'root'; xdotool key Return
	sleep 8
	xdotool type --delay 120 'hvrun'; xdotool key Return
	sleep 15
	xdotool type --delay 120 'echo Typed-$((40+2)) | tee /dev/ttyS0; uname -a'; xdotool key Return
	if wait_for "Typed-42" 60; then ok "logged in by typed keys"; else
		not_ok "logged in by typed keys" "$(tail -n 5 "$tmp/window.log")"; fi
	sleep 2
	timeout 20 import -window root "$shots/debian-typed.png"
	xdotool type --delay 120 'poweroff'; xdotool key Return
	wait $vm
	rc=$?
	[ $rc = 0 ] && ok "power-off closes the window" || not_ok "power-off closes the window" \
		"status $rc" "$(cat "$tmp/window.log")"
else
	timeout 20 import -window root "$shots/debian-failed.png"
	not_ok "qcow2 disk in the window: login appears" "$(tail -n 5 "$tmp/serial")" \
		"$(cat "$tmp/window.log")"
	kill $vm
	wait $vm
fi
qemu-img check -q "$tmp/debian.qcow2" && ok "qemu-img check (qcow2)" || not_ok "qemu-img check (qcow2)"
qemu-img convert -q -O raw "$tmp/debian.qcow2" "$tmp/conv.img"
if fsck_partition "$tmp/conv.img"; then ok "fsck after power-off (qcow2)"; else
	not_ok "fsck after power-off (qcow2)" "$(tail -n 5 "$tmp/fsck")"; fi
rm -f "$tmp/conv.img" "$tmp/part"

# ---- QEMU boots what our guests wrote ------------------------------------------
for f in debian.img:raw debian.qcow2:qcow2; do
	timeout 200 qemu-system-x86_64 -accel tcg -nodefaults -display none -no-reboot -m 1024 \
		-serial "file:$tmp/qemu.log" -drive "file=$tmp/${f%:*},format=${f#*:},if=virtio,snapshot=on" \
		>/dev/null 2>&1 &
	q=$!
	pids="$pids $q"
	n=0
	until grep -q "login:" "$tmp/qemu.log" 2>/dev/null || [ $n -gt 180 ]; do
		n=$((n + 1))
		sleep 1
	done
	grep -q "login:" "$tmp/qemu.log" && ok "QEMU boots ${f%:*} afterwards" ||
		not_ok "QEMU boots ${f%:*} afterwards" "$(tail -n 3 "$tmp/qemu.log")"
	kill $q 2>/dev/null
	rm -f "$tmp/qemu.log"
done
