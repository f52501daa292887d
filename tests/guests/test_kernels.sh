#!/bin/sh
# Kernels of other kinds: Debian i386 from an IDE disk with e1000, Xen with a
# Debian dom0, four CPUs, memory that goes back to the host.
. "$(dirname "$0")/../system/lib.sh"
N="--engine soft --display none --fail-on Kernel.panic"

get() {	# PACKAGE: unpacked into $tmp/PACKAGE
	(cd "$tmp" && apt-get download -q "$1" >/dev/null 2>&1 && dpkg -x "${1%%:*}"_*.deb "$1")
}

# ---- i386 ---------------------------------------------------------------------
if apt-cache show linux-image-686:i386 >/dev/null 2>&1 && get busybox-static:i386; then
	python3 -m http.server --bind 127.0.0.1 --directory "$tmp" 18477 >/dev/null 2>&1 &
	pids="$pids $!"
	head -c 5000000 /dev/urandom >"$tmp/blob"
	sum=$(sha256sum <"$tmp/blob" | cut -c 1-64)
	GUEST=$here/build/guest-i386 BUSYBOX="$tmp/busybox-static:i386/bin/busybox" \
		KERNEL=linux-image-686:i386 "$here/scripts/make-demo-disk" "$tmp/i386.img"
	LIMIT=200 expect_exit "Debian i386 from an IDE disk, file over e1000" 0 "$sum" $HVRUN $N \
		-m 512M --net user,model=e1000 --disk "$tmp/i386.img,if=ide" --timeout 180s \
		--expect "SYSLINUX" --expect "hvrun# " \
		--send 'uname -m; wget -q -O - http://10.0.2.2:18477/blob | sha256sum\n' \
		--expect i686 --expect "$sum"
else
	skip "Debian i386" "apt has no i386 packages (dpkg --add-architecture i386)"
fi

# ---- Xen ----------------------------------------------------------------------
G=$here/build/guest-full
KERNEL=linux-image-amd64 "$here/scripts/make-initramfs" "$G" || { not_ok "guest kernel"; exit 1; }
if get xen-hypervisor-4.17-amd64; then
	gunzip "$tmp"/xen-hypervisor-4.17-amd64/boot/xen-4.17-amd64.gz
	LIMIT=200 expect_exit "Xen 4.17 with a Debian PV dom0" 0 "hypervisor: xen" $HVRUN $N -m 1G \
		--net none --kernel "$tmp/xen-hypervisor-4.17-amd64/boot/xen-4.17-amd64" \
		--append "console=com1 com1=115200,8n1 dom0_mem=512M noreboot" \
		--module "$G/vmlinuz console=hvc0 nonet" --module "$G/initrd.gz" --timeout 180s \
		--expect "Xen version 4.17" --expect "hvrun# " \
		--send 'echo hypervisor: $(cat /sys/hypervisor/type)\n' --expect "hypervisor: xen"
else
	skip "Xen" "package xen-hypervisor-4.17-amd64 cannot be fetched"
fi

# ---- four CPUs ------------------------------------------------------------------
LIMIT=200 expect_exit "four CPUs on this computer's $(nproc)" 0 "4 CPU" $HVRUN $N --cpus 4 -m 512M \
	--kernel "$G/vmlinuz" --initrd "$G/initrd.gz" --append "console=ttyS0" --timeout 180s \
	--expect "4 CPU" --expect "hvrun# " \
	--send 'for i in 1 2 3 4; do dd if=/dev/zero bs=1M count=200 2>/dev/null | md5sum & done; wait; echo all""done\n' \
	--expect alldone

# ---- memory goes back to the host ------------------------------------------------
$HVRUN $N -m 1G --net none --kernel "$G/vmlinuz" --initrd "$G/initrd.gz" --append "console=ttyS0" \
	--timeout 180s --expect "hvrun# " --serial "file:$tmp/bal" \
	--send 'mount -t tmpfs -o size=90% t /tmp; dd if=/dev/zero of=/tmp/x bs=1M count=500; echo fil""led\n' \
	--expect "filled" --send 'sleep 3; rm /tmp/x; sleep 15; echo all-fr""eed\n' --expect "all-freed" \
	--then keep >"$tmp/out" 2>&1 &
vm=$!
pids="$pids $vm"
rss() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$vm/status"; }
n=0
until grep -q filled "$tmp/bal" 2>/dev/null || [ $n -gt 120 ]; do n=$((n + 1)); sleep 1; done
full=$(rss)
until grep -q all-freed "$tmp/bal" 2>/dev/null || [ $n -gt 180 ]; do n=$((n + 1)); sleep 1; done
freed=$(rss)
kill $vm 2>/dev/null
wait $vm 2>/dev/null
[ "${full:-0}" -gt 550000 ] && [ "${freed:-999999}" -lt 350000 ] &&
	ok "freed memory returns to the host ($full KiB, then $freed KiB)" ||
	not_ok "freed memory returns to the host" "$full KiB, then $freed KiB" "$(cat "$tmp/out")"
