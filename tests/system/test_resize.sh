#!/bin/sh
# Disks made larger while a Debian kernel runs on them: hvrun img resize on the image of a
# running hvrun, every controller, several formats; the guest writes into the new part at once,
# behind AHCI and IDE after its next reset.  What is refused, and how.
. "$(dirname "$0")/lib.sh"
G=$here/build/guest-full
KERNEL=linux-image-amd64 "$here/scripts/make-initramfs" "$G" ||
	{ not_ok "guest kernel and initramfs"; exit 1; }
node() { case $1 in virtio) echo vda ;; nvme) echo nvme0n1 ;; *) echo sda ;; esac; }

# say OUTPUT-FILE TEXT: waits until the guest has said it.
say() {
	n=0
	until grep -qF -- "$2" "$1" 2>/dev/null; do
		n=$((n + 1))
		[ $n -gt 400 ] && return 1
		sleep 0.1
	done
}

# The guest tells its size, waits for it to change, uses the end of the disk.
live() { # CONTROLLER FORMAT
	c=$1 fmt=$2 d=$(node "$1") img=$tmp/$1.$2 out=$tmp/$1.out
	"$HVRUN" img create -q -f "$fmt" "$img" 16M || return 1
	timeout 60 "$HVRUN" --engine soft --display none -m 256M --kernel "$G/vmlinuz" \
		--initrd "$G/initrd.gz" --append "console=ttyS0 nonet quiet" --timeout 50s \
		--fail-on "I/O error" --disk "$img,if=$c" \
		--expect "hvrun# " --send "echo small\" one\" \$(cat /sys/block/$d/size)\\n" \
		--expect "small one" --send "until [ \$(cat /sys/block/$d/size) = 98304 ]; do \
sleep 0.2; done; dd if=/dev/urandom of=/tmp/r bs=1M count=1 2>/dev/null; dd if=/tmp/r of=/dev/$d \
bs=1M seek=47 conv=fsync 2>/dev/null && echo 3 >/proc/sys/vm/drop_caches && dd if=/dev/$d bs=1M \
skip=47 2>/dev/null | cmp - /tmp/r && echo large\" one\"\\n" --expect "large one" \
		--send 'poweroff -f\n' --expect "Power down" >"$out" 2>&1 </dev/null &
	pid=$!
	say "$out" "small one" || return 1
	"$HVRUN" img resize "$img" 48M >"$tmp/told" 2>&1 || { cat "$tmp/told"; return 1; }
	wait $pid || { tail -n 5 "$out"; return 1; }
	grep -q "was 16 MiB; the running guest was told" "$tmp/told" || { cat "$tmp/told"; return 1; }
	[ "$("$HVRUN" img info --json "$img" | sed -n 's/.*"virtual-size": \([0-9]*\),/\1/p')" = \
		50331648 ]
}

