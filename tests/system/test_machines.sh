#!/bin/sh
# Machine files and the commands about them: made, listed, run, changed, copied, deleted.
. "$(dirname "$0")/lib.sh"

M=$XDG_DATA_HOME/hvrun/machines
D=$XDG_DATA_HOME/hvrun/disks
run() { LIMIT=60 expect_exit "$@"; }
has() { if grep -qF -- "$3" "$2" 2>/dev/null; then ok "$1"; else not_ok "$1" "$(cat "$2")"; fi; }
file() { if [ -e "$2" ]; then ok "$1"; else not_ok "$1" "no $2"; fi; }
gone() { if [ ! -e "$2" ]; then ok "$1"; else not_ok "$1" "$2 is there"; fi; }

make_boot_sector "$tmp/boot.img"
truncate -s 1M "$tmp/boot.img"

run "an empty list says what to do" 0 "hvrun create" $HVRUN list
run "create from an image" 0 "first.hvm" $HVRUN create first -m 64M --net none "$tmp/boot.img"
has "the file names the image" "$M/first.hvm" "disk = $tmp/boot.img"
has "and what was given" "$M/first.hvm" "net = none"
run "no second machine of that name" 64 "already" $HVRUN create first "$tmp/boot.img"
run "it is listed" 0 "first  off      never" $HVRUN list
run "it runs by its name" 200 "sector ran" $HVRUN first --display none --engine soft \
	--debug-exit 0xf4 --timeout 60s
run "and by its file" 200 "sector ran" $HVRUN "$M/first.hvm" --display none --engine soft \
	--debug-exit 0xf4 --timeout 60s
run "its log is kept" 0 "debug-exit" cat "$XDG_CACHE_HOME/hvrun/first.log"
$HVRUN list | grep -q never && not_ok "its use is noted" || ok "its use is noted"
$HVRUN list --json >"$tmp/json"
if python3 -c "
import json, sys
m = json.load(open('$tmp/json'))
assert len(m) == 1 and m[0]['name'] == 'first' and m[0]['memory'] == '64M', m
assert m[0]['state'] == 'off' and m[0]['last-used'] > 0" 2>"$tmp/why"; then
	ok "list --json is JSON"; else not_ok "list --json is JSON" "$(cat "$tmp/why" "$tmp/json")"; fi
run "an unknown name" 64 "no machine nobody" $HVRUN edit nobody -m 1G
run "an unknown name to run" 6 "nobody" $HVRUN --display none nobody

run "create with a new disk" 0 "second.hvm" $HVRUN create second --new-disk 2G
file "the disk is made" "$D/second.qcow2"
qemu-img info "$D/second.qcow2" | grep -q "virtual size: 2 GiB" && ok "of that size" || not_ok "of that size"
run "nothing to start is refused" 64 "nothing to start" $HVRUN create third
gone "and leaves nothing" "$M/third.hvm"
run "a wrong option is refused" 64 "impossible" $HVRUN create third -m 1 --new-disk 1G
gone "and leaves no disk" "$D/third.qcow2"

run "edit by options" 0 "first.hvm" $HVRUN edit first -m 96M --cpus 2 --unset net
has "memory is changed" "$M/first.hvm" "memory = 96M"
grep -q "^net" "$M/first.hvm" && not_ok "net is unset" || ok "net is unset"
run "edit refuses nonsense" 64 "cpus" $HVRUN edit first --cpus 999
has "and keeps the file" "$M/first.hvm" "cpus = 2"
EDITOR="sed -i s/96M/80M/" run "edit in an editor" 0 "first.hvm" $HVRUN edit first
has "has its effect" "$M/first.hvm" "memory = 80M"
EDITOR="sed -i s/80M/8000X/" run "a mistake in the editor is told" 64 "not a size" $HVRUN edit first
EDITOR="sed -i s/8000X/80M/" run "and can be mended" 0 "first.hvm" $HVRUN edit first

run "duplicate" 0 "copy.hvm" $HVRUN duplicate first copy
file "has a disk of its own" "$D/copy.qcow2"
run "the duplicate runs" 200 "sector ran" $HVRUN copy --display none --engine soft \
	--debug-exit 0xf4 --timeout 60s
mkdir "$tmp/elsewhere"
printf 'disk = ../boot.img\ncdrom = ../boot.img\n' >"$tmp/elsewhere/away.hvm"
run "duplicate from another folder" 0 "near.hvm" $HVRUN duplicate "$tmp/elsewhere/away.hvm" near
has "its files are found from there" "$M/near.hvm" "cdrom = $tmp/elsewhere/../boot.img"
run "and edited" 0 "near.hvm" $HVRUN edit near -m 70M
file "the text before is kept" "$M/near.hvm~"
run "it goes as well" 0 "near.hvm" $HVRUN delete near --disks --yes
gone "with the text before" "$M/near.hvm~"
run "linked clone" 0 "linked.hvm" $HVRUN clone copy linked
qemu-img info "$D/linked.qcow2" | grep -q "backing file: .*copy.qcow2" && ok "is backed by the original" ||
	not_ok "is backed by the original"
