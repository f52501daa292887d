#!/bin/sh
# Debian on what else connects a guest: its disk logs in on hvc0 (systemd's getty
# generator, from console=hvc0 alone) and udev names its channels; Debian's vmmouse
# driver moves by VMware's absolute mouse where there is no tablet.
. "$(dirname "$0")/../system/lib.sh"
N="--engine soft --fail-on Kernel.panic"

# ---- hvc0 and /dev/virtio-ports ---------------------------------------------------
img=$here/build/debian.img
if [ ! -s "$img" ] && [ "$(id -u)" = 0 ]; then
	"$here/scripts/make-debian-disk" "$img" || { not_ok "make-debian-disk"; exit 1; }
fi
if [ -s "$img" ]; then
	cp --sparse=always "$img" "$tmp/hvc.img"
	# The console must be there before systemd looks: its driver goes into the initramfs.
	LIMIT=600 expect_exit "Debian disk: its driver into the initramfs, console=hvc0 into GRUB" 0 \
		"changed: 1" $HVRUN $N --display none --net none -m 1G --timeout 580s \
		--expect "login: " --send 'root\n' --expect "Password: " --send 'hvrun\n' --expect '# ' \
		--send 'echo virtio_console >>/etc/initramfs-tools/modules; update-initramfs -u; sed -i s/console=ttyS0,115200/console=hvc0/ /boot/grub/grub.cfg; echo changed: $(grep -c console=hvc0 /boot/grub/grub.cfg); poweroff\n' \
		--expect "changed: 1" --then keep "$tmp/hvc.img"
	LIMIT=300 expect_exit "Debian disk: a login on hvc0" 0 "/dev/hvc0 active" $HVRUN $N \
		--display none --net none -m 1G --timeout 280s --console stdio \
		--channel "org.hvrun.one=file:$tmp/one" --channel "org.hvrun.two=file:$tmp/two" \
		--expect "login: " --send 'root\n' --expect "Password: " --send 'hvrun\n' --expect '# ' \
		--send 'cd /dev/virtio-ports; for p in org.hvrun.*; do echo from $p >$p; done; echo $(tty) $(systemctl is-active serial-getty@hvc0)\n' \
		--expect "/dev/hvc0 active" --expect '# ' --send 'poweroff\n' --then keep "$tmp/hvc.img"
	[ "$(cat "$tmp/one" "$tmp/two")" = "from org.hvrun.one
from org.hvrun.two" ] && ok "Debian disk: /dev/virtio-ports by name" ||
		not_ok "Debian disk: /dev/virtio-ports by name" "$(cat "$tmp/one" "$tmp/two")"
else
	skip "Debian disk on hvc0" "making it needs root (debootstrap)"
fi

# ---- VMware's mouse ------------------------------------------------------------------
command -v Xvfb >/dev/null && command -v xdotool >/dev/null || { skip "vmmouse" "no Xvfb"; exit 0; }
G=$here/build/guest-full
KERNEL=linux-image-amd64 "$here/scripts/make-initramfs" "$G" || { not_ok "guest kernel"; exit 1; }
start_x
# In the guest: the last position of each axis, 0-65535, once something moved.
axes='cd /sys/class/input; for e in event*; do grep -q VMMouse $e/device/name && [ "$(cat $e/device/capabilities/abs)" != 0 ] && d=$e; done; echo mouse: $d; busybox timeout 40 head -c 240 /dev/input/$d >/dev/null; echo mov""ing; busybox timeout 15 cat /dev/input/$d >/tmp/ev; busybox od -An -v -w24 -t u2 /tmp/ev | while read a b c d e f g h t k v w; do [ $t = 3 ] && echo axis $k $v; done | tail -n 8; echo pos""itions\n'
$HVRUN $N --display window --vmmouse --name vmm --net none -m 512M --kernel "$G/vmlinuz" \
	--initrd "$G/initrd.gz" --append "console=ttyS0 nonet quiet module_blacklist=virtio_input" \
	--timeout 180s --serial "file:$tmp/serial" --expect "hvrun# " --send "$axes" \
	--expect "positions" --then keep >"$tmp/log" 2>&1 &
vm=$!
pids="$pids $vm"
wait_for() { n=0; until grep -q "$1" "$tmp/serial" 2>/dev/null; do n=$((n + 1)); [ $n -lt "$2" ] || return 1; sleep 0.5; done; }
wait_for "^mouse: event" 200 || not_ok "vmmouse: Debian's driver" "$(tail -n 5 "$tmp/serial" "$tmp/log")"
win=$(xdotool search --onlyvisible --name "vmm .*hvrun" | head -n 1)
set -- $(xdotool getwindowgeometry "$win" | sed -n 's/.*Geometry: \([0-9]*\)x\([0-9]*\)/\1 \2/p')
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
	xdotool mousemove --window "$win" $((i * 10 + 40)) $((i * 7 + 40))
	sleep 0.3
	grep -q "^moving" "$tmp/serial" && break
done
wait_for "^moving" 60
for i in 1 2 3 4; do
	xdotool mousemove --window "$win" $(($1 / 4 + 4 - i)) $((($2 - 24) / 2 + 4 - i))
	sleep 0.3
done
wait_for "^positions" 100
x=$(sed -n 's/^axis 0 \([0-9]*\).*/\1/p' "$tmp/serial" | tail -n 1)
y=$(sed -n 's/^axis 1 \([0-9]*\).*/\1/p' "$tmp/serial" | tail -n 1)
[ "${x:-0}" -gt 15400 ] && [ "$x" -lt 17400 ] && [ "${y:-0}" -gt 31700 ] && [ "$y" -lt 33800 ] &&
	ok "vmmouse: Debian's driver has the pointer where the host's is ($x, $y)" ||
	not_ok "vmmouse: Debian's driver has the pointer where the host's is" "${x:-}, ${y:-}" \
		"$(tail -n 5 "$tmp/serial" "$tmp/log")"
kill $vm 2>/dev/null
wait $vm 2>/dev/null
exit 0
