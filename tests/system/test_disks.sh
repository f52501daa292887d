#!/bin/sh
# Every disk controller with Debian's kernel, on one and two processors: files
# written, read back past the guest's cache, freed; then fsck and a comparison
# on this side.  CD drives, firmware boots from each controller, a whole Debian
# disk.  Images: raw and qcow2.
. "$(dirname "$0")/lib.sh"
G=$here/build/guest-full
KERNEL=linux-image-amd64 "$here/scripts/make-initramfs" "$G" ||
	{ not_ok "guest kernel and initramfs"; exit 1; }

controllers=${CONTROLLERS:-virtio scsi nvme ahci ide}
cds=${CDS-ide ahci scsi}
node() { case $1 in virtio) echo vda ;; nvme) echo nvme0n1 ;; *) echo sda ;; esac; }

head -c 3000000 /dev/urandom >"$tmp/payload"
sum=$(sha256sum <"$tmp/payload" | cut -c 1-64)
mkdir "$tmp/tree"
cp "$tmp/payload" "$tmp/tree/payload"

# guest NAME DISK-ARGUMENTS COMMANDS: runs them at the prompt; they must print "all good".
# (Typed texts are broken up so that their echo does not count.)
guest() {
	name=$1 disks=$2 cmds=$3
	LIMIT=150 expect_exit "$name" 0 "all good" $HVRUN --engine soft --display none -m 512M \
		--cpus "${CPUS:-1}" --kernel "$G/vmlinuz" --initrd "$G/initrd.gz" \
		--append "console=ttyS0 nonet quiet" --timeout 130s --fail-on "Kernel panic" \
		--fail-on "I/O error" --fail-on "exception Emask" --fail-on "BUG:" $disks \
		--expect "hvrun# " --send "$cmds && echo all\" good\"\\n" --expect "all good" \
		--send 'poweroff -f\n' --expect "Power down"
}

for c in $controllers; do
	for n in 1 2; do
		dev=/dev/$(node $c)
		rm -f "$tmp/d.img"
		truncate -s 96M "$tmp/d.img"
		mkfs.ext4 -q -F -E nodiscard -d "$tmp/tree" "$tmp/d.img"
		fmt=raw
		[ $n = 1 ] || {
			fmt=qcow2
			qemu-img convert -q -O qcow2 "$tmp/d.img" "$tmp/d.qcow2"
			mv "$tmp/d.qcow2" "$tmp/d.img"
		}
		CPUS=$n guest "$c, $n CPU, $fmt: files survive" "--disk $tmp/d.img,if=$c,serial=S-$c" \
			"mount -t ext4 $dev /mnt && sha256sum /mnt/payload | grep -q $sum && \
dd if=/dev/urandom of=/mnt/a bs=1M count=12 2>/dev/null && dd if=/dev/urandom of=/mnt/b bs=3k \
count=2000 2>/dev/null && sha256sum /mnt/a /mnt/b >/mnt/sums && sync && \
echo 3 >/proc/sys/vm/drop_caches && sha256sum -c /mnt/sums && (cat /mnt/a >/mnt/c & \
cat /mnt/b >/mnt/d; wait) && sync && echo 3 >/proc/sys/vm/drop_caches && cmp /mnt/a /mnt/c && \
cmp /mnt/b /mnt/d && rm /mnt/c /mnt/d && umount /mnt"
		[ $fmt = raw ] || {
			qemu-img check -q "$tmp/d.img" && ok "$c, $n CPU: qemu-img check" ||
				not_ok "$c, $n CPU: qemu-img check"
			qemu-img convert -q -O raw "$tmp/d.img" "$tmp/d.raw"
			mv "$tmp/d.raw" "$tmp/d.img"
		}
		if e2fsck -fn "$tmp/d.img" >"$tmp/fsck" 2>&1 &&
		   debugfs -R "dump /payload $tmp/back" "$tmp/d.img" 2>/dev/null &&
		   cmp -s "$tmp/back" "$tmp/payload"; then
			ok "$c, $n CPU: fsck clean, content right"
		else
			not_ok "$c, $n CPU: fsck clean, content right" "$(tail -n 5 "$tmp/fsck")"
		fi
	done
done

# Discard: a hole where the guest freed space.
for c in ${TRIMS:-$controllers}; do
	rm -f "$tmp/d.img"
	head -c 67108864 /dev/zero | tr '\0' 'x' >"$tmp/d.img"
	mkfs.ext4 -q -F -E nodiscard "$tmp/d.img"
	before=$(stat -c %b "$tmp/d.img")
	guest "$c: fstrim" "--disk $tmp/d.img,if=$c" \
		"mount -t ext4 /dev/$(node $c) /mnt && fstrim /mnt && umount /mnt"
	after=$(stat -c %b "$tmp/d.img")
	[ "$after" -lt $((before / 2)) ] && ok "$c: freed space is given back ($before to $after)" ||
		not_ok "$c: freed space is given back" "$before blocks before, $after after"
done

