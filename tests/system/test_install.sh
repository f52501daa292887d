#!/bin/sh
# make install, uninstall and deb; what desktops and shells make of the files.
. "$(dirname "$0")/lib.sh"
if [ "$B" != build/release ]; then
	skip "install" "installs the release build"
	exit 0
fi
cd "$here" || exit 1
share=$tmp/root/usr/share
app=org.hvrun.hvrun

# tool NAME PACKAGE TEST: skips TEST when the tool is missing.
tool() { command -v "$1" >/dev/null || { skip "$3" "$1 is missing (package $2)"; return 1; }; }
# check NAME COMMAND...: ok when it succeeds, else its output.
check() {
	name=$1
	shift
	if "$@" >"$tmp/out" 2>&1; then ok "$name"; else not_ok "$name" "$(tail -n 15 "$tmp/out")"; fi
}

make -s install DESTDIR="$tmp/root" PREFIX=/usr >"$tmp/log" 2>&1 || not_ok "make install" "$(tail "$tmp/log")"
[ -s "$share/locale/ja/LC_MESSAGES/hvrun.mo" ] && ok "translations installed" || not_ok "translations installed"
version=$("$tmp/root/usr/bin/hvrun" --version)
[ "${version%% *}" = hvrun ] && ok "program installed" || not_ok "program installed"
grep -q '^.TH HVRUN' "$share/man/man1/hvrun.1" && ok "manual page installed" || not_ok "manual page installed"

# ---- the desktop --------------------------------------------------------------
tool desktop-file-validate desktop-file-utils "desktop entry is valid" &&
	check "desktop entry is valid" desktop-file-validate "$share/applications/$app.desktop"
tool appstreamcli appstream "AppStream data is valid" && {
	check "AppStream data is valid" appstreamcli validate --no-net "$share/metainfo/$app.metainfo.xml"
	check "AppStream data fits the tree" appstreamcli validate-tree --no-net "$tmp/root"
}
grep -q "release version=\"${version#* }\"" "$share/metainfo/$app.metainfo.xml" &&
	ok "AppStream knows this release" || not_ok "AppStream knows this release" "$version"
