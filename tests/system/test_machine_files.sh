#!/bin/sh
# The files of machines: what hvrun delete --disks must leave, two that make the same machine,
# copies of disks whose format is named, files that are no disks.
. "$(dirname "$0")/lib.sh"
HV=$(realpath "$HVRUN")
cd "$tmp" || exit 1
M=$XDG_DATA_HOME/hvrun/machines D=$XDG_DATA_HOME/hvrun/disks
hv() { timeout 60 "$HV" "$@" >out 2>&1; rc=$?; cat out >>all.log; return $rc; }

clones() {
	hv create base --new-disk 64M && hv clone base one && hv clone one two &&
		"$HV" img create -q -b two.qcow2 "$D/loose.qcow2" || return 1
	hv delete base --disks --yes && [ -e "$D/base.qcow2" ] &&
		grep -q "machine one has a clone" out || return 1
	hv delete two --disks --yes && [ -e "$D/two.qcow2" ] &&
		grep -q "loose.qcow2 is a clone" out || return 1
	rm "$D/loose.qcow2" "$D/two.qcow2" && "$HV" img info "$D/one.qcow2" >out &&
		hv delete one --disks --yes && [ ! -e "$D/one.qcow2" ]
}
check "delete --disks keeps what clones need" clones

children() { # by name or, VDI, by an id
	"$HV" img create -q -f raw empty.raw 4M
	for f in vdi vhd vhdx vmdk; do
		"$HV" img convert -q -O $f empty.raw "$tmp/base.$f" &&
			"$HV" img create -q -f $f -b base.$f "$tmp/child.$f" &&
			hv create $f --disk "$tmp/base.$f" && hv delete $f --disks --yes &&
			grep -q "child.$f is a clone" out && [ -e base.$f ] || return 1
	done
}
check "and children in other formats" children

crowded() { # among so many files that a clone may be missed
	mkdir many && "$HV" img create -q -f qcow2 many/base.qcow2 4M &&
		(cd many && seq 10001 | xargs touch) &&
		hv create many --disk "$tmp/many/base.qcow2" && hv delete many --disks --yes &&
		grep -q "too many files" out && [ -e many/base.qcow2 ]
}
check "and what lies among too many files to look through" crowded

own() { # an overlay of the machine itself is no reason
	hv create chain --new-disk 64M && "$HV" img create -q -b chain.qcow2 "$D/chain-top.qcow2" &&
		echo "disk = $D/chain-top.qcow2" >>"$M/chain.hvm" &&
		hv delete chain --disks --yes && [ ! -e "$D/chain.qcow2" ] &&
		[ ! -e "$D/chain-top.qcow2" ]
}
check "a chain of its own goes as a whole" own

parts() { # what the disk consists of by its name, and nothing else that it names
	for kind in monolithicFlat twoGbMaxExtentSparse; do
		mkdir p && "$HV" img create -q -f vmdk -o subformat=$kind p/disk.vmdk 3G &&
			touch p/disk.vmdk.nvram p/disk-notes.vmdk && cp p/disk.vmdk p/copy.vmdk &&
			hv create parts --disk "$tmp/p/disk.vmdk" &&
			hv delete parts --disks --yes && grep -q "copy.vmdk is a clone" out &&
			[ -e p/disk.vmdk ] && [ -e p/disk.vmdk.nvram ] && rm p/copy.vmdk &&
			hv create parts --disk "$tmp/p/disk.vmdk" &&
			hv delete parts --disks --yes && [ "$(ls p)" = disk-notes.vmdk ] || return 1
		rm -r p
	done
	for name in letters.doc disk-precious.img disk-s1.vmdk; do
		mkdir p && "$HV" img create -q -f vmdk -o subformat=monolithicFlat p/disk.vmdk 3M &&
			mv p/disk-flat.vmdk p/$name &&
			sed -i s/disk-flat.vmdk/$name/ p/disk.vmdk &&
			hv create parts --disk "$tmp/p/disk.vmdk" &&
			hv delete parts --disks --yes && grep -q "kept: .*$name" out &&
			[ "$(ls p)" = $name ] || return 1
		rm -r p
	done
}
check "and takes the parts and the firmware's variables along" parts

shared() { # a part, or the variables, of another machine; a disk whose parts cannot be known
	mkdir p && "$HV" img create -q -f vmdk -o subformat=monolithicFlat p/disk.vmdk 3M &&
		hv create parts --disk "$tmp/p/disk.vmdk" &&
		hv create flat --disk "$tmp/p/disk-flat.vmdk,format=raw" &&
		hv delete parts --disks --yes && grep -q "machine flat has it" out &&
		[ -e p/disk.vmdk ] && hv create parts --disk "$tmp/p/disk.vmdk" &&
		hv delete flat --disks --yes && grep -q "machine parts has" out &&
		[ -e p/disk-flat.vmdk ] && touch p/disk.vmdk.nvram &&
		hv create other --new-disk 64M --nvram "$tmp/p/disk.vmdk.nvram" &&
		mv p/disk-flat.vmdk p/away && hv delete parts --disks --yes &&
		grep -q "it may have parts" out && [ -e p/disk.vmdk ] &&
		mv p/away p/disk-flat.vmdk && hv create parts --disk "$tmp/p/disk.vmdk" &&
		hv delete parts --disks --yes && grep -q "machine other uses it" out &&
		[ "$(ls p)" = disk.vmdk.nvram ] && hv delete other --disks --yes
}
check "but for what something else needs" shared

in_use() {
	hv create busy --new-disk 64M || return 1
	"$HV" --display none --serial null --timeout 60s --disk "$D/busy.qcow2" >run.log 2>&1 &
	pid=$!
	pids="$pids $pid"
	within 20 sh -c "ls -l /proc/$pid/fd | grep -q busy.qcow2" &&
		hv delete busy --disks --yes && grep -q "in use" out && [ -e "$D/busy.qcow2" ]
	rc=$?
	kill $pid
	wait $pid
	return $rc
}
check "delete --disks keeps a disk in use" in_use

race() {
	racers=
	for i in 1 2 3 4 5 6 7 8; do
		"$HV" create same --new-disk 64M >/dev/null 2>&1 &
		racers="$racers $!"
	done
	won=0
	for p in $racers; do wait "$p" && won=$((won + 1)); done
	[ $won = 1 ] && [ "$(echo "$D"/same*)" = "$(sed -n 's/^disk = //p' "$M/same.hvm")" ]
}
check "of those that make the same machine at once one wins" race

named() { # a raw disk whose guest wrote the header of another format, on a host without records
	cp "$D/same.qcow2" forged.img 2>/dev/null || cp "$D"/same*.qcow2 forged.img
	hv create forged --disk "$tmp/forged.img,format=raw,readonly=on" && hv duplicate forged copy &&
		"$HV" img info "$D/copy.qcow2" | grep -q "$(stat -c %s forged.img) bytes"
}
check "a copy keeps to the format that was named" named

no_disk() {
	printf 'a letter\n' >letter.txt
	expect_exit "a text is no disk to write to" 6 "hardly a raw disk" "$HV" --display none letter.txt
	[ "$(cat letter.txt)" = "a letter" ] || return 1
	expect_exit "unless it is said to be one" 10 "no bootable" "$HV" --display none --serial null \
		--timeout 1s --disk letter.txt,format=raw
}
no_disk