run "the clone runs" 200 "sector ran" $HVRUN linked --display none --engine soft \
	--debug-exit 0xf4 --timeout 60s

run "delete without a terminal needs --yes" 64 "--yes" $HVRUN delete linked --disks
file "and removes nothing" "$D/linked.qcow2"
run "delete with disks says what it frees" 0 "linked.qcow2" $HVRUN delete linked --disks --yes
gone "the disk is gone" "$D/linked.qcow2"
gone "the machine is gone" "$M/linked.hvm"
run "delete without disks" 0 "first.hvm" $HVRUN delete first --yes
file "the user's image stays" "$tmp/boot.img"

# A running machine
make_halt_disk "$tmp/halt.img"
$HVRUN create busy -m 64M --net none "$tmp/halt.img" >/dev/null
$HVRUN busy --display none --serial null --engine soft --timeout 60s >/dev/null 2>&1 &
pids="$pids $!"
vm=$!
n=0
until $HVRUN list | grep -q "busy .*running" || [ $n -gt 50 ]; do n=$((n + 1)); sleep 0.2; done
run "list shows what runs" 0 "running" $HVRUN list
run "no second start" 7 "running already" $HVRUN busy --display none --serial null
run "no deleting what runs" 7 "running" $HVRUN delete busy --yes
run "no copying what runs" 7 "running" $HVRUN duplicate busy busy2
kill $vm
wait $vm
run "off again" 0 "busy    off" $HVRUN list

# OVA
qemu-img convert -q -O vmdk -o subformat=streamOptimized "$tmp/boot.img" "$tmp/disk1.vmdk"
# ovf FILE [MEMORY [EXTRA]]: as VirtualBox and others write it, shortened
ovf() {
	cat >"$1" <<EOS
<?xml version="1.0"?>
<Envelope ovf:version="1.0" xmlns="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
<References><File ovf:href="disk1.vmdk" ovf:id="file1"/></References>
<DiskSection><Info>Disks</Info>
<Disk ovf:capacity="1048576" ovf:diskId="vmdisk1" ovf:fileRef="file1"
 ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
<Disk ovf:capacity="2" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="vmdisk2"/>
</DiskSection>
<NetworkSection><Info/><Network ovf:name="NAT"/></NetworkSection>
<VirtualSystem ovf:id="box"><Info>A machine</Info>
<OperatingSystemSection ovf:id="94"><Info/></OperatingSystemSection>
<VirtualHardwareSection><Info/>
<System><vssd:InstanceID>0</vssd:InstanceID></System>
<Item><rasd:Caption>2 virtual CPU</rasd:Caption><rasd:InstanceID>1</rasd:InstanceID>
<rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
<Item><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits><rasd:InstanceID>2</rasd:InstanceID>
<rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>${2:-80}</rasd:VirtualQuantity></Item>
<Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>PIIX4</rasd:ResourceSubType>
<rasd:ResourceType>5</rasd:ResourceType></Item>
<Item><rasd:InstanceID>4</rasd:InstanceID><rasd:ResourceSubType>AHCI</rasd:ResourceSubType>
<rasd:ResourceType>20</rasd:ResourceType></Item>
<Item><rasd:HostResource>/disk/vmdisk1</rasd:HostResource><rasd:InstanceID>5</rasd:InstanceID>
<rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
<Item><rasd:HostResource>ovf:/disk/vmdisk2</rasd:HostResource><rasd:InstanceID>6</rasd:InstanceID>
<rasd:Parent>4</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
<Item><rasd:Connection>NAT</rasd:Connection><rasd:InstanceID>7</rasd:InstanceID>
<rasd:ResourceSubType>E1000</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
${3:-}
</VirtualHardwareSection></VirtualSystem></Envelope>
EOS
}
# pack NAME MEMBER...: an archive as exporters make it
pack() { n=$1; shift; tar -C "$tmp" --format=ustar -cf "$tmp/$n.ova" "$@"; }
ovf "$tmp/box.ovf"
pack box box.ovf disk1.vmdk
run "create from an OVA" 0 "box.hvm" $HVRUN create box "$tmp/box.ova"
has "with its memory" "$M/box.hvm" "memory = 80M"
has "and its processors" "$M/box.hvm" "cpus = 2"
run "the OVA runs" 200 "sector ran" $HVRUN box --display none --engine soft \
	--debug-exit 0xf4 --timeout 60s