tool rsvg-convert librsvg2-bin "icons of all sizes" && {
	bad=
	for n in 16 22 24 32 48 64 128 256 512; do
		got=$(od -An -j 16 -N 8 -t u1 "$share/icons/hicolor/${n}x$n/apps/$app.png" | tr -s ' ')
		[ "$got" = " 0 0 $((n / 256)) $((n % 256)) 0 0 $((n / 256)) $((n % 256))" ] || bad="$bad $n:$got"
	done
	[ -z "$bad" ] && ok "icons of all sizes" || not_ok "icons of all sizes" "$bad"
}
[ "$(sed -n 's/^StartupWMClass=//p' "$share/applications/$app.desktop")" = $app ] &&
	grep -q "WMCLASS\", \"$app\"" ui/*.c && ok "the window carries the entry's name" ||
	not_ok "the window carries the entry's name"

# Every kind of file that hvrun opens leads to a type that the entry names.
tool update-mime-database shared-mime-info "file types lead to hvrun" && {
	cp /usr/share/mime/packages/freedesktop.org.xml "$share/mime/packages/"
	update-mime-database "$share/mime" >"$tmp/out" 2>&1
	types=";$(sed -n 's/^MimeType=//p' "$share/applications/$app.desktop")"
	bad=
	for e in raw-disk-image img iso qcow2 vdi vmdk vhd vhdx ova hvm vfd; do
		found=
		for t in $(sed -n "s/^[0-9]*:\(.*\):\*\.$e\$/\1/p" "$share/mime/globs2"); do
			case $types in *";$t;"*) found=$t ;; esac
		done
		[ "$found" ] || bad="$bad .$e"
	done
	[ -z "$bad" ] && ok "file types lead to hvrun" || not_ok "file types lead to hvrun" "$bad"
	rm -r "$share/mime"
}

# ---- the shells ---------------------------------------------------------------
# all_options NAME FILE: every long option of --help stands in FILE, one a line.
all_options() {
	missing=
	for o in $($HVRUN --help | sed -nE 's/^ +(-., )?(--[a-z-]+).*/\2/p'); do
		grep -qx -- "$o" "$2" || missing="$missing $o"
	done
	[ -z "$missing" ] && ok "$1" || not_ok "$1" "missing:$missing"
}
# bash_says WORDS...: what bash offers for the last word.
bash_says() {
	bash --norc -c '. "$0"; COMP_WORDS=(hvrun "$@") COMP_CWORD=$#; _hvrun
		[ ${#COMPREPLY[@]} = 0 ] || printf "%s\n" "${COMPREPLY[@]}"' \
		"$share/bash-completion/completions/hvrun" "$@"
}
mkdir -p "$tmp/data/hvrun/machines"
: >"$tmp/data/hvrun/machines/machine one.hvm"
: >"$tmp/map.img"
tool bash bash "bash completes" && {
	bash_says -- >"$tmp/words" 2>&1
	all_options "bash knows all options" "$tmp/words"
	got=$(bash_says --display = w; bash_says --serial f; bash_says img conv; bash_says img convert -O vhdx
		bash_says --kernel x; cd "$tmp"; bash_says im; bash_says doct; bash_says list --js
		XDG_DATA_HOME=$tmp/data bash_says ma; XDG_DATA_HOME=$tmp/data bash_says edit m)
	want=$(printf '%s\n' window file: convert vhdx img doctor --json 'machine one' map.img 'machine one')
	[ "$got" = "$want" ] && ok "bash completes values and commands" ||
		not_ok "bash completes values and commands" "$got"
}
tool zsh zsh "zsh completes" && {
	cat >"$tmp/z" <<'EOS'
	zmodload zsh/zpty
	zpty z zsh -f -i
	zpty -w z "fpath=($1 \$fpath); PS1=; autoload -Uz compinit; compinit -u -D; print rea''dy"
	zpty -r -m z out '*ready*' || exit 1
	zpty -n -w z "hvrun --screensh"$'\t'
	zpty -r -m z out '*ot-at-exit*' && print completed
EOS
	zsh -n "$share/zsh/site-functions/_hvrun" 2>"$tmp/out" &&
		timeout 20 zsh -f "$tmp/z" "$share/zsh/site-functions" 2>&1 | grep -q '^completed' &&
		ok "zsh completes" || not_ok "zsh completes" "$(cat "$tmp/out")"
}
tool fish fish "fish completes" && {
	HOME=$tmp timeout 20 fish --no-config -c "source $share/fish/vendor_completions.d/hvrun.fish
		complete -C 'hvrun --'" 2>&1 | cut -f 1 >"$tmp/words"
	all_options "fish knows all options" "$tmp/words"
	got=$(HOME=$tmp XDG_DATA_HOME=$tmp/data fish --no-config -c "
		source $share/fish/vendor_completions.d/hvrun.fish
		complete -C 'hvrun edit m'; complete -C 'hvrun list --j'" 2>&1)
	echo "$got" | grep -q "^machine one" && echo "$got" | grep -q "^--json" && ok "fish completes machines" ||
		not_ok "fish completes machines" "$got"
}

make -s uninstall DESTDIR="$tmp/root" PREFIX=/usr >"$tmp/log" 2>&1
left=$(find "$tmp/root" -type f)
[ -z "$left" ] && ok "uninstall leaves nothing" || not_ok "uninstall leaves nothing" "$left"

# ---- the Debian package ---------------------------------------------------------
tool dpkg-shlibdeps dpkg-dev "Debian package" || exit 0
deb=$(scripts/make-deb "$tmp/deb" 2>"$tmp/log") || not_ok "make deb" "$(tail "$tmp/log")"
mkdir -p "$tmp/deb/again"
cmp -s "$deb" "$(scripts/make-deb "$tmp/deb/again")" && ok "package builds, twice the same" ||
	not_ok "package builds, twice the same"
if tool lintian lintian "package passes lintian"; then
	lintian --fail-on error,warning "$deb" >"$tmp/out" 2>&1 && ok "package passes lintian" ||
		not_ok "package passes lintian" "$(cat "$tmp/out")"
fi
tool fakeroot fakeroot "package installs and is removed" || exit 0
dpkg_in() { fakeroot dpkg --root="$tmp/sys" --log=/dev/null --force-depends "$@" >"$tmp/out" 2>&1; }
mkdir -p "$tmp/sys/var/lib/dpkg/info" "$tmp/sys/var/lib/dpkg/updates"
: >"$tmp/sys/var/lib/dpkg/status"
dpkg_in -i "$deb" && [ "$("$tmp/sys/usr/bin/hvrun" --version)" = "$version" ] &&
	dpkg_in -r hvrun && [ ! -e "$tmp/sys/usr/bin/hvrun" ] && ok "package installs and is removed" ||
	not_ok "package installs and is removed" "$(cat "$tmp/out")"
