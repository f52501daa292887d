#!/bin/sh
# hvrun img: every pair of formats, compressed and split targets, linked clones,
# commit, rebase, resize, snapshots, JSON, cancelling; qemu-img and cmp judge.
. "$(dirname "$0")/img.sh"
refuse() { # NAME WORDS COMMAND...
	name=$1 words=$2
	shift 2
	if "$@" >out 2>&1; then not_ok "$name" "was accepted"
	elif grep -q "$words" err; then ok "$name"
	else not_ok "$name" "$(cat err)"; fi
}

qemu-img create -q -f raw src.raw 70M
qemu-io -f raw -c 'write -P 3 1M 9M' -c 'write -P 9 33M 3M' -c 'write -P 1 69M 1M' src.raw >/dev/null
dd if=/dev/urandom of=src.raw bs=1M seek=20 count=5 conv=notrunc status=none

matrix() { # every target from raw, and back to raw
	for t in "qcow2 compat=v3 qcow2" "qcow2 extended_l2=on qcow2" "qcow2 compat=v2 qcow2" \
		"vdi subformat=dynamic vdi" "vdi subformat=fixed vdi" "vhd subformat=dynamic vpc" \
		"vhd subformat=fixed vpc" "vhdx subformat=dynamic vhdx" "vhdx subformat=fixed vhdx" \
		"vmdk subformat=monolithicSparse vmdk" "vmdk subformat=monolithicFlat vmdk" \
		"vmdk subformat=twoGbMaxExtentSparse vmdk" "vmdk subformat=streamOptimized vmdk" \
		"raw preallocation=off raw"; do
		set -- $t
		rm -f t*.img t*.vmdk back.raw
		img convert -q -O "$1" -o "$2" src.raw t.img || { echo "$t: convert"; return 1; }
		qemu-img compare -q -f raw -F "$3" src.raw t.img || { echo "$t: qemu-img"; return 1; }
		img convert -q -O raw t.img back.raw || { echo "$t: back"; return 1; }
		cmp src.raw back.raw || { echo "$t: back differs"; return 1; }
		img compare -q t.img src.raw || { echo "$t: compare"; return 1; }
		[ "$1" = raw ] || img check -q t.img || { echo "$t: check"; return 1; }
	done
}
expect "convert to every format and back" matrix

compressed() {
	for o in zlib zstd; do
		img convert -q --force -c -O qcow2 -o compression_type=$o src.raw c.qcow2 &&
			qemu-img check -q c.qcow2 && qemu-img compare -q src.raw c.qcow2 &&
			[ "$(stat -c %s c.qcow2)" -lt 7000000 ] || return 1
	done
}
expect "compressed qcow2, zlib and zstd" compressed

clone() {
	img convert -q -O qcow2 src.raw base.qcow2 && img create -q -b base.qcow2 top.qcow2 &&
		qemu-io -c 'write -P 77 2M 1M' top.qcow2 >/dev/null && qemu-img check -q top.qcow2 &&
		! img compare -q top.qcow2 base.qcow2 && img commit -q top.qcow2 &&
		img compare -q top.qcow2 base.qcow2 && qemu-img check -q base.qcow2 &&
		qemu-img check -q top.qcow2 && [ "$(stat -c %b top.qcow2)" -lt 2000 ] &&
		qemu-io -r -c 'read -P 77 2M 1M' base.qcow2 | grep -vq failed
}
expect "linked clone, commit" clone

commit_to_text() { # what is below was never said to be raw, and looks like no disk
	seq 2000 >letter.txt && cp letter.txt letter.copy &&
		img create -q -f qcow2 -b letter.txt -F raw over.qcow2 && python3 - over.qcow2 <<'EOS' &&
import sys
f = open(sys.argv[1], 'r+b')
at = f.read(1024).find(b'\xe2\x79\x2a\xca')	# the header extension that names the format
f.seek(at); f.write(b'\x12\x34\x56\x78')
EOS
		! img commit -q over.qcow2 && grep -q "is no disk image" err &&
		cmp letter.txt letter.copy
}
expect "commit does not write to a text" commit_to_text

vdi_child() { # names its parent by UUID only; a megabyte of sevens is put into it by hand
	img convert -q -O vdi src.raw low.vdi && img create -q -b low.vdi -f vdi high.vdi &&
		python3 - high.vdi <<'EOS' &&
import struct, sys
f = open(sys.argv[1], 'r+b')
head = f.read(512)
table, data = struct.unpack_from('<II', head, 0x154)
f.seek(table + 3 * 4); f.write(struct.pack('<I', 0))
f.seek(0x184); f.write(struct.pack('<I', 1))
f.seek(data); f.write(b'\7' * (1 << 20))
EOS
		img convert -q high.vdi wanted.raw && img commit -q high.vdi &&
		img compare -q low.vdi wanted.raw && ! img compare -q low.vdi src.raw &&
		qemu-img compare -q -f vdi -F raw low.vdi wanted.raw
}
expect "a VDI's child is committed to the parent that its UUID leads to" vdi_child