# Behind ATA the size stays until the machine's next reset.
later() { # CONTROLLER FORMAT
	rm -f "$tmp"/*.out
	c=$1 fmt=$2 img=$tmp/$1.$2 out=$tmp/$1.out
	"$HVRUN" img create -q -f "$fmt" "$img" 16M || return 1
	timeout 60 "$HVRUN" --engine soft --display none -m 256M --kernel "$G/vmlinuz" \
		--initrd "$G/initrd.gz" --append "console=ttyS0 nonet quiet" --timeout 50s \
		--fail-on "I/O error" --fail-on "exception Emask" --disk "$img,if=$c" \
		--expect "hvrun# " --send "echo small\" one\" \$(cat /sys/block/sda/size)\\n" \
		--expect "small one" --send "sleep 4; echo 1 >/sys/block/sda/device/rescan; for h in /sys/class/scsi_host/*; do echo - - - >\$h/scan; \
done; sleep 2; dd if=/dev/sda of=/dev/null bs=1M && [ \$(cat /sys/block/sda/size) = 32768 ] && \
echo still\" small\" && reboot -f\\n" --expect "still small" --expect "hvrun# " \
		--send "[ \$(cat /sys/block/sda/size) = 98304 ] && echo x | dd of=/dev/sda bs=512 \
seek=98303 conv=fsync 2>/dev/null && echo large\" one\"\\n" --expect "large one" \
		--send 'poweroff -f\n' --expect "Power down" >"$out" 2>&1 </dev/null &
	pid=$!
	say "$out" "small one" || return 1
	"$HVRUN" img resize "$img" +32M >"$tmp/told" 2>&1 || { cat "$tmp/told"; return 1; }
	wait $pid || { tail -n 5 "$out"; return 1; }
	grep -q "sees it after its next restart" "$tmp/told" || { cat "$tmp/told"; return 1; }
}

for row in ${LIVE:-virtio:raw scsi:qcow2 nvme:vdi scsi:vhdx}; do
	if why=$(live "${row%:*}" "${row#*:}"); then ok "${row%:*}, ${row#*:}: grows, the guest is told"
	else not_ok "${row%:*}, ${row#*:}: grows, the guest is told" "$why"; fi
	rm -f "$tmp"/*.out "$tmp/${row%:*}.${row#*:}"
done
for row in ahci:qcow2 ide:raw; do
	if why=$(later "${row%:*}" "${row#*:}"); then ok "${row%:*}, ${row#*:}: grows at the next reset"
	else not_ok "${row%:*}, ${row#*:}: grows at the next reset" "$why"; fi
done

# What is refused: smaller, thrown away, a backing file, somebody else's.
"$HVRUN" img create -q -f qcow2 "$tmp/base.qcow2" 16M
"$HVRUN" img create -q -b base.qcow2 "$tmp/top.qcow2"
"$HVRUN" img create -q -f qcow2 "$tmp/away.qcow2" 16M
make_boot_sector "$tmp/boot.img"
refused() { # NAME FILE SIZE WORDS
	if "$HVRUN" img resize "$2" "$3" >"$tmp/told" 2>&1; then not_ok "$1" "was accepted"
	elif grep -q "$4" "$tmp/told"; then ok "$1"
	else not_ok "$1" "$(cat "$tmp/told")"; fi
}
timeout 60 "$HVRUN" --engine soft --display none -m 256M --disk "$tmp/top.qcow2" --disk \
	"$tmp/boot.img,readonly=on" --kernel "$G/vmlinuz" --append "console=ttyS0 panic=0" \
	>"$tmp/out" 2>&1 </dev/null &
pids="$pids $!"
say "$tmp/out" "Linux version"
refused "a disk in use does not shrink" "$tmp/top.qcow2" 8M "can only grow"
refused "not the backing file of a disk in use" "$tmp/base.qcow2" 32M "a backing file"
refused "not a read-only disk" "$tmp/boot.img" 32M "cannot be resized (read-only"
kill $! 2>/dev/null
wait $! 2>/dev/null
timeout 60 "$HVRUN" --engine soft --display none -m 256M --discard --disk "$tmp/away.qcow2" \
	--kernel "$G/vmlinuz" --append "console=ttyS0 panic=0" >"$tmp/out" 2>&1 </dev/null &
pids="$pids $!"
say "$tmp/out" "Linux version"
refused "not with --discard" "$tmp/away.qcow2" 32M "or --discard"
kill $! 2>/dev/null
wait $! 2>/dev/null
if command -v qemu-io >/dev/null; then
	(sleep 20 | qemu-io "$tmp/away.qcow2" >/dev/null 2>&1) &
	pids="$pids $!"
	n=0
	until ! "$HVRUN" img check -q "$tmp/away.qcow2" >/dev/null 2>&1 || [ $n -gt 50 ]; do
		n=$((n + 1))
		sleep 0.1
	done
	refused "of another program: who holds it" "$tmp/away.qcow2" 32M "in use by qemu-io"
fi
