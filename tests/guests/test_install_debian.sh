#!/bin/sh
# A Debian that a Debian inside hvrun installs: debootstrap from packages that this
# computer serves, GRUB written by the guest, onto an empty second disk, which then
# boots on its own.  Packages: debootstrap apt-utils python3; needs root.
. "$(dirname "$0")/../system/lib.sh"
if [ "$(id -u)" != 0 ]; then
	skip "Debian installs Debian" "debootstrap needs root"
	exit 0
fi
want=linux-image-cloud-amd64,grub-pc,systemd-sysv,udev,dbus,kmod,initramfs-tools,zstd,login,passwd,e2fsprogs,iproute2
mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' \
	/etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list \
	2>/dev/null | grep -v security | head -n 1)
eval "$(apt-config shell proxy Acquire::http::Proxy)"
[ -z "${proxy:-}" ] || export http_proxy="$proxy"

# ---- the disk that installs, and an archive of the packages that it will want ---------
installer=$here/build/installer.img
if [ ! -s "$installer" ]; then
	PACKAGES=debootstrap,fdisk,gdisk SIZE_MIB=2048 "$here/scripts/make-debian-disk" "$installer" ||
		{ not_ok "the installing disk"; exit 1; }
fi
archive=$here/build/archive
if [ ! -s "$archive/dists/bookworm/Release" ]; then
	rm -rf "$archive"
	mkdir -p "$archive/pool" "$archive/dists/bookworm/main/binary-amd64"
	debootstrap --download-only --variant=minbase --include=$want bookworm "$tmp/fetch" \
		"${mirror:-http://deb.debian.org/debian}" >"$tmp/log" 2>&1 ||
		{ not_ok "packages for the guest" "$(tail -n 5 "$tmp/log")"; exit 1; }
	mv "$tmp"/fetch/var/cache/apt/archives/*.deb "$archive/pool/"
	for f in "$archive"/pool/*%3a*; do mv "$f" "$(echo "$f" | sed s/%3a/-/)"; done
	(cd "$archive" &&
	apt-ftparchive packages pool >dists/bookworm/main/binary-amd64/Packages &&
	apt-ftparchive -o APT::FTPArchive::Release::Suite=stable \
		-o APT::FTPArchive::Release::Codename=bookworm \
		-o APT::FTPArchive::Release::Components=main \
		-o APT::FTPArchive::Release::Architectures=amd64 release dists/bookworm >"$tmp/Release" &&
	mv "$tmp/Release" dists/bookworm/Release) || { not_ok "archive for the guest"; exit 1; }
fi
cat >"$archive/install.sh" <<'EOS'
set -e
printf 'label: dos\nstart=2048, type=83, bootable\n' | sfdisk -q /dev/vdb
mkfs.ext4 -q -L newroot /dev/vdb1
mount /dev/vdb1 /mnt
debootstrap --no-check-gpg --variant=minbase --include=WANT bookworm /mnt ARCHIVE
echo 'LABEL=newroot / ext4 errors=remount-ro 0 1' >/mnt/etc/fstab
echo newdebian >/mnt/etc/hostname
for d in dev proc sys; do mount --rbind /$d /mnt/$d; done
echo 'root:hvrun' | chroot /mnt chpasswd
cat >>/mnt/etc/default/grub <<EOG
GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
GRUB_TIMEOUT=2
EOG
chroot /mnt grub-install /dev/vdb
chroot /mnt update-grub
sync
umount -l /mnt/dev /mnt/proc /mnt/sys
umount /mnt
echo "installation ""complete"
EOS
port=$((21000 + $$ % 9000))
sed -i "s|WANT|$want|; s|ARCHIVE|http://10.0.2.2:$port/|" "$archive/install.sh"
python3 -m http.server --bind 127.0.0.1 --directory "$archive" $port >/dev/null 2>&1 &
pids="$pids $!"

# ---- the installation ----------------------------------------------------------------
cp --sparse=always "$installer" "$tmp/installer.img"
truncate -s 3G "$tmp/new.img"
LIMIT=1500 expect_exit "Debian installs Debian onto an empty disk" 0 "installation complete" $HVRUN \
	--engine soft --display none -m 1G --timeout 1480s --fail-on "Kernel panic" \
	--fail-on "installation failed" \
	--disk "$tmp/installer.img" --disk "$tmp/new.img" \
	--expect "login: " --send 'root\n' --expect "Password: " --send 'hvrun\n' --expect '# ' \
	--send 'until curl -sf http://10.0.2.2:'$port'/install.sh >/tmp/i; do sleep 1; done; sh /tmp/i || echo "installation ""failed"\n' \
	--expect "installation complete" --send 'poweroff\n' --then keep || exit 1

# ---- it boots on its own ----------------------------------------------------------------
LIMIT=300 expect_exit "the installed disk boots on its own" 0 "newdebian" $HVRUN --engine soft \
	--display none -m 1G --timeout 280s --fail-on "Kernel panic" --expect "GRUB" \
	--expect "newdebian login: " --send 'root\n' --expect "Password: " --send 'hvrun\n' \
	--expect '# ' --send 'findmnt -n -o SOURCE /; poweroff\n' --expect "/dev/vda1" \
	--then keep "$tmp/new.img"
dd if="$tmp/new.img" of="$tmp/part" bs=1M skip=1 conv=sparse status=none
e2fsck -fn "$tmp/part" >"$tmp/fsck" 2>&1 && ok "fsck of the installed disk" ||
	not_ok "fsck of the installed disk" "$(tail -n 5 "$tmp/fsck")"
