#!/bin/sh
# Debian's ALSA drivers and aplay on each sound card: what comes out is what went in.
. "$(dirname "$0")/lib.sh"
G=$here/build/guest-full
KERNEL=linux-image-amd64 "$here/scripts/make-initramfs" "$G" || { not_ok "guest kernel"; exit 1; }

# ---- the guest: alsa-utils and the drivers, in an archive behind the initramfs ----
root=$tmp/root
mkdir -p "$root/snd" "$root/bin" "$root/usr/share" "$root/etc"
echo audio:x:29: >"$root/etc/group"
for p in aplay arecord amixer speaker-test; do
	command -v $p >/dev/null || { skip "sound" "$p is missing (package alsa-utils)"; exit 0; }
	cp -L "$(command -v $p)" "$root/bin/"
	for l in $(ldd "$(command -v $p)" | grep -o '/[^ ]*'); do
		mkdir -p "$root$(dirname "$l")"
		cp -L "$l" "$root$l"
	done
done
cp -r /usr/share/alsa "$root/usr/share/"
# modules CARD KERNEL_FOLDER MODULE...: into the archive, with what they need, in load order
modules() {
	card=$1 k=$2
	shift 2
	release=$(basename "$k"/lib/modules/*)
	depmod -b "$k" "$release"
	for m in "$@"; do
		modprobe -d "$k" -S "$release" --show-depends --ignore-install "$m" 2>/dev/null |
			sed -n 's/^insmod \([^ ]*\).*/\1/p'
	done | awk '!seen[$0]++' >"$tmp/order"
	mkdir -p "$root/snd/$card"
	while read -r f; do
		cp "$f" "$root/snd/$card/"
		case $f in *.xz) unxz "$root/snd/$card/$(basename "$f")" ;; esac
		basename "$f" .xz >>"$root/snd/$card/list"
	done <"$tmp/order"
}
modules hda "$G" snd-hda-codec-generic snd-hda-intel
modules ac97 "$G" snd-intel8x0
# The first Debian kernel with the driver is in backports: 100 MB for make test-guests.
V=$here/build/guest-backports
if { [ "${LONG:-}" ] || [ -s "$V/vmlinuz" ]; } &&
	SUITE=bookworm-backports KERNEL=linux-image-amd64 "$here/scripts/make-initramfs" "$V"; then
	modules virtio "$V" virtio_pci virtio_snd
else
	skip "virtio" "no kernel with its driver; make test-guests fetches one"
	V=
fi
cat >"$root/snd/start" <<'EOS'
# . /snd/start CARD: loads the driver, opens the mixer
for m in $(cat /snd/$1/list); do insmod /snd/$1/$m 2>/dev/null; done
n=0
until [ -e /dev/snd/pcmC0D0p ] || [ $n = 50 ]; do n=$((n + 1)); sleep 0.1; done
cat /proc/asound/cards
for c in Master PCM Front Line Capture; do amixer -q sset $c 100% unmute cap 2>/dev/null; done
for c in Master PCM Front Line Capture; do amixer -q sset $c 100% unmute 2>/dev/null; done
amixer -q sset Line cap 2>/dev/null
# half a second of buffer: a busy host must not matter
D="-D plughw:0 --buffer-time=500000"
echo "sound is" ready
EOS

# ---- the judge ------------------------------------------------------------------
cat >"$tmp/tone.py" <<'EOS'
# tone.py make FILE HZ SECONDS | hear FILE HZ SECONDS...: each part between silences is one tone
import array, math, sys, wave
RATE = 48000
def make(path, hz, secs):
    s = array.array('h')
    for i in range(int(RATE * secs)):
        v = int(16000 * math.sin(2 * math.pi * hz * i / RATE))
        s.extend((v, v))
    w = wave.open(path, 'wb')
    w.setparams((2, 2, RATE, 0, 'NONE', ''))
    w.writeframes(s.tobytes())
def parts(x):
    """[start, end) of what sounds; 100 ms of silence part it."""
    out = []
    for i, v in enumerate(x):
        if v > 800 or v < -800:
            if out and i - out[-1][1] < RATE // 10:
                out[-1][1] = i + 1
            else:
                out.append([i, i + 1])
    return out
def judge(name, x, hz, secs):
    cross = [i for i in range(1, len(x)) if x[i - 1] < 0 <= x[i]]
    periods = [b - a for a, b in zip(cross, cross[1:])]
    got = (len(cross) - 1) * RATE / (cross[-1] - cross[0])
    bad = [p for p in periods if abs(p - RATE / hz) > 1 + RATE / hz * slack]
    print(f'{name}: {got:.2f} Hz for {len(x) / RATE:.3f} s, periods {min(periods)}..{max(periods)}')
    return abs(got / hz - 1) < slack and not bad and -max(0.05, secs * slack) < len(x) / RATE - secs < 0.5
path, hz = sys.argv[2], float(sys.argv[3])
slack = 0.001 if path.endswith('.wav') else 0.05	# a host's clock is followed
if sys.argv[1] == 'make':
    make(path, hz, float(sys.argv[4]))
    sys.exit()