# other kinds of file systems do not copy between each other inside the kernel
if cp "$tmp/box.ova" "/dev/shm/hvrun-$$.ova" 2>/dev/null; then
	run "an OVA on another file system" 0 "far.hvm" $HVRUN create far "/dev/shm/hvrun-$$.ova"
	rm -f "/dev/shm/hvrun-$$.ova"
fi
run "opening an OVA says how" 64 "hvrun create" $HVRUN --display none "$tmp/box.ova"
has "its first disk on IDE" "$M/box.hvm" "disks/box.qcow2,if=ide"
has "its second, empty one on SATA" "$M/box.hvm" "disks/box-2.qcow2,if=ahci"
has "its network card" "$M/box.hvm" "net = user,model=e1000"
qemu-img compare -q "$tmp/boot.img" "$D/box.qcow2" && ok "the disk is the same" ||
	not_ok "the disk is the same"
mkdir "$tmp/plain"
cp "$tmp/box.ovf" "$tmp/disk1.vmdk" "$tmp/plain"
run "create from an OVF beside its disk" 0 "plain.hvm" $HVRUN create plain "$tmp/plain/box.ovf"
# Packages from nowhere good: each refused in words, nothing left behind.
# Manifests: as others write them (SHA-1 and SHA-256), wrong, of what is not there; a signature.
(cd "$tmp" && for a in 1 256; do
	for f in box.ovf disk1.vmdk; do
		echo "SHA$a($f)= $(sha${a}sum $f | cut -d ' ' -f 1)"
	done >m$a.mf
done; sed 's/$/\r/' m256.mf >crlf.mf; cp m256.mf good.mf; echo signed >box.cert)
pack sums box.ovf good.mf box.cert disk1.vmdk
run "a manifest that is right" 0 "does not check the signature" $HVRUN create sums "$tmp/sums.ova"
run "goes away again" 0 "" $HVRUN delete sums --disks --yes
for m in m1 crlf; do
	pack sums box.ovf disk1.vmdk $m.mf
	run "a manifest that is right ($m)" 0 "" $HVRUN create sums "$tmp/sums.ova"
	run "goes away again ($m)" 0 "" $HVRUN delete sums --disks --yes
done
bad() { # NAME WORDS MANIFEST: in an archive, and beside
	printf '%s\n' "$3" >"$tmp/bad.mf"
	pack sums box.ovf bad.mf disk1.vmdk
	run "$1" 6 "$2" $HVRUN create cut "$tmp/sums.ova"
	cp "$tmp/bad.mf" "$tmp/plain/box.mf"
	run "$1, beside" 6 "$2" $HVRUN create cut "$tmp/plain/box.ovf"
	rm "$tmp/plain/box.mf"
}
bad "a disk that is not what the manifest says" "'disk1.vmdk' is not what its manifest says" \
	"$(sed '/disk1/s/=.*/= 0000/' "$tmp/m256.mf")"
bad "a manifest of a missing file" "names, is not there" "SHA1(../../etc/passwd)= 00"
bad "a manifest of something else" "line 2 of its manifest" "$(head -n 1 "$tmp/m1.mf")
hello"
cp "$tmp/m1.mf" "$tmp/plain/box.mf"
run "a manifest beside" 0 "" $HVRUN create sums "$tmp/plain/box.ovf"
rm "$tmp/plain/box.mf"
sed -i /disk1/d "$tmp/m1.mf"
pack sums box.ovf disk1.vmdk m1.mf
run "a disk that the manifest forgot" 0 "is not in its manifest" $HVRUN create forgot "$tmp/sums.ova"

ovf "$tmp/e.ovf" 80 "<!-- $(yes "a comment" | head -c 4300000) -->"
pack big e.ovf disk1.vmdk
run "a description of 4 MiB" 6 "far too large" $HVRUN create cut "$tmp/big.ova"
ovf "$tmp/e.ovf" 99999999999999999999
pack mem e.ovf disk1.vmdk
run "impossible memory" 6 "as memory, which cannot be" $HVRUN create cut "$tmp/mem.ova"
sed 's|<Envelope|<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "\&a;\&a;\&a;">]><Envelope|' \
	"$tmp/box.ovf" >"$tmp/e.ovf"
