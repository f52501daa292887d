#!/bin/sh
# Wrong use and bad input: a clear error each, the documented exit status,
# nothing created, nothing changed.
. "$(dirname "$0")/lib.sh"

run() { LIMIT=20 expect_exit "$@"; }
N="--display none --serial null --timeout 5s --engine soft"

run "help" 0 "--memory" $HVRUN --help
run "version" 0 "hvrun 0." $HVRUN --version
run "unknown option" 64 "did you mean --memory" $HVRUN --memroy 1G
run "nothing to run" 64 "nothing to run" $HVRUN --display none
run "missing disk" 6 "No such file" $HVRUN $N "$tmp/none.img"
[ ! -e "$tmp/none.img" ] && ok "missing disk is not created" || not_ok "missing disk is not created"
run "missing kernel" 6 "$tmp/vmlinuz" $HVRUN $N --kernel "$tmp/vmlinuz"
run "directory" 6 "directory" $HVRUN $N "$tmp"
mkfifo "$tmp/fifo"
run "FIFO" 6 "not a regular file" $HVRUN $N "$tmp/fifo"
run "FIFO as kernel" 6 "not a regular file" $HVRUN $N --kernel "$tmp/fifo"
run "FIFO as disk" 6 "neither a file nor a block device" $HVRUN $N --disk "$tmp/fifo"
run "FIFO into a new machine" 6 "not a regular file" $HVRUN create fifo "$tmp/fifo"
run "unknown letter" 64 "unknown option -z; hvrun --help" $HVRUN -z
run "unknown image command" 64 "no command frob" $HVRUN img frob
run "log nowhere" 1 "No such file" $HVRUN $N --log "$tmp/no/log" "$tmp/odd.img"
: >"$tmp/empty.img"
run "empty image" 6 "empty" $HVRUN $N "$tmp/empty.img"
[ ! -s "$tmp/empty.img" ] && ok "empty image stays empty" || not_ok "empty image stays empty"
head -c 700 /dev/urandom >"$tmp/odd.img"
cp "$tmp/odd.img" "$tmp/odd.orig"
run "size not a multiple of 512" 6 "hardly a raw disk" $HVRUN $N "$tmp/odd.img"
run "unless the format is named" 10 "" $HVRUN $N --disk "$tmp/odd.img,format=raw"
run "check of a raw image" 64 "nothing to check" $HVRUN img check -f raw "$tmp/odd.img"
cmp -s "$tmp/odd.img" "$tmp/odd.orig" && ok "odd image unchanged" || not_ok "odd image unchanged"

qemu-img create -q -f qcow2 "$tmp/good.qcow2" 64M
head -c 80 "$tmp/good.qcow2" >"$tmp/cut.qcow2"
run "truncated qcow2" 6 "cut.qcow2" $HVRUN $N "$tmp/cut.qcow2"
# bad VERSION OFFSET BYTES NAME TEXT: qcow2 with bytes of its header replaced
bad() {
	cp "$tmp/good.qcow2" "$tmp/bad.qcow2"
	printf "$2" | dd of="$tmp/bad.qcow2" bs=1 seek="$1" conv=notrunc status=none
	sum=$(md5sum <"$tmp/bad.qcow2")
	run "$3" 6 "bad.qcow2" $HVRUN $N "$tmp/bad.qcow2"
	[ "$sum" = "$(md5sum <"$tmp/bad.qcow2")" ] || not_ok "$3: image was changed"
}
bad 4 '\0\0\0\11' "qcow2 version 9"
bad 20 '\0\0\0\77' "qcow2 cluster size absurd"
bad 24 '\177\377\377\377\377\377\377\377' "qcow2 absurd size"
bad 36 '\377\377\377\377' "qcow2 absurd L1 size"
bad 40 '\377\377\377\377\377\377\0\0' "qcow2 L1 outside the file"
bad 72 '\200\0\0\0\0\0\0\0' "qcow2 unknown incompatible feature"
bad 32 '\0\0\0\2' "qcow2 LUKS encryption"

