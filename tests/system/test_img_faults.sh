#!/bin/sh
# hvrun img where things go wrong around it: --force and what it must not take away, closed
# and full outputs, readers that go away, limits; nothing of the user's may be lost, and no
# failure may look like success.
. "$(dirname "$0")/img.sh"
only() { # PATTERN FILE...: no other files match
	pat=$1
	shift
	[ "$(echo $pat)" = "$*" ] || { echo "there is: $(echo $pat)"; return 1; }
}

dd if=/dev/urandom of=src.raw bs=1M count=24 status=none
img create -q -f qcow2 base.qcow2 4M
cp base.qcow2 base.copy

force_itself() {
	! img create -q --force -b base.qcow2 base.qcow2 && cmp base.qcow2 base.copy &&
		only 'base.qcow2*' base.qcow2
}
expect "--force keeps a backing file from being replaced by its overlay" force_itself

force_failed() {
	echo precious >keep.img
	! img convert --force -O qcow2 -o bogus=1 src.raw keep.img || return 1
	! img convert --force -O vmdk -o subformat=nonsense src.raw keep.img || return 1
	! img create -q --force -f qcow2 -o cluster_size=3 keep.img 1M || return 1
	(ulimit -f 8000; ! img convert --force -O raw src.raw keep.img) || return 1
	[ "$(cat keep.img)" = precious ] && only 'keep.img*' keep.img
}
expect "--force and an error: the old file stays" force_failed

force_cancelled() {
	qemu-img create -q -f raw big.raw 2G
	dd if=/dev/urandom of=big.raw bs=1M count=200 conv=notrunc status=none
	"$HV" img convert -q -c --force -O qcow2 big.raw keep.img 2>err &
	pid=$!
	within 10 test -e "keep.img.old-$pid" && kill -TERM $pid
	wait $pid
	[ $? = 130 ] && [ "$(cat keep.img)" = precious ] && only 'keep.img*' keep.img
}
expect "--force and a signal: the old file comes back" force_cancelled

force_done() {
	img convert -q --force -O qcow2 src.raw keep.img && img compare -q src.raw keep.img &&
		only 'keep.img*' keep.img
}
expect "--force replaces" force_done

force_parts() { # an extent of the source is the target
	img convert -q -O vmdk -o subformat=twoGbMaxExtentSparse src.raw split.vmdk &&
		! img convert -q --force -O raw split.vmdk split-s001.vmdk &&
		img compare -q split.vmdk src.raw
}
expect "--force keeps the extents of its source" force_parts

closed() { # no descriptor of an image may be 0, 1 or 2
	img create -q -b base.qcow2 top.qcow2 && size=$(stat -c %s top.qcow2) &&
		"$HV" img rebase -p -b base.qcow2 top.qcow2 2>&- <&- >&- &&
		[ "$(stat -c %s top.qcow2)" = "$size" ] && qemu-img check -q top.qcow2
}
expect "closed standard streams" closed

full() {
	for c in "info src.raw" "info --json src.raw" "compare src.raw src.raw" "--help" \
		"check base.qcow2" "resize src.raw +0"; do
		"$HV" img $c >/dev/full 2>err
		[ $? = 9 ] && grep -q "cannot write to standard output" err || return 1
	done
	"$HV" --help >/dev/full 2>err
	[ $? = 9 ]
}
expect "a full standard output is an error" full

gone() { # the reader of the progress goes away
	{ "$HV" img convert -p -c -O qcow2 big.raw big.qcow2 2>&1; echo $? >rc; } | head -n 1
	[ "$(cat rc)" = 0 ] && img compare -q big.raw big.qcow2
}
expect "a reader that goes away does not stop a conversion" gone

limit() {
	(ulimit -f 8000; img convert -q -O qcow2 src.raw limit.qcow2; [ $? = 9 ]) &&
		only 'limit*' 'limit*'
}
expect "a limit on file sizes is an error" limit

rebase_refused() { # nothing is changed when the new name would be refused
	mkdir elsewhere && cp base.qcow2 elsewhere/other.qcow2 && cp top.qcow2 top.copy &&
		! img rebase -b "$tmp/elsewhere/../../${tmp##*/}/elsewhere/../base.qcow2.none" top.qcow2 &&
		mkdir below && cp base.qcow2 top.qcow2 below &&
		! img rebase -b ../base.qcow2 below/top.qcow2 && grep -q "same directory" err &&
		! img rebase -b "$tmp/elsewhere/other.qcow2" below/top.qcow2 &&
		! img rebase -b top.qcow2 below/top.qcow2 &&
		cmp below/top.qcow2 top.copy && cmp top.qcow2 top.copy
}
expect "rebase to what would be refused changes nothing" rebase_refused

commit_cut() { # the overlay can still be opened when its base could not take everything
	qemu-img create -q -f raw empty.raw 24M && img convert -q -O vmdk empty.raw low.vmdk &&
		img create -q -f vmdk -b low.vmdk high.vmdk && cp low.vmdk low.copy &&
		qemu-io -f vmdk -c 'write -P 7 2M 12M' high.vmdk >/dev/null &&
		img convert -q high.vmdk wanted.raw &&
		(ulimit -f 4000; ! img commit -q high.vmdk) && ! cmp -s low.vmdk low.copy &&
		img compare -q high.vmdk wanted.raw && img commit -q high.vmdk &&
		img compare -q low.vmdk wanted.raw
}
expect "a commit that was cut can be done again" commit_cut