pack ent e.ovf disk1.vmdk
run "entities" 6 "DOCTYPE" $HVRUN create cut "$tmp/ent.ova"
sed 's|href="disk1.vmdk"|href="../../disk1.vmdk"|' "$tmp/box.ovf" >"$tmp/plain/up.ovf"
run "a disk elsewhere" 6 "not in the same folder" $HVRUN create cut "$tmp/plain/up.ovf"
ln -s "$tmp/boot.img" "$tmp/plain/link.vmdk"
sed 's|href="disk1.vmdk"|href="link.vmdk"|' "$tmp/box.ovf" >"$tmp/plain/link.ovf"
run "a disk behind a link" 6 "is not there" $HVRUN create cut "$tmp/plain/link.ovf"
sed 's|href="disk1.vmdk"|href="other.vmdk"|' "$tmp/box.ovf" >"$tmp/e.ovf"
pack lost e.ovf disk1.vmdk
run "a disk that is not there" 6 "is not in it" $HVRUN create cut "$tmp/lost.ova"
sed 's|ovf:href="disk1.vmdk"|& ovf:compression="gzip"|' "$tmp/box.ovf" >"$tmp/e.ovf"
pack gz e.ovf disk1.vmdk
run "a compressed disk" 6 "unpack" $HVRUN create cut "$tmp/gz.ova"
sed 's|</VirtualSystem>|&<VirtualSystem ovf:id="b"/>|' "$tmp/box.ovf" >"$tmp/e.ovf"
pack two e.ovf disk1.vmdk
run "two machines" 6 "several machines" $HVRUN create cut "$tmp/two.ova"
# A disk that is a text naming another machine's disk as its extent.
printf '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n%s\n%s\n' \
	'createType="monolithicFlat"' 'RW 2048 FLAT "box.qcow2" 0' >"$tmp/disk1.vmdk.evil"
cp "$tmp/disk1.vmdk" "$tmp/disk1.vmdk.good"
cp "$tmp/disk1.vmdk.evil" "$tmp/disk1.vmdk"
pack evil box.ovf disk1.vmdk
run "a disk that names another machine's" 6 "no such file" $HVRUN create cut "$tmp/evil.ova"
cp "$tmp/disk1.vmdk.good" "$tmp/disk1.vmdk"
head -c $(($(stat -c %s "$tmp/box.ova") - 12000)) "$tmp/box.ova" >"$tmp/cut.ova"
run "a cut OVA is refused" 6 "cut short" $HVRUN create cut "$tmp/cut.ova"
gone "and leaves nothing" "$M/cut.hvm"
[ "$(ls "$D" | grep -c cut)" = 0 ] && ok "not even a disk" || not_ok "not even a disk" "$(ls "$D")"

# doctor
$HVRUN doctor >"$tmp/doctor" 2>&1
rc=$?
for c in KVM Memory Display OpenGL BIOS UEFI Folders "Disk space"; do
	has "doctor looks at: $c" "$tmp/doctor" "$c"
done
if grep -q "^BAD" "$tmp/doctor"; then want=1; else want=0; fi
[ $rc = $want ] && ok "its status tells" || not_ok "its status tells" "$rc" "$(cat "$tmp/doctor")"
$HVRUN doctor --json 2>/dev/null | python3 -c "import json, sys; json.load(sys.stdin)" &&
	ok "doctor --json is JSON" || not_ok "doctor --json is JSON"
# Another hypervisor holds the processor: what the kernel says then, said by a stand-in for it.
cat >"$tmp/held.c" <<'EOS'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
static int kvm = -1;
int open(const char *path, int flags, ...)
{
	int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
	va_list ap;
	va_start(ap, flags);
	int mode = va_arg(ap, int);
	va_end(ap);
	if (strcmp(path, "/dev/kvm"))
		return next(path, flags, mode);
	return kvm = next("/dev/null", flags);
}
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
int ioctl(int fd, unsigned long what, ...)
{
	int (*next)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
	va_list ap;
	va_start(ap, what);
	void *arg = va_arg(ap, void *);
	va_end(ap);
	if (fd != kvm || fd < 0)
		return next(fd, what, arg);
	if (what == KVM_GET_API_VERSION)
		return KVM_API_VERSION;
	if (what == KVM_CHECK_EXTENSION)
		return 1;
	errno = EBUSY;
	return -1;
}
EOS
if gcc -shared -fPIC -o "$tmp/held.so" "$tmp/held.c" 2>"$tmp/cc.log"; then
	held="env LD_PRELOAD=$tmp/held.so ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0"
	run "doctor: KVM is held by another hypervisor" 1 "KVM is busy" $held $HVRUN doctor
	has "and what to do" "$tmp/out" "stop its machines"
	run "a guest under --engine kvm says so, too" 8 "KVM is busy" $held $HVRUN --engine kvm \
		--display none --serial null "$tmp/boot.img"
else
	not_ok "doctor: KVM is held by another hypervisor" "$(cat "$tmp/cc.log")"
fi
run "doctor without a place for machines" 1 "neither HOME" env -u HOME -u XDG_DATA_HOME $HVRUN doctor
exit 0
