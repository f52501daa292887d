# SPDX-License-Identifier: MIT
"""What the benchmarks share: how hvrun and QEMU are started, the guests, the boots."""
import os
import select
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GUEST = os.path.join(TOP, 'build/guest')
KERNEL = f'{GUEST}/vmlinuz'
HVRUN = os.environ.get('HVRUN', os.path.join(TOP, 'build/release/hvrun'))
BENCH_GUEST = os.path.join(TOP, os.environ.get('B', 'build/release'), 'bench-guest')
SECTOR = bytes.fromhex('31c08ed8be147cac84c07407baf803eeebf5f4') + b'\xf4' + b'sector ran\r\n\0'


def spawn(argv):
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL)


def until(proc, mark, limit):
    """Seconds from now until @mark appears; None: it did not."""
    start, seen = time.monotonic(), b''
    while time.monotonic() - start < limit:
        if not select.select([proc.stdout], [], [], 0.2)[0]:
            continue
        data = os.read(proc.stdout.fileno(), 65536)
        if not data:
            return None
        seen = (seen + data)[-8192:]
        if mark in seen:
            return time.monotonic() - start
    return None


def waited(pid):
    """Seconds that the busiest thread of @pid, the guest's processor, waited for one of ours."""
    best = (0, 0)
    try:
        for task in os.listdir(f'/proc/{pid}/task'):
            with open(f'/proc/{pid}/task/{task}/schedstat') as f:
                ran, wait = map(int, f.read().split()[:2])
            best = max(best, (ran, wait))
    except OSError:
        pass
    return best[1] / 1e9


def once(argv, mark, limit):
    """Seconds from the start of @argv until it prints @mark, without those it waited for a
    free processor here; None: it did not."""
    start = time.monotonic()
    p = spawn(argv)
    took = until(p, mark, limit)
    took = None if took is None else time.monotonic() - start - waited(p.pid)
    p.kill()
    p.wait()
    return took


def qemu(mem, *extra):
    return ['qemu-system-x86_64', '-accel', 'tcg', '-m', str(mem),
            '-object', f'memory-backend-memfd,id=guestram,size={mem}M',
            '-machine', 'pc,memory-backend=guestram', '-nodefaults', '-no-user-config',
            '-display', 'none', '-no-reboot', '-serial', 'stdio', *extra]


def hvrun(*extra):
    return [HVRUN, '--engine', 'soft', '--display', 'none', '--serial', 'stdio', *extra]


def boots(tmp):
    """{name: (mark, seconds at most, hvrun's command, QEMU's)}"""
    sector = os.path.join(tmp, 'sector.img')
    with open(sector, 'wb') as f:
        f.write(SECTOR.ljust(510, b'\0') + b'\x55\xaa' + bytes(1 << 20))
    initrd = f'{GUEST}/initrd.gz'
    append = 'console=ttyS0 nonet'
    debian = os.path.join(TOP, 'build/debian.img')
    net = ('-netdev', 'user,id=n', '-device', 'virtio-net-pci,netdev=n,romfile=',
           '-device', 'virtio-rng-pci')
    kernel = (hvrun('-m', '256M', '--kernel', KERNEL, '--initrd', initrd, '--append', append),
              qemu(256, '-kernel', KERNEL, '-initrd', initrd, '-append', append, *net))
    return {
        'sector': (b'sector ran', 30,
                   hvrun('-m', '256M', '--discard', sector),
                   qemu(256, '-drive', f'file={sector},format=raw,if=virtio,snapshot=on')),
        'init': (b'Run /init as init process', 120, *kernel),
        'kernel': (b'hvrun-guest ready', 120, *kernel),
        'debian': (b'login:', 400,
                   hvrun('-m', '1G', '--discard', debian),
                   qemu(1024, '-drive', f'file={debian},format=raw,if=virtio,snapshot=on', *net)),
    }


def newc(entries):
    """A cpio archive ("newc") of (path, mode, content)."""
    out = bytearray()
    for i, (path, mode, data) in enumerate([*entries, ('TRAILER!!!', 0, b'')]):
        name = path.encode() + b'\0'
        fields = [i + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0]
        out += b'070701' + b''.join(b'%08x' % f for f in fields) + name
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def bench_initrd():
    """The benchmark guest as /init, busybox beside it; returns the archive's path."""
    subprocess.run([os.path.join(TOP, 'scripts/make-kernel'), GUEST], check=True)
    out = os.path.join(TOP, 'build/bench.cpio')
    with open(BENCH_GUEST, 'rb') as f, open('/bin/busybox', 'rb') as b:
        data = newc([('dev', 0o40755, b''), ('proc', 0o40755, b''), ('tmp', 0o41777, b''),
                     ('bin', 0o40755, b''), ('bin/busybox', 0o100755, b.read()),
                     ('init', 0o100755, f.read())])
    with open(out + '.tmp', 'wb') as f:
        f.write(data)
    os.rename(out + '.tmp', out)
    return out
