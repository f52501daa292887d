#!/bin/sh
# --help, the manual page and the README agree with the program.
. "$(dirname "$0")/lib.sh"

$HVRUN --help >"$tmp/help"
$HVRUN img --help >>"$tmp/help"
"$here/scripts/make-man" "$here/$HVRUN" >"$tmp/hvrun.1"
missing=""
for o in $(sed -n 's/^ .*\(--[a-z-]*\).*/\1/p' "$tmp/help"); do
	grep -qF -- "$(echo "$o" | sed 's/-/\\-/g')" "$tmp/hvrun.1" || missing="$missing $o"
done
[ -z "$missing" ] && ok "manual page has every option" || not_ok "manual page has every option" "$missing"

unknown=""
for o in $(grep -o -- '--[a-z][a-z-]*' "$here/README.md" | sort -u); do
	grep -qF -- "$o" "$tmp/help" || unknown="$unknown $o"
done
[ -z "$unknown" ] && ok "README names only options that exist" ||
	not_ok "README names only options that exist" "$unknown"

targets=""
for t in $(grep -oE '(`|^    )make [a-z-]+' "$here/README.md" | sed 's/.* //' | sort -u); do
	make -C "$here" -n "$t" >/dev/null 2>&1 || targets="$targets $t"
done
[ -z "$targets" ] && ok "README's make targets exist" || not_ok "README's make targets exist" "$targets"

if command -v man >/dev/null; then
	w=$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l "$tmp/hvrun.1" 2>&1 >/dev/null)
	[ -z "$w" ] && ok "manual page formats cleanly" || not_ok "manual page formats cleanly" "$w"
fi