# ---- starts that get nowhere: the reason and what to do ----
truncate -s 8M "$tmp/blank.img"
run "blank disk" 10 "no bootable device" $HVRUN --display none --serial null --net none \
	--engine soft --timeout 12s "$tmp/blank.img"
make_halt_disk "$tmp/halt.img"
run "halted for good" 10 "halted with interrupts off" $HVRUN --display none --serial null \
	--net none --engine soft --timeout 12s "$tmp/halt.img"
if [ -s "$(dirname "$0")/../../build/guest/vmlinuz" ]; then
	k="$(dirname "$0")/../../build/guest/vmlinuz"
	run "kernel without a root device" 10 "found no root file system" $HVRUN --display none \
		--net none --engine soft --timeout 15s --kernel "$k" --append "console=ttyS0"
fi

run "impossible memory" 64 "impossible" $HVRUN $N -m 1 "$tmp/good.qcow2"
run "more memory than the host has" 9 "more than this computer has" \
	$HVRUN $N -m 500G "$tmp/good.qcow2"
run "impossible CPU count" 64 "between 1 and" $HVRUN $N --cpus 1000 "$tmp/good.qcow2"
run "impossible code cache" 64 "at least 2M" $HVRUN $N --jit-cache 1M --cpus 2 "$tmp/good.qcow2"
run "unknown key of the engine" 64 "jit=off" $HVRUN --engine soft,jti=off "$tmp/good.qcow2"
run "key of another engine" 64 "takes no keys" $HVRUN --engine kvm,verify "$tmp/good.qcow2"
run "nothing to verify" 64 "leave jit=off away" $HVRUN --engine soft,verify,jit=off \
	"$tmp/good.qcow2"
run "no such firmware" 6 "/none.bin" $HVRUN $N --firmware /none.bin "$tmp/good.qcow2"
run "kernel that is none" 6 "odd.img" $HVRUN $N --kernel "$tmp/odd.img"
run "window without a display" 9 "--display none" env -u DISPLAY -u WAYLAND_DISPLAY \
	SDL_VIDEODRIVER=x11 $HVRUN --display window --engine soft "$tmp/good.qcow2"
run "log file that cannot be written" 1 "log file" $HVRUN $N --log /none/x "$tmp/good.qcow2"
run "serial file that cannot be written" 1 "/none/x" $HVRUN --display none \
	--serial file:/none/x "$tmp/good.qcow2"
if [ "$(id -u)" != 0 ]; then
	cp "$tmp/good.qcow2" "$tmp/secret.qcow2"
	chmod 000 "$tmp/secret.qcow2"
	run "no permission" 6 "ermission" $HVRUN $N "$tmp/secret.qcow2"
elif command -v setpriv >/dev/null; then
	cp "$tmp/good.qcow2" "$tmp/secret.qcow2"
	chmod 000 "$tmp/secret.qcow2"
	chmod 755 "$tmp"
	cp "$HVRUN" "$tmp/hvrun-copy"
	run "no permission" 6 "ermission" setpriv --reuid 65534 --clear-groups \
		"$tmp/hvrun-copy" $N "$tmp/secret.qcow2"
fi

# A second opener is refused and told who holds the image.
$HVRUN --display none --serial null --engine soft --timeout 30s "$tmp/good.qcow2" >/dev/null 2>&1 &
holder=$!
pids="$pids $holder"
for i in 1 2 3 4 5 6 7 8 9 10; do
	grep -q ":$(stat -c %i "$tmp/good.qcow2") " /proc/locks && break
	sleep 0.2
done
run "second opener" 7 "$holder" $HVRUN $N "$tmp/good.qcow2"
kill $holder
wait $holder 2>/dev/null
[ "$?" = 143 ] && ok "SIGTERM ends with 143" || not_ok "SIGTERM ends with 143" "status $?"
qemu-img check -q "$tmp/good.qcow2" && ok "image clean after SIGTERM" ||
	not_ok "image clean after SIGTERM"
