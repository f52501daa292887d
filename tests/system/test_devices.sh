#!/bin/sh
# ISA and other small devices with software that others wrote: SeaBIOS, GRUB, Debian's kernel.
. "$(dirname "$0")/lib.sh"
G=$here/build/guest-full
KERNEL=linux-image-amd64 "$here/scripts/make-initramfs" "$G" || { not_ok "guest kernel"; exit 1; }

# debian NAME TEXT COMMANDS HVRUN-OPTIONS...: COMMANDS typed into the guest's shell print TEXT.
debian() {
	name=$1 text=$2 cmd=$3
	shift 3
	LIMIT=120 expect_exit "$name" 0 "$text" $HVRUN --engine soft --display none --net none \
		-m 512M --kernel "$G/vmlinuz" --initrd "$G/initrd.gz" --timeout 110s \
		--append "8250.nr_uarts=4 console=ttyS0 nonet quiet $APPEND" --fail-on "Kernel panic" "$@" \
		--expect "hvrun# " --send "$cmd\n" --expect "$text" --then poweroff
}

APPEND=nolapic_timer
debian "Debian uses the HPET as clock and for its ticks" "hpet/hpet/ok" \
	'cd /sys/devices/system; echo hpet >clocksource/clocksource0/current_clocksource; sleep 1; echo $(cat clocksource/clocksource0/current_clocksource)/$(cat clockevents/clockevent0/current_device)/ok' \
	--hpet
APPEND=

make_boot_sector "$tmp/fd.img"
truncate -s 1440K "$tmp/fd.img"
LIMIT=60 expect_exit "SeaBIOS boots a floppy disk" 200 "sector ran" $HVRUN --engine soft \
	--display none --serial stdio --debug-exit 0xf4 --timeout 50s "$tmp/fd.img"

cat >"$tmp/early.cfg" <<'EOS'
serial
terminal_output serial
terminal_input serial
cat (fd0)/hello.txt
EOS
grub-mkimage -O i386-pc -o "$tmp/core.img" -c "$tmp/early.cfg" -p '(fd0)/boot/grub' biosdisk fat ls \
	cat serial terminal normal minicmd
sectors=$((($(stat -c %s "$tmp/core.img") + 511) / 512))
truncate -s 1440K "$tmp/grub.img"
mkfs.fat -F 12 -R $((sectors + 1)) "$tmp/grub.img" >/dev/null
echo "hello from fat" >"$tmp/hello.txt"
mcopy -i "$tmp/grub.img" "$tmp/hello.txt" ::
# boot.img keeps the file system's parameters; core.img lies behind it in one piece
dd if="$tmp/grub.img" of="$tmp/bpb" bs=1 skip=3 count=87 2>/dev/null
dd if=/usr/lib/grub/i386-pc/boot.img of="$tmp/grub.img" conv=notrunc 2>/dev/null
dd if="$tmp/bpb" of="$tmp/grub.img" bs=1 seek=3 conv=notrunc 2>/dev/null
poke() { printf "$1" | dd of="$tmp/grub.img" bs=1 seek="$2" conv=notrunc 2>/dev/null; }
dd if="$tmp/core.img" of="$tmp/grub.img" bs=512 seek=1 conv=notrunc 2>/dev/null
poke '\001\000\000\000\000\000\000\000\377' 92		# where core.img is; drive from the BIOS
poke '\002\000\000\000\000\000\000\000' $((512 + 500))	# and the rest of it
poke "\\$(printf %o $(((sectors - 1) % 256)))\\$(printf %o $(((sectors - 1) / 256)))" $((512 + 508))
poke '\125\252' 510
LIMIT=60 expect_exit "GRUB from a floppy disk reads its FAT and gives a prompt" 0 "hello from fat" \
	$HVRUN --engine soft --display none --serial stdio --timeout 50s "$tmp/grub.img" \
	--expect "hello from fat" --expect "grub>" --then poweroff

head -c 1474560 /dev/urandom >"$tmp/random.img"
sum=$(md5sum <"$tmp/random.img" | cut -c 1-32)
debian "Debian reads and writes a floppy disk" "post-1991 82077" \
	"insmod /lib/mods/floppy.ko; sleep 1; md5sum /dev/fd0 | grep $sum && \
dd if=/init of=/dev/fd0 bs=512 seek=2878 count=2 conv=fsync && dmesg | grep FDC.0" \
	--floppy "$tmp/random.img"
[ "$(tail -c 1024 "$tmp/random.img" | head -c 9)" = "#!/bin/sh" ] &&
	ok "what Debian wrote is in the image" || not_ok "what Debian wrote is in the image"

