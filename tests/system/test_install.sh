#!/bin/sh
# make install puts the program and its manual page under DESTDIR.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")/../.." && pwd)
if [ "$B" != build/release ]; then
	skip "install" "installs the release build"
	exit 0
fi
make -s -C "$here" install DESTDIR="$tmp/root" PREFIX=/usr >"$tmp/log" 2>&1 || not_ok "make install" "$(tail "$tmp/log")"
[ -s "$tmp/root/usr/share/locale/ja/LC_MESSAGES/hvrun.mo" ] && ok "translations installed" ||
	not_ok "translations installed"
[ -x "$tmp/root/usr/bin/hvrun" ] && "$tmp/root/usr/bin/hvrun" --version | grep -q hvrun &&
	ok "program installed" || not_ok "program installed"
grep -q '^.TH HVRUN' "$tmp/root/usr/share/man/man1/hvrun.1" && ok "manual page installed" ||
	not_ok "manual page installed"
