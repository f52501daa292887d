#!/bin/sh
# A hundred reboots of a small guest: no more memory, no more open files.  (The
# cache of translated code fills up in the first ones.)
. "$(dirname "$0")/../system/lib.sh"
G=$here/build/guest
"$here/scripts/make-initramfs" "$G" || { not_ok "guest kernel and initramfs"; exit 1; }
$HVRUN --engine soft --display none -m 128M --net none --kernel "$G/vmlinuz" --initrd "$G/initrd.gz" \
	--append "console=ttyS0 quiet run=echo%20up-and-down;reboot%20-f" --serial "file:$tmp/ser" \
	--timeout 1400s >"$tmp/out" 2>&1 &
vm=$!
pids="$pids $vm"
boots() { n=$(grep -c up-and-down "$tmp/ser" 2>/dev/null); echo "${n:-0}"; }
rss() { sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' /proc/$vm/status; }
until [ "$(boots)" -ge 60 ] || ! kill -0 $vm 2>/dev/null; do sleep 0.5; done
rss60=$(rss) fds60=$(ls /proc/$vm/fd | wc -l)
until [ "$(boots)" -ge 120 ] || ! kill -0 $vm 2>/dev/null; do sleep 0.5; done
n=$(boots) rss=$(rss) fds=$(ls /proc/$vm/fd 2>/dev/null | wc -l)
kill $vm
wait $vm 2>/dev/null
[ "$n" -ge 120 ] && ok "100 reboots" || not_ok "100 reboots" "$n boots" "$(cat "$tmp/out")"
[ "$fds" = "$fds60" ] && ok "open files: $fds before and after" ||
	not_ok "open files" "$fds60 after 60 boots, $fds after 120"
[ "${rss:-99999999}" -le $((rss60 + 1024)) ] && ok "memory: $rss60 KiB, then $rss KiB" ||
	not_ok "memory" "$rss60 KiB after 60 boots, $rss KiB after 120"