LIMIT=60 expect_exit "Debian's console on hvc0, --send and --expect on it" 0 "hvc0 only" $HVRUN \
	--engine soft --display none --net none -m 512M --kernel "$G/vmlinuz" --timeout 50s \
	--initrd "$G/initrd.gz" --append "console=hvc0 nonet quiet" --console stdio \
	--expect "hvrun# " --send 'echo $(cat /sys/class/tty/console/active) only\n' \
	--expect "hvc0 only"

# A program on the host answers what the guest asks, then each side sends 2 MB to the other.
cat >"$tmp/channel.py" <<'EOS'
import hashlib, os, socket, sys, time
for i in range(200):
    try:
        s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); break
    except OSError:
        time.sleep(0.2)
s.settimeout(60)
line = b''
while not line.endswith(b'\n'): line += s.recv(1)
h, n = hashlib.md5(), 0
while n < 2000000:
    d = s.recv(min(65536, 2000000 - n)); n += len(d); h.update(d)
    if n < 200000: time.sleep(0.005)		# a slow reader: nothing may get lost
s.sendall(b'got ' + line.strip() + b' ' + h.hexdigest().encode() + b'\n')
while True:
    d = s.recv(65536)
    if not d: break
    s.sendall(d)
EOS
python3 "$tmp/channel.py" "$tmp/channel" >"$tmp/channel.log" 2>&1 &
pids="$pids $!"
debian "a channel carries 2 MB each way" "channel complete" \
	'exec 5<>/dev/$(ls /sys/class/virtio-ports); dd if=/dev/urandom of=/tmp/b bs=1000 count=2000; S=$(md5sum </tmp/b | cut -c 1-32); echo hi >&5; cat /tmp/b >&5; read -r l <&5; [ "$l" = "got hi $S" ] || echo no; cat /tmp/b >&5 & dd bs=1000 count=2000 iflag=fullblock <&5 | cmp - /tmp/b && echo channel $((1))complete | tr -d 1' \
	--channel "org.hvrun.test=unix:$tmp/channel"

debian "Debian takes the VM generation ID" "bound HVRN0001:00" \
	'cd /sys/bus/acpi/drivers/vmgenid; echo bound HVRN*' \
	--vmgenid f81d4fae-7dec-11d0-a765-00a0c91e6bf6

debian "two outputs: Debian's virtio-gpu driver finds both, with their sizes and EDIDs" \
	"1280x800 hvrun 1024x768 hvrun 2" \
	'for m in virtio_dma_buf drm_shmem_helper virtio-gpu; do insmod /lib/mods/$m.ko; done; cd /sys/class/drm; echo $(for i in 1 2; do head -n 1 card0-Virtual-$i/modes; grep -o "hvrun[ 2]*" card0-Virtual-$i/edid; done)' \
	--vga virtio,outputs=2 --screenshot-at-exit "$tmp/out.png" --record "$tmp/out.webm"
[ "$(identify -format %wx%h "$tmp/out-2.png")" = 1024x768 ] && ok "a picture of the second one" ||
	not_ok "a picture of the second one" "$(ls -l "$tmp")"
grep -q V_VP8 "$tmp/out.webm" && grep -q V_VP8 "$tmp/out-2.webm" && ok "a recording of each" ||
	not_ok "a recording of each" "$(ls -l "$tmp")"

debian "Debian's parport and lp drivers print, interrupt-driven" "lp0: using parport0 (interrupt" \
	'for m in parport parport_pc lp; do insmod /lib/mods/$m.ko; done; sleep 1; seq 300 >/dev/lp0; dmesg | grep lp0' \
	--parallel "file:$tmp/paper"
[ "$(grep -c . "$tmp/paper")" = 300 ] && ok "all lines are on the paper" ||
	not_ok "all lines are on the paper" "$(wc "$tmp/paper")"

debian "four serial ports" "3: uart:16550A port:000002E8 irq:3 tx:1392" \
	'for i in 1 2 3; do seq 300 >/dev/ttyS$i; done; grep tx: /proc/tty/driver/serial' \
	--serial stdio --serial "file:$tmp/com2" --serial "file:$tmp/com3" --serial "file:$tmp/com4"
cmp -s "$tmp/com2" "$tmp/com4" && cmp -s "$tmp/com2" "$tmp/com3" && [ "$(tr -d "\r" <"$tmp/com4" | tail -n 1)" = 300 ] &&
	ok "COM2 to COM4 wrote their files" || not_ok "COM2 to COM4 wrote their files"