data = open(path, 'rb').read()
s = array.array('h', data[44:len(data) & ~3] if data[:4] == b'RIFF' else data[:len(data) & ~3])
good = True
for side in (0, 1):
    x = s[side::2]
    found = parts(x)
    print(f'{len(x)} frames, {len(found)} parts')
    good &= len(found) == len(sys.argv[4:])
    for (a, b), secs in zip(found, sys.argv[4:]):
        good &= judge('left right'.split()[side], x[a:b], hz, float(secs))
sys.exit(not good)
EOS
python3 "$tmp/tone.py" make "$root/snd/tone.wav" 440 3
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$tmp/sound.gz"
for k in $G $V; do cat "$k/initrd.gz" "$tmp/sound.gz" >"$tmp/$(basename "$k").gz"; done

# guest NAME CARD BACKEND STEPS...: boots, loads the driver of CARD, does the steps.
guest() {
	name=$1 card=$2 backend=$3
	shift 3
	case $card in virtio) k=$V ;; *) k=$G ;; esac
	mic=tone
	[ "$backend" != sdl ] || mic=on
	LIMIT=100 expect_exit "$name" 0 "sound is ready" $HVRUN --engine soft --display none -m 512M \
		--net none --sound "$card,mic=$mic,backend=$backend" --kernel "$k/vmlinuz" \
		--initrd "$tmp/$(basename "$k").gz" --append "console=ttyS0 nonet quiet" --timeout 90s \
		--fail-on "Kernel panic" --fail-on "BUG:" --expect "hvrun# " \
		--send ". /snd/start $card\n" --expect "sound is ready" --expect "hvrun# " "$@"
}
# hears NAME FILE SECONDS...: tones of 440 Hz without a hole
hears() {
	name=$1 file=$2
	shift 2
	python3 "$tmp/tone.py" hear "$file" 440 "$@" >"$tmp/out" 2>&1 && ok "$name" ||
		not_ok "$name" "$(cat "$tmp/out")"
}
for card in hda ac97 ${V:+virtio}; do
	guest "$card: Debian's driver finds it" $card "wav:$tmp/$card.wav" \
		--send 'aplay -q $D /snd/tone.wav && echo played" it"\n' --expect "played it" \
		--send 'arecord -q $D -f S16_LE -c 2 -r 48000 -d 1 /tmp/r && aplay -q $D /tmp/r && echo heard" it"\n' \
		--expect "heard it"
	hears "$card: a tone of 440 Hz, and a recorded one, without a hole" "$tmp/$card.wav" 3 1
done
# A boot sector beeps: 8254 channel 2 in mode 3, 1193182 Hz / 2712, for half a second of ticks.
cat >"$tmp/beep.s" <<'EOS'
	.code16
	.org 0
	mov	$0xb6, %al
	out	%al, $0x43
	mov	$2712, %ax
	out	%al, $0x42
	mov	%ah, %al
	out	%al, $0x42
	in	$0x61, %al
	or	$3, %al
	out	%al, $0x61
	xor	%ax, %ax
	mov	%ax, %es
	mov	$9, %cx
	sti
1:	mov	%es:(0x46c), %ax
2:	hlt
	cmp	%es:0x46c, %ax
	je	2b
	loop	1b
	in	$0x61, %al
	and	$0xfc, %al
	out	%al, $0x61
	mov	$7, %al
	out	%al, $0xf4
3:	hlt
	jmp	3b
	.org 510
	.word 0xaa55
EOS
as --32 -o "$tmp/beep.o" "$tmp/beep.s" && objcopy -O binary "$tmp/beep.o" "$tmp/beep.img" &&
	truncate -s 1M "$tmp/beep.img"
LIMIT=40 expect_exit "speaker: a boot sector beeps" 200 "" $HVRUN --engine soft --display none \
	--sound "none,backend=wav:$tmp/beep.wav" --debug-exit 0xf4 --timeout 30s "$tmp/beep.img"
hears "speaker: half a second of 440 Hz" "$tmp/beep.wav" 0.45

# SDL's files move 1024 frames each 21 ms and something, a clock that is a few percent off.
export SDL_AUDIODRIVER=disk SDL_DISKAUDIOFILE="$tmp/sdl.raw" SDL_DISKAUDIOFILEIN="$tmp/mic.raw"
python3 "$tmp/tone.py" make "$tmp/mic.wav" 440 60
tail -c +45 "$tmp/mic.wav" >"$tmp/mic.raw"
guest "hda through SDL" hda sdl \
	--send 'aplay -q $D /snd/tone.wav && arecord -q $D -f S16_LE -c 2 -r 48000 -d 1 /tmp/r; echo went" on"\n' \
	--expect "went on" --send 'aplay -q $D /tmp/r && sleep 1 && echo heard" it"\n' --expect "heard it"
hears "440 Hz to SDL, and from its microphone, without a hole" "$tmp/sdl.raw" 3 0.9

