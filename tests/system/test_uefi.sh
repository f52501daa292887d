#!/bin/sh
# UEFI firmware (Debian's OVMF): its shell, variables that stay, firmware
# chosen by the disk's content, Debian from a GPT disk with GRUB for EFI.
. "$(dirname "$0")/lib.sh"
N="--engine soft --display none --net none"

if [ ! -r /usr/share/OVMF/OVMF_CODE_4M.fd ]; then
	skip "UEFI" "no OVMF (package ovmf)"
	exit 0
fi

# The shell finds no startup script and prompts; "set" makes a variable that the next run prints.
truncate -s 8M "$tmp/empty.img"
LIMIT=100 expect_exit "UEFI shell: prompt, a variable is set, off" 0 "Shell>" $HVRUN $N \
	--firmware uefi --timeout 90s --expect "Shell>" --send 'set kept stays-here\r' \
	--expect "Shell>" --send 'reset -s\r' --then keep "$tmp/empty.img"
[ "$(stat -c %s "$tmp/empty.img.nvram")" = 540672 ] && ok "variable store beside the disk" ||
	not_ok "variable store beside the disk" "$(ls -l "$tmp")"
LIMIT=100 expect_exit "variables stay" 0 "stays-here" $HVRUN $N \
	--firmware uefi --timeout 90s --expect "Shell>" --send 'set kept\r' \
	--expect "stays-here" "$tmp/empty.img"
LIMIT=100 expect_exit "--discard leaves them alone" 0 "Shell>" $HVRUN $N --discard \
	--firmware uefi --timeout 90s --expect "Shell>" --send 'set -d kept\r' \
	--expect "Shell>" --send 'set\r' --expect "Shell>" "$tmp/empty.img"
grep -qa "s.t.a.y.s.-.h.e.r.e" "$tmp/empty.img.nvram" && ok "store unchanged after --discard" ||
	not_ok "store unchanged after --discard"
truncate -s 4096 "$tmp/short.nvram"
expect_exit "variable store of another firmware" 6 "does not belong" $HVRUN $N \
	--firmware uefi --nvram "$tmp/short.nvram" --timeout 5s "$tmp/empty.img"
expect_exit "--nvram without UEFI" 64 "--nvram" $HVRUN $N --nvram "$tmp/x" --timeout 5s \
	"$tmp/empty.img"
[ ! -e "$tmp/x" ] && ok "no store is made then" || not_ok "no store is made then"

# A disk whose GRUB only says hello: needs no Debian.
truncate -s 2M "$tmp/none.img"
printf 'serial --unit=0\nterminal_output serial\necho Hello-from-$grub_platform\nsleep 1\nhalt\n' \
	>"$tmp/hello.cfg"
if "$here/scripts/make-uefi-disk" "$tmp/none.img" "$tmp/hello.img" "$tmp/hello.cfg" \
	2>"$tmp/err"; then
	LIMIT=100 expect_exit "GPT disk: UEFI is chosen, GRUB starts" 0 "UEFI firmware, as the" \
		$HVRUN $N --timeout 90s --expect "Hello-from-efi" "$tmp/hello.img"
	LIMIT=60 expect_exit "the same under --firmware bios does not start" 124 "Hello" \
		$HVRUN $N --firmware bios --timeout 8s --expect "Hello" "$tmp/hello.img"
else
	not_ok "make-uefi-disk" "$(cat "$tmp/err")"
fi

# An ISO with an EFI entry only.
if command -v xorriso >/dev/null; then
	mkdir "$tmp/iso"
	dd if="$tmp/hello.img" of="$tmp/iso/esp.img" bs=1M skip=1 count=16 status=none
	xorriso -as mkisofs -quiet -o "$tmp/efi.iso" -eltorito-platform efi -e esp.img \
		-no-emul-boot "$tmp/iso" >"$tmp/err" 2>&1
	LIMIT=100 expect_exit "ISO with an EFI entry: UEFI is chosen, GRUB starts" 0 \
		"Hello-from-efi" $HVRUN $N --timeout 90s --expect "Hello-from-efi" "$tmp/efi.iso"
else
	skip "EFI ISO" "no xorriso"
fi

img=$here/build/debian.img
if [ ! -s "$img" ]; then
	skip "Debian by UEFI" "no build/debian.img (tests/system/test_debian.sh makes it)"
	exit 0
fi
"$here/scripts/make-uefi-disk" "$img" "$tmp/uefi.img" || { not_ok "make-uefi-disk"; exit 1; }
LIMIT=200 expect_exit "Debian by UEFI: login, reboot, login, off" 0 "Power down" $HVRUN \
	--engine soft --display none --timeout 180s --fail-on "Kernel panic" \
	--expect "login: " --send 'root\n' --expect "Password: " --send 'hvrun\n' --expect '# ' \
	--send 'PS1=; stty -echo; ls -d /sys/firmware/efi/efivars; echo claims=$(dmesg | grep -c "can.t claim")\n' \
	--expect '/sys/firmware/efi/efivars' --expect 'claims=0' --send 'reboot\n' \
	--expect "login: " --send 'root\n' --expect "Password: " --send 'hvrun\n' --expect '# ' \
	--send 'poweroff\n' --then keep "$tmp/uefi.img"
