#!/bin/sh
# The benchmark programs compute the same in a guest of the software CPU as on the
# host: integers, floating point, vectors, processes, zlib, busybox.  No time is judged.
. "$(dirname "$0")/lib.sh"
rows=$(make -s -C "$here" bench-guest B="$B" >&2 && "$here/$B/bench-guest" --list)
if HVRUN=$HVRUN timeout 300 "$here/scripts/bench" cpu --without QEMU -n 1 --work 1 $rows \
	>"$tmp/out" 2>&1; then
	for r in $rows; do
		if grep -q "^$r  *[0-9.]*  *-" "$tmp/out"; then
			skip "$r gives the same result in the guest" "the guest's processor lacks it"
		elif grep -q "^$r  *[0-9.]*  *[0-9]" "$tmp/out"; then
			ok "$r gives the same result in the guest"
		else
			not_ok "$r gives the same result in the guest" "$(tail -n 15 "$tmp/out")"
		fi
	done
else
	not_ok "benchmark programs in the guest" "$(tail -n 15 "$tmp/out")"
fi