# A full host disk: the guest waits, sees no error, and goes on when there is space.
mkdir "$tmp/small"
if mount -t tmpfs -o size=24m hvrun-test "$tmp/small" 2>/dev/null; then
	for row in ${FULL:-virtio:raw virtio:qcow2 ahci:raw scsi:qcow2 nvme:vhdx ide:vdi}; do
		c=${row%:*} fmt=${row#*:} dev=/dev/$(node ${row%:*})
		rm -f "$tmp/small"/* "$tmp/out"
		mount -o remount,size=24m "$tmp/small"
		qemu-img create -q -f $fmt "$tmp/small/d.img" 96M
		rm -f "$tmp/raw.img"
		truncate -s 96M "$tmp/raw.img"
		mkfs.ext4 -q -F -E nodiscard "$tmp/raw.img"
		[ $fmt = raw ] && cp --sparse=always "$tmp/raw.img" "$tmp/small/d.img" ||
			qemu-img convert -q -O $fmt "$tmp/raw.img" "$tmp/small/d.img"
		(
			n=0
			until grep -q "guest is paused" "$tmp/out" 2>/dev/null || [ $n -gt 100 ]; do
				sleep 1
				n=$((n + 1))
			done
			sleep 3
			mount -o remount,size=200m "$tmp/small"
		) &
		guest "host disk full ($c, $fmt): the guest goes on" "--disk $tmp/small/d.img,if=$c" \
			"mount -t ext4 $dev /mnt && dd if=/dev/urandom of=/mnt/a bs=1M count=40 \
2>/dev/null && sync && sha256sum /mnt/a >/tmp/s && echo 3 >/proc/sys/vm/drop_caches && \
sha256sum -c /tmp/s && umount /mnt"
		grep -q "no space is left" "$tmp/out" && grep -q "goes on$" "$tmp/out" &&
			ok "host disk full ($c, $fmt): it was told" ||
			not_ok "host disk full ($c, $fmt): it was told" "$(tail -n 3 "$tmp/out")"
		wait
		qemu-img convert -q -f $fmt -O raw "$tmp/small/d.img" "$tmp/raw.img"
		e2fsck -fn "$tmp/raw.img" >"$tmp/fsck" 2>&1 && ok "host disk full ($c, $fmt): fsck" ||
			not_ok "host disk full ($c, $fmt): fsck" "$(tail -n 3 "$tmp/fsck")"
	done
	umount "$tmp/small"
else
	skip "host disk full" "mounting a small tmpfs needs root"
fi

# CD drives: content, and firmware that starts from them.
make_boot_sector "$tmp/boot.img"
# An El Torito ISO (no emulation) whose boot image is that sector.
python3 - "$tmp/boot.img" "$tmp/cd.iso" <<'EOP'
import struct, sys
boot = open(sys.argv[1], 'rb').read()
def both(v): return struct.pack('<I', v) + struct.pack('>I', v)
def both16(v): return struct.pack('<H', v) + struct.pack('>H', v)
root = struct.pack('<BB', 34, 0) + both(22) + both(2048) + bytes(7) + b'\x02\0\0' + both16(1) + b'\x01\0'
pvd = b'\x01CD001\x01\0' + b'HVRUN'.ljust(32) + b'TEST'.ljust(32) + bytes(8) + both(300) + bytes(32)
pvd += both16(1) + both16(1) + both16(2048) + both(10) + struct.pack('<II', 21, 0) + struct.pack('>II', 21, 0)
pvd += root + b' ' * 128 * 4 + b' ' * 37 * 3 + (b'0' * 16 + b'\0') * 4 + b'\x01\0'
brd = b'\0CD001\x01' + b'EL TORITO SPECIFICATION'.ljust(32, b'\0') + bytes(32) + struct.pack('<I', 19)
end = b'\xffCD001\x01'
val = b'\x01\0\0\0' + bytes(24) + b'\0\0\x55\xaa'
s = sum(struct.unpack('<16H', val)) & 0xffff
val = val[:28] + struct.pack('<H', (0x10000 - s) & 0xffff) + b'\x55\xaa'
cat = val + b'\x88\0' + struct.pack('<H', 0) + b'\0\0' + struct.pack('<H', 4) + struct.pack('<I', 20)
dirent = root[:25] + b'\x02' + root[26:]
sec = [b''] * 300
sec[16], sec[17], sec[18], sec[19], sec[20] = pvd, brd, end, cat, boot
sec[22] = root + root[:33] + b'\x01'
sec[23:] = [bytes([i & 255, i >> 8]) * 1024 for i in range(23, 300)]
open(sys.argv[2], 'wb').write(b''.join(x.ljust(2048, b'\0') for x in sec))
EOP
sum=$(sha256sum <"$tmp/cd.iso" | cut -c 1-64)
for c in $cds; do
	guest "CD on $c: content" "--cdrom $tmp/cd.iso,if=$c" "sha256sum </dev/sr0 | grep $sum"
	LIMIT=30 expect_exit "SeaBIOS starts a CD on $c" 200 "sector ran" $HVRUN --engine soft \
		--display none --debug-exit 0xf4 --timeout 20s --boot cd --cdrom "$tmp/cd.iso,if=$c"
done
truncate -s 1M "$tmp/boot.img"
truncate -s 1M "$tmp/empty.img"
for c in $controllers; do
	LIMIT=30 expect_exit "SeaBIOS starts a disk on $c" 200 "sector ran" $HVRUN --engine soft \
		--display none --debug-exit 0xf4 --timeout 20s --disk "$tmp/boot.img,if=$c" \
		--disk "$tmp/empty.img,if=virtio"
done

# A whole Debian with the drivers of all controllers: long, with `make test-guests`.
if [ -z "${LONG:-}" ]; then
	skip "Debian disk on each controller" "long; LONG=1 runs it"
	exit 0
fi
img=$here/build/debian-full.img
if [ ! -s "$img" ] && [ "$(id -u)" = 0 ]; then
	KERNEL=linux-image-amd64 SIZE_MIB=2300 "$here/scripts/make-debian-disk" "$img"
fi
if [ ! -s "$img" ]; then
	skip "Debian disk on each controller" "making it needs root (debootstrap)"
	exit 0
fi
for c in $controllers; do
	LIMIT=300 expect_exit "Debian boots from its disk on $c" 0 "login:" $HVRUN --engine soft \
		--display none -m 1G --discard --timeout 280s --fail-on "Kernel panic" \
		--fail-on "I/O error" --expect "GRUB" --expect "login:" --disk "$img,if=$c"
done