# ---- real sound servers, with a sink that goes nowhere, whose monitor is recorded ----
# A sound server does not wait: this is about a host at normal load, so it goes before others.
first=""
nice -n -15 true 2>/dev/null && first="nice -n -15"
# through SERVER RECORDER...: a tone that the guest plays to it, in three tries
through() {
	server=$1
	shift
	plain=$HVRUN
	HVRUN="$first $HVRUN"
	for try in 1 2 3; do
		$first "$@" >"$tmp/heard.raw" 2>"$tmp/recorder.log" &
		rec=$!
		pids="$pids $rec"
		guest "hda through $server" hda sdl \
			--send 'aplay -q $D /snd/tone.wav; sleep 2; echo played" it"\n' \
			--expect "played it" >"$tmp/guest.out"
		sleep 1
		kill $rec
		wait $rec 2>/dev/null
		hears "440 Hz arrive at $server without a hole" "$tmp/heard.raw" 3 >"$tmp/judged"
		grep -q "^ok" "$tmp/judged" && break
		busy=$(awk -v n="$(nproc)" '{ print ($1 > n * 1.5) }' /proc/loadavg)
	done
	HVRUN=$plain
	cat "$tmp/guest.out"
	if grep -q "^ok" "$tmp/judged" || [ "$busy" = 0 ]; then
		cat "$tmp/judged"
		sed 's/^/# /' "$tmp/out"
	else
		skip "440 Hz through $server" "the host is too busy, load $(cut -d ' ' -f 1 /proc/loadavg): $(tail -n 1 "$tmp/out")"
	fi
}

pulse_audio() {
	command -v pulseaudio >/dev/null && command -v parec >/dev/null || {
		skip "440 Hz through PulseAudio" "no pulseaudio or parec (packages pulseaudio, pulseaudio-utils)"
		return
	}
	mkdir -m 700 "$tmp/pulse"
	export PULSE_RUNTIME_PATH="$tmp/pulse" PULSE_STATE_PATH="$tmp/pulse" HOME="$tmp"
	export PULSE_SERVER="unix:$tmp/pulse/native" SDL_AUDIODRIVER=pulseaudio
	$first pulseaudio -n --daemonize=no --exit-idle-time=-1 --disable-shm=yes \
		-L "module-native-protocol-unix socket=$tmp/pulse/native auth-anonymous=1" \
		-L "module-null-sink sink_name=nowhere rate=48000 format=s16le channels=2" \
		>"$tmp/pulse.log" 2>&1 &
	pids="$pids $!"
	within 20 pactl info >/dev/null 2>&1 || {
		skip "440 Hz through PulseAudio" "it does not start: $(tail -n 1 "$tmp/pulse.log")"
		return
	}
	through PulseAudio parec -d nowhere.monitor --raw --format=s16le --rate=48000 --channels=2
}

pipewire_has() { pw-cli ls Node 2>/dev/null | grep -q "\"$1\""; }
# pw-record writes files only: this one hands its file on when it is ended.
cat >"$tmp/record" <<'EOS'
pw-record --target nowhere -P '{ stream.capture.sink = true }' --rate 48000 --channels 2 \
	--format s16 "$1" &
trap "kill $!; wait $!; cat $1; exit 0" TERM
wait
EOS
pipe_wire() {
	for c in pipewire wireplumber pw-record dbus-daemon; do
		command -v $c >/dev/null && continue
		skip "440 Hz through PipeWire" "no $c (packages pipewire, wireplumber, dbus)"
		return
	done
	export XDG_CONFIG_HOME="$tmp/config" XDG_STATE_HOME="$tmp/state" SDL_AUDIODRIVER=pipewire
	mkdir -p "$tmp/config/pipewire/pipewire.conf.d"
	cat >"$tmp/config/pipewire/pipewire.conf.d/nowhere.conf" <<-'EOS'
	context.objects = [
	  { factory = adapter
	    args = { factory.name = support.null-audio-sink, node.name = nowhere
	             media.class = Audio/Sink, object.linger = true, audio.rate = 48000
	             audio.position = [ FL FR ] } } ]
	EOS
	DBUS_SESSION_BUS_ADDRESS="unix:path=$tmp/bus"
	export DBUS_SESSION_BUS_ADDRESS
	dbus-daemon --session --nofork --nopidfile --address="$DBUS_SESSION_BUS_ADDRESS" \
		>"$tmp/dbus.log" 2>&1 &
	pids="$pids $!"
	$first pipewire >"$tmp/pipewire.log" 2>&1 &
	pids="$pids $!"
	within 10 test -S "$XDG_RUNTIME_DIR/pipewire-0"
	$first wireplumber >>"$tmp/pipewire.log" 2>&1 &
	pids="$pids $!"
	within 20 pipewire_has nowhere || {
		skip "440 Hz through PipeWire" "it does not start: $(tail -n 1 "$tmp/pipewire.log")"
		return
	}
	through PipeWire sh "$tmp/record" "$tmp/pw.wav"
}
pulse_audio
pipe_wire
exit 0
