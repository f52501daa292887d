#!/bin/sh
# Things that people boot from CD: memtest86+ (a full pass), iPXE (a kernel by
# HTTP from the host), GRUB's rescue disk; U-Boot as firmware.  Packages: memtest86+
# ipxe grub-rescue-pc u-boot-qemu.
. "$(dirname "$0")/../system/lib.sh"
N="--engine soft --display none"

# iso NAME: a CD from $tmp/NAME/ with GRUB for BIOS on the serial port; the menu comes on stdin
iso() {
	mkdir -p "$tmp/$1/boot/grub"
	{ echo 'serial --unit=0 --speed=115200'; echo 'terminal_output serial'; cat; echo boot; } \
		>"$tmp/$1/boot/grub/grub.cfg"
	grub-mkrescue -d /usr/lib/grub/i386-pc -o "$tmp/$1.iso" "$tmp/$1" >"$tmp/err" 2>&1 ||
		not_ok "grub-mkrescue $1" "$(tail -n 3 "$tmp/err")"
}

if [ -r /boot/memtest86+x64.bin ]; then
	mkdir "$tmp/mt"
	cp /boot/memtest86+x64.bin "$tmp/mt/"
	echo 'linux16 /memtest86+x64.bin console=ttyS0,115200' | iso mt
	LIMIT=1000 expect_exit "memtest86+: a full pass over 64 MiB" 0 "Status: Pass" $HVRUN $N -m 64M \
		--net none --timeout 980s --expect "Memtest86" --expect "/Pass:  *1  *Errors: 0/" "$tmp/mt.iso"
else
	skip "memtest86+" "no /boot/memtest86+x64.bin"
fi

G=$here/build/guest
"$here/scripts/make-initramfs" "$G" || { not_ok "guest kernel and initramfs"; exit 1; }
if [ -r /boot/ipxe.lkrn ]; then
	python3 -m http.server --bind 127.0.0.1 --directory "$G" 18476 >/dev/null 2>&1 &
	pids="$pids $!"
	mkdir "$tmp/ipxe"
	cp /boot/ipxe.lkrn "$tmp/ipxe/"
	cat >"$tmp/ipxe/script.ipxe" <<'EOS'
#!ipxe
dhcp
kernel http://10.0.2.2:18476/vmlinuz console=ttyS0 initrd=initrd.gz
initrd http://10.0.2.2:18476/initrd.gz
boot
EOS
	printf 'linux16 /ipxe.lkrn\ninitrd16 /script.ipxe\n' | iso ipxe
	for model in virtio e1000; do
		LIMIT=220 expect_exit "iPXE: Debian's kernel by HTTP over $model" 0 "hvrun-guest" \
			$HVRUN $N -m 512M --net user,model=$model --timeout 200s \
			--fail-on "Kernel panic" --expect "hvrun-guest ready" "$tmp/ipxe.iso"
	done
else
	skip "iPXE" "no /boot/ipxe.lkrn"
fi

if [ -r /usr/lib/grub-rescue/grub-rescue-cdrom.iso ]; then
	# Its menu is on the screen only: the picture must not be empty.
	$HVRUN $N -m 128M --net none --timeout 15s --screenshot-at-exit "$tmp/rescue.png" \
		/usr/lib/grub-rescue/grub-rescue-cdrom.iso >"$tmp/out" 2>&1
	n=$(convert "$tmp/rescue.png" -threshold 30% -format '%[fx:round(mean*w*h)]' info: 2>/dev/null)
	[ "${n:-0}" -gt 8000 ] && ok "GRUB rescue CD: its menu" ||
		not_ok "GRUB rescue CD: its menu" "$n bright pixels" "$(cat "$tmp/out")"
else
	skip "GRUB rescue CD" "no package grub-rescue-pc"
fi

truncate -s 4M "$tmp/empty.img"
for arch in qemu-x86 qemu-x86_64; do
	rom=/usr/lib/u-boot/$arch/u-boot.rom
	if [ -r $rom ]; then
		LIMIT=70 expect_exit "U-Boot ($arch) to its prompt" 0 "I440FX" $HVRUN $N --discard \
			--firmware $rom --timeout 60s --expect "Hit any key" --send ' ' \
			--expect "=> " --send 'pci\n' --expect "0x1237" --expect "=> " "$tmp/empty.img"
	else
		skip "U-Boot ($arch)" "no $rom (package u-boot-qemu)"
	fi
done
