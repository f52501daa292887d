#!/bin/sh
# The options of --disk on every controller at once, seen from a Debian kernel: serial number,
# read-only, cache mode, discard, limits; and on this side that they did what they say.
. "$(dirname "$0")/lib.sh"
G=$here/build/guest-full
KERNEL=linux-image-amd64 "$here/scripts/make-initramfs" "$G" ||
	{ not_ok "guest kernel and initramfs"; exit 1; }

# Which device a controller's disk is, found by its serial number, which is thereby tested.
find='for c in virtio scsi nvme ahci ide; do for d in /sys/block/*; do
if cat $d/serial $d/device/serial $d/device/vpd_pg80 2>/dev/null | grep -q "SER-$c"; then
echo "$c is ${d##*/}"; eval $c=${d##*/}; fi; done; done
'
# guest NAME OPTIONS SCRIPT: five disks with these options; the script must print "all good".
guest() {
	name=$1 options=$2
	printf '%s%s\necho all" good"\n' "$find" "$3" >"$tmp/script"
	disks=
	for c in virtio scsi nvme ahci ide; do
		rm -f "$tmp/$c.img"
		head -c 8388608 /dev/zero | tr '\0' 'x' >"$tmp/$c.img"
		disks="$disks --disk $tmp/$c.img,if=$c,serial=SER-$c,$options"
	done
	LIMIT=90 expect_exit "$name" 0 "all good" $HVRUN --engine soft --display none -m 256M \
		--kernel "$G/vmlinuz" --initrd "$G/initrd.gz" --append "console=ttyS0 nonet quiet" \
		--timeout 80s --fail-on "Kernel panic" --fail-on "BUG:" --fail-on "went wrong" $disks \
		--disk "$tmp/script.img,readonly=on,format=raw,serial=SCRIPT" \
		--expect "hvrun# " --send 'for s in /dev/vd*; do grep -q SCRIPT /sys/block/${s##*/}/serial && sh $s; done\n' \
		--expect "all good" --send 'poweroff -f\n' --expect "Power down"
}
# The script travels on a disk of its own: a line of the console is too short for it.
prepare() { { cat "$tmp/script"; echo exit; head -c 65536 /dev/zero | tr '\0' '\n'; } |
	head -c 65536 >"$tmp/script.img"; }
run() {
	printf '%s%s\necho all" good"\n' "$find" "$3" >"$tmp/script"
	prepare
	guest "$@"
}

work='for c in virtio scsi nvme ahci ide; do eval d=/dev/\$$c; dd if=/dev/urandom of=/tmp/r bs=64k \
count=4 2>/dev/null; dd if=/tmp/r of=$d bs=64k seek=3 conv=fsync 2>/dev/null; echo 3 \
>/proc/sys/vm/drop_caches; dd if=$d bs=64k skip=3 count=4 2>/dev/null | cmp - /tmp/r || \
echo $c went" wrong"; done'
for cache in writeback none writethrough; do
	run "serial numbers, cache=$cache, limits: every controller reads what it wrote" \
		"cache=$cache,iops=500,bps=20M,discard=off" "$work"
done
run "readonly=on: no controller writes" "readonly=on" \
	'for c in virtio scsi nvme ahci ide; do eval d=/dev/\$$c; dd if=/dev/zero of=$d bs=4k count=1 \
conv=fsync 2>/dev/null && echo $c went" wrong"; done'
for c in virtio scsi nvme ahci ide; do
	[ "$(tr -d x <"$tmp/$c.img" | wc -c)" = 0 ] && ok "readonly=on: $c's file is as it was" ||
		not_ok "readonly=on: $c's file is as it was"
done
# A limit is never exceeded: 4 MiB at 2 MiB a second take more than a second and a half.
run "bps=2M holds everywhere" "bps=2M,discard=off" \
	'for c in virtio scsi nvme ahci ide; do eval d=/dev/\$$c; read a b </proc/uptime; \
dd if=$d of=/dev/null bs=64k count=64 2>/dev/null; read e b </proc/uptime; \
[ $((${e%.*} * 100 + 1${e#*.} - ${a%.*} * 100 - 1${a#*.})) -ge 150 ] || echo $c went" wrong"; done'