rebase() {
	qemu-io -c 'write -P 78 40M 1M' top.qcow2 >/dev/null
	img convert -q -O raw top.qcow2 before.raw && img create -q -f qcow2 other.qcow2 70M &&
		img rebase -q -b other.qcow2 top.qcow2 && qemu-img compare -q top.qcow2 before.raw &&
		img rebase -q -b '' top.qcow2 && qemu-img compare -q top.qcow2 before.raw &&
		! qemu-img info top.qcow2 | grep -q backing
}
expect "rebase keeps the content" rebase

resize() {
	img resize -q top.qcow2 +3G && [ "$(img info --json top.qcow2 |
		sed -n 's/.*"virtual-size": \([0-9]*\),/\1/p')" = $((73400320 + (3 << 30))) ] &&
		img resize -q --shrink top.qcow2 70M && qemu-img check -q top.qcow2 &&
		qemu-img compare -q top.qcow2 before.raw
}
expect "resize" resize
refuse "no shrinking by accident" "cut off the end" img resize top.qcow2 -1M
refuse "no overwriting by accident" "exists already" img convert src.raw top.qcow2
refuse "no converting onto itself" "the source itself" img convert --force src.raw src.raw
refuse "unknown options" "no option" img convert --sparse src.raw x.raw

snap() {
	img snapshot create top.qcow2 one && qemu-io -c 'write -P 5 0 5M' top.qcow2 >/dev/null &&
		img snapshot list top.qcow2 | grep -q one && qemu-img check -q top.qcow2 &&
		img convert -q --force --snapshot one -O raw top.qcow2 old.raw && cmp old.raw before.raw &&
		img snapshot apply top.qcow2 one && qemu-img compare -q top.qcow2 before.raw &&
		img snapshot delete top.qcow2 one && qemu-img check -q top.qcow2
}
expect "snapshots" snap

json() {
	for f in base.qcow2 c.qcow2 t.img; do
		img info --json $f | python3 -m json.tool >/dev/null || return 1
	done
	# All that print, with names that are no UTF-8 and hold quotes.
	n=$(printf 'a"b\\\377\303\244.qcow2')
	img create --json -f qcow2 "$n" 3M | python3 -m json.tool >/dev/null &&
		img create --json -b "$n" j2.qcow2 | python3 -m json.tool >/dev/null &&
		img resize --json j2.qcow2 +1M | python3 -m json.tool >/dev/null &&
		img commit --json j2.qcow2 | python3 -m json.tool >/dev/null &&
		img snapshot create j2.qcow2 "$n" &&
		img snapshot list --json j2.qcow2 | python3 -m json.tool >/dev/null &&
		img info --json j2.qcow2 | python3 -m json.tool >/dev/null &&
		img check --json j2.qcow2 | python3 -m json.tool >/dev/null &&
		img compare --json j2.qcow2 "$n" | python3 -m json.tool >/dev/null || return 1
	img check --json base.qcow2 | python3 -c 'import json, sys
assert json.load(sys.stdin)["corruptions"] == 0'
}
expect "JSON" json

progress() {
	img convert -p --force -O qcow2 src.raw p.qcow2 && grep -q '100.0 %  70 MiB of 70 MiB' err
}
expect "progress bar" progress

cancel() {
	qemu-img create -q -f raw big.raw 3G
	dd if=/dev/urandom of=big.raw bs=1M count=300 conv=notrunc status=none
	"$HV" img convert -q -c -O qcow2 big.raw cut.qcow2 2>err &
	pid=$!
	while [ ! -s cut.qcow2 ]; do kill -0 $pid 2>/dev/null || return 1; sleep 0.05; done
	kill -INT $pid
	wait $pid
	[ $? = 130 ] && [ ! -e cut.qcow2 ]
}
expect "cancelling removes the target" cancel

reserve() { # a long create: a bar, and Ctrl-C removes it
	"$HV" img create -p -f qcow2 -o preallocation=full full.qcow2 200M 2>err >/dev/null &&
		grep -q '100.0 %  200 MiB of 200 MiB' err && qemu-img check -q full.qcow2 || return 1
	for f in raw qcow2; do
		"$HV" img create -q -f $f -o preallocation=full cut2.img 6G 2>err &
		pid=$!
		until [ "$(stat -c %b cut2.img 2>/dev/null || echo 0)" -gt 2000 ]; do
			kill -0 $pid 2>/dev/null || return 1
			sleep 0.05
		done
		kill -INT $pid
		wait $pid
		[ $? = 130 ] && [ ! -e cut2.img ] && grep -q cancelled err || return 1
	done
}
expect "preallocation shows its way and can be cancelled" reserve
