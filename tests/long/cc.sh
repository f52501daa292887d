#!/bin/sh
# The compiler, and a line for each object file: package, name, checksum.
gcc "$@"
rc=$?
[ -n "${LONG_PACKAGE:-}" ] || exit $rc
out=
while [ $# -gt 1 ]; do
	[ "$1" = -o ] && out=$2
	shift
done
case "$out" in
*.o | *.lo)
	[ ! -s "$out" ] ||
		echo "long: object $LONG_PACKAGE $out $(sha256sum <"$out" | cut -c 1-16)"
	;;
esac
exit $rc
