#!/bin/sh
# Unmodified software boots on the software CPU: SeaBIOS, SYSLINUX, Debian's
# kernel with one and two processors, a network fetch, a clean power-off.
. "$(dirname "$0")/lib.sh"
G=$here/build/guest
"$here/scripts/make-initramfs" "$G" || { not_ok "guest kernel and initramfs"; exit 1; }

make_boot_sector "$tmp/boot.img" &&
	truncate -s 1M "$tmp/boot.img"
LIMIT=30 expect_exit "SeaBIOS starts a boot sector (soft)" 200 "sector ran" $HVRUN --engine soft \
	--display none --debug-exit 0xf4 --timeout 20s "$tmp/boot.img"
LIMIT=30 expect_exit "the same from an IDE disk (soft)" 200 "sector ran" $HVRUN --engine soft \
	--display none --debug-exit 0xf4 --timeout 20s --disk "$tmp/boot.img,if=ide"
if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
	LIMIT=60 expect_exit "SeaBIOS starts a boot sector (kvm)" 200 "sector ran" $HVRUN --engine kvm \
		--display none --debug-exit 0xf4 --timeout 50s "$tmp/boot.img"
else
	skip "SeaBIOS starts a boot sector (kvm)" "/dev/kvm cannot be opened"
fi

for n in 1 2; do
	LIMIT=120 expect_exit "Debian kernel, $n CPU: shell and power-off" 0 "Power down" $HVRUN --engine soft \
		--cpus $n --display none --kernel "$G/vmlinuz" --initrd "$G/initrd.gz" \
		--append "console=ttyS0" --timeout 100s --fail-on "Kernel panic" --fail-on "BUG:" \
		--expect "$n CPU" --expect "hvrun# " --send 'echo $((6*7))\n' --expect 42 \
		--expect "hvrun# " --send 'poweroff -f\n' --then keep
done

port=$((20000 + $$ % 10000))
python3 -m http.server --bind 127.0.0.1 --directory "$G" $port >/dev/null 2>&1 &
pids="$pids $!"
sum=$(sha256sum <"$G/initrd.gz" | cut -c 1-64)
LIMIT=120 expect_exit "file fetched over NAT arrives whole" 0 "$sum" $HVRUN --engine soft \
	--display none --kernel "$G/vmlinuz" --initrd "$G/initrd.gz" --append "console=ttyS0 quiet" \
	--timeout 100s --expect "hvrun# " \
	--send 'wget -q -O - http://10.0.2.2:'$port'/initrd.gz | sha256sum\n' --expect "$sum"

"$here/scripts/make-demo-disk" "$here/build/demo.img"
LIMIT=120 expect_exit "demo disk: SeaBIOS, SYSLINUX, kernel, prompt" 0 "hvrun-guest ready" \
	$HVRUN --engine soft --display none --discard --timeout 100s --expect "hvrun-guest ready" \
	"$here/build/demo.img"
qemu-img convert -O qcow2 "$here/build/demo.img" "$tmp/demo.qcow2"
LIMIT=120 expect_exit "demo disk as qcow2, written by the guest" 0 "write ok" $HVRUN --engine soft \
	--display none --timeout 100s --expect "hvrun# " --send 'mount -t vfat /dev/vda1 /mnt && \
dd if=/dev/urandom of=/mnt/x bs=64k count=64 2>/dev/null && sha256sum </mnt/x >/tmp/a && umount /mnt \
&& mount -t vfat /dev/vda1 /mnt && sha256sum </mnt/x >/tmp/b && cmp /tmp/a /tmp/b && umount /mnt && \
echo write" "ok\n' --expect "write ok" --send 'poweroff -f\n' --then keep "$tmp/demo.qcow2"
qemu-img check -q "$tmp/demo.qcow2" && ok "qemu-img check after the guest wrote" ||
	not_ok "qemu-img check after the guest wrote"
