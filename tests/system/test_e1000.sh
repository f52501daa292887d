#!/bin/sh
# Debian's e1000 driver on the 82540EM: DHCP, a file in each direction by checksum.
. "$(dirname "$0")/lib.sh"
G=$here/build/guest-full
KERNEL=linux-image-amd64 "$here/scripts/make-initramfs" "$G" || { not_ok "guest kernel"; exit 1; }
# no zero bytes: busybox posts a file as a string
head -c 15000000 /dev/urandom | base64 -w0 >"$tmp/blob"
sum=$(sha256sum <"$tmp/blob" | cut -c 1-64)
cat >"$tmp/server.py" <<'EOS'
import hashlib, http.server, sys
class H(http.server.SimpleHTTPRequestHandler):
    def do_POST(self):
        h = hashlib.sha256(self.rfile.read(int(self.headers['Content-Length']))).hexdigest()
        self.send_response(200); self.end_headers(); self.wfile.write(('got ' + h + '\n').encode())
http.server.HTTPServer(('127.0.0.1', 18475), H).serve_forever()
EOS
(cd "$tmp" && exec python3 server.py >/dev/null 2>&1) &
pids="$pids $!"
LIMIT=160 expect_exit "e1000: DHCP, 20 MB down and 20 MB up by checksum" 0 "got $sum" $HVRUN \
	--engine soft --display none -m 512M --net user,model=e1000 --kernel "$G/vmlinuz" \
	--initrd "$G/initrd.gz" --append "console=ttyS0" --timeout 150s --fail-on "Kernel panic" \
	--fail-on "Tx Unit Hang" --expect "Link is Up" --expect "hvrun# " \
	--send 'wget -q -O /tmp/blob http://10.0.2.2:18475/blob; sha256sum /tmp/blob\n' \
	--expect "$sum" \
	--send 'wget -q -O - --post-file=/tmp/blob http://10.0.2.2:18475/x\n' --expect "got $sum"
