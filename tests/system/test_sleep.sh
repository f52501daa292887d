#!/bin/sh
# Suspend to RAM (ACPI S3) seen by Debian's kernel: it sleeps, its alarm wakes
# it, and the shell, the disk and the clock go on.  Without firmware, under
# SeaBIOS with two processors, under UEFI.
. "$(dirname "$0")/lib.sh"
G=$here/build/guest
"$here/scripts/make-initramfs" "$G" || { not_ok "guest kernel and initramfs"; exit 1; }

# The sum is read from the disk before and after; four seconds lie between the dates.
sleep_cmd='s=$(md5sum </dev/vda); a=$(date +%s); echo +4 >/sys/class/rtc/rtc0/wakealarm
echo mem >/sys/power/state; b=$(date +%s)
[ "$s" = "$(md5sum </dev/vda)" ] && [ $((b-a)) -ge 3 ] && [ $((b-a)) -le 60 ] && echo awake" "again
nproc | sed "s/^/cpus: /"
'
nap() {
	name=$1
	shift
	LIMIT=150 expect_exit "$name" 0 "awake again" $HVRUN --engine soft --display none --discard \
		--timeout 140s --fail-on "Kernel panic" --fail-on "BUG:" --expect "hvrun# " \
		--send "$sleep_cmd" --expect "awake again" --expect "cpus: " "$@" || return 1
	grep -q "the guest sleeps" "$tmp/out" && grep -q "the guest woke up" "$tmp/out" &&
		ok "$name: said on the terminal" ||
		not_ok "$name: said on the terminal" "$(tail -n 15 "$tmp/out")"
}

dd if=/dev/urandom of="$tmp/data.img" bs=1M count=2 status=none
nap "kernel started directly" --kernel "$G/vmlinuz" --initrd "$G/initrd.gz" \
	--append "console=ttyS0" --disk "$tmp/data.img"

"$here/scripts/make-demo-disk" "$here/build/demo.img"
nap "SeaBIOS, 2 CPUs" --cpus 2 --expect "cpus: 2" "$here/build/demo.img"

if [ -r /usr/share/OVMF/OVMF_CODE_4M.fd ] && command -v grub-mkstandalone >/dev/null; then
	mkdir -p "$tmp/esp/EFI/BOOT"
	cat >"$tmp/grub.cfg" <<-'EOC'
	linux (memdisk)/vmlinuz console=ttyS0
	initrd (memdisk)/initrd.gz
	boot
	EOC
	grub-mkstandalone -O x86_64-efi -o "$tmp/esp/EFI/BOOT/BOOTX64.EFI" \
		"boot/grub/grub.cfg=$tmp/grub.cfg" "vmlinuz=$G/vmlinuz" "initrd.gz=$G/initrd.gz" \
		>"$tmp/grub.log" 2>&1
	truncate -s 64M "$tmp/esp.img"
	mkfs.vfat "$tmp/esp.img" >/dev/null && mcopy -s -i "$tmp/esp.img" "$tmp/esp/EFI" ::
	nap "UEFI" --firmware uefi --nvram "$tmp/nvram" "$tmp/esp.img"
else
	skip "UEFI" "no OVMF or no grub-mkstandalone"
fi
