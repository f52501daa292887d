# SPDX-License-Identifier: MIT
"""`scripts/bench cpu`: one static guest program (tests/bench) natively, in hvrun's
software CPU and in QEMU TCG, interleaved, and boots; times, ratios and verdicts.

Each round runs every row once in each place: the program itself, then one boot of the
same kernel with the program as /init for each engine.  Times come from the guest's
clock; each is checked against this computer's between the begin and the end line on the
serial port.  The time that the processor's thread spent waiting for a free processor
here is subtracted, so that other load does the least harm; do not trust it blindly.
"""
import argparse
import json
import math
import os
import select
import statistics
import subprocess
import sys
import time

import bench_common as bc

# Row: (limit against native, factor over QEMU that it must reach, group)
INT, FP, SYS = (2.5, 1.0, 'int'), (2.0, 10.0, 'fp'), (None, 2.0, 'sys')
OTHER = (None, 1.0, 'other')
ROWS = {
    'alu': INT, 'ldst': INT, 'core': INT, 'interp': INT, 'icall': INT, 'fib38': INT,
    'chase16k': INT, 'chase32m': INT, 'memcpy': OTHER, 'movsb': OTHER, 'atomic': OTHER,
    'nbody': FP, 'matmul': FP, 'sse2int': FP, 'sse2dbl': FP, 'avx2': FP, 'x87': FP,
    'getppid': OTHER, 'forkexec': SYS, 'fault': SYS, 'pipe': SYS,
    'sha256': INT, 'gzip': INT, 'shell': OTHER,
}
BOOTS = {'sector': ('SeaBIOS to boot sector', 0.6), 'init': ('Debian kernel to /init', 0.6),
         'debian': ('Debian disk to login', 0.5)}
NATIVE, HVRUN, QEMU = 'native', 'hvrun', 'QEMU'


class Failed(Exception):
    pass


# ---- one run -----------------------------------------------------------------

def lines_of(proc, limit):
    """Lines of @proc's output, each with the time at which it arrived."""
    end, rest = time.monotonic() + limit, b''
    while True:
        left = end - time.monotonic()
        if left <= 0:
            raise Failed(f'{proc.args[0]}: no more output within {limit} s')
        if not select.select([proc.stdout], [], [], left)[0]:
            continue
        data = os.read(proc.stdout.fileno(), 65536)
        now = time.monotonic()
        if not data:
            raise Failed(f'{proc.args[0]} ended before the benchmarks did')
        *whole, rest = (rest + data).split(b'\n')
        for line in whole:
            yield line.decode(errors='replace').strip('\r'), now


def collect(proc, limit, where):
    """{row: {ns, sum, wait, host}}; None for a row that the processor lacks."""
    got, began, wait = {}, 0, 0
    for line, now in lines_of(proc, limit):
        word = line.split()
        if line == 'bench done':
            return got
        if not word:
            continue
        if word[0] == 'begin':
            began, wait = now, bc.waited(proc.pid)
        elif word[0] == 'end' and len(word) == 4:
            got[word[1]] = {'s': int(word[2]) / 1e9, 'sum': word[3], 'host': now - began,
                            'wait': max(0, bc.waited(proc.pid) - wait)}
        elif word[0] == 'lacks':
            got[word[1]] = None
        elif word[0] in ('failed:', 'unknown') or 'Kernel panic' in line:
            raise Failed(f'{where}: {line}')
    return got


def command(where, also, names, work, initrd):
    args = [f'--work={work:g}', *names]
    if where == NATIVE:
        return [bc.BENCH_GUEST, *args]
    append = 'console=ttyS0 quiet panic=-1 -- ' + ' '.join(args)
    kernel = ['-kernel', bc.KERNEL, '-initrd', initrd, '-append', append]
    if where == QEMU:
        return bc.qemu(512, '-cpu', 'max', *kernel)
    cmd = bc.hvrun('-m', '512M', '--kernel', bc.KERNEL, '--initrd', initrd, '--append', append)
    if where != HVRUN:
        cmd[0] = also[where]
    return cmd


def run_once(argv, where, limit):
    proc = bc.spawn(argv)
    try:
        return collect(proc, limit, where)
    finally:
        proc.kill()
        proc.wait()


# ---- many runs ---------------------------------------------------------------

def measure(names, places, also, args, initrd):
    """{row: {place: [result, ...]}}"""
    table = {n: {p: [] for p in places} for n in names}
    for i in range(args.rounds):
        for place in places:
            start = time.monotonic()
            got = run_once(command(place, also, names, args.work, initrd), place, 600)
            if args.verbose:
                print(f'round {i + 1}: {place} {time.monotonic() - start:.1f} s',
                      file=sys.stderr, flush=True)
            for n in names:
                if n not in got:
                    raise Failed(f'{place}: no result of {n}')
                if got[n]:
                    table[n][place].append(got[n])
    return table


def used(r):
    return max(r['s'] - r['wait'], r['s'] * 0.05)


def middle(results):
    return statistics.median(used(r) for r in results) if results else None


def spread(results):
    """Half of the distance between slowest and fastest, of the median."""
    if len(results) < 2:
        return 0
    t = [used(r) for r in results]
    return (max(t) - min(t)) / 2 / statistics.median(t)


def complaints(table):
    """Rows whose checksums differ, and runs whose clock went wrong."""
    bad = []
    for name, row in table.items():
        sums = {p: {r['sum'] for r in res} for p, res in row.items() if res}
        if len(set().union(*sums.values())) > 1:
            bad.append(f'{name}: DIFFERENT results: ' +
                       ', '.join(f'{p} {"/".join(sorted(s))}' for p, s in sums.items()))
        for p, res in row.items():
            for r in res:
                if abs(r['host'] - r['s']) > 0.02 + 0.03 * r['host'] + r['wait']:
                    bad.append(f'{name}: {p} says {r["s"]:.3f} s, but {r["host"]:.3f} s '
                               'passed here')
    return bad


def geomean(values):
    return math.exp(statistics.fmean(map(math.log, values))) if values else None


def boot_rows(wanted, rounds):
    """[(name, title, limit, hvrun times, QEMU times)]"""
    import tempfile
    rows = []
    with tempfile.TemporaryDirectory() as tmp:
        table = bc.boots(tmp)
        for name in wanted:
            mark, limit, ours, peer = table[name]
            got = [[], []]
            for _ in range(rounds):
                for i, argv in enumerate((ours, peer)):
                    took = bc.once(argv, mark, limit)
                    if took is None:
                        raise Failed(f'{name}: {argv[0]} did not reach {mark.decode()!r}')
                    got[i].append(took)
            rows.append((name, *BOOTS[name], *got))
    return rows


# ---- what is printed ----------------------------------------------------------

def num(v, digits=3):
    return '-' if v is None else f'{v:.{digits}f}'


def ratio(a, b):
    return a / b if a and b else None


def summary(table):
    """[(row, {place: s}, hvrun/native, QEMU/hvrun, spread)]"""
    out = []
    for name, row in table.items():
        m = {p: middle(res) for p, res in row.items()}
        out.append((name, m, ratio(m.get(HVRUN), m.get(NATIVE)),
                    ratio(m.get(QEMU), m.get(HVRUN)),
                    max((spread(res) for res in row.values()), default=0)))
    return out


def cells(head, rows, markdown):
    if markdown:
        print('| ' + ' | '.join(head) + ' |')
        print('|---|' + '---:|' * (len(head) - 1))
        for r in rows:
            print('| ' + ' | '.join(r) + ' |')
        return
    width = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    for r in [head, *rows]:
        print('  '.join(c.ljust(w) if i == 0 else c.rjust(w)
                        for i, (c, w) in enumerate(zip(r, width))))


def show(rows, boots, places, markdown):
    extra = [p for p in places if p not in (NATIVE, HVRUN, QEMU)]
    head = ['program', 'native s', 'hvrun s', 'QEMU s', 'hvrun/native', 'QEMU/hvrun', 'spread']
    head += [f'{p} s' for p in extra] + [f'{p}/hvrun' for p in extra]
    body = []
    for name, m, to_native, faster, spr in rows:
        r = [name, num(m.get(NATIVE)), num(m.get(HVRUN)), num(m.get(QEMU)), num(to_native, 2),
             num(faster, 2), f'{spr * 100:.0f} %']
        r += [num(m[p]) for p in extra] + [num(ratio(m[p], m.get(HVRUN)), 2) for p in extra]
        body.append(r)
    if body:
        cells(head, body, markdown)
    if boots:
        print()
        cells(['boot', 'hvrun s', 'QEMU s', 'hvrun/QEMU', 'target'],
              [[title, num(statistics.median(a)), num(statistics.median(b)),
                num(statistics.median(a) / statistics.median(b), 2), f'{limit:g}']
               for _, title, limit, a, b in boots], markdown)


def verdicts(rows, boots, full):
    """[(met, text)]"""
    out, short = [], []
    mean = geomean([f for _, _, _, f, _ in rows if f])
    if mean:
        text = f'geometric mean of the programs: {mean:.2f} times as fast as QEMU TCG'
        out.append((mean >= 3, text + ' (target 3)') if full else (True, text))
    for name, _, to_native, faster, _ in rows:
        limit, least, _ = ROWS[name]
        if faster and faster < least:
            short.append(f'{name} {faster:.2f} of {least:g} times QEMU')
        if limit and to_native and to_native > limit:
            short.append(f'{name} {to_native:.2f} times native, target {limit:g}')
    for name, _, limit, a, b in boots:
        r = statistics.median(a) / statistics.median(b)
        if r > limit:
            short.append(f'boot {name} {r:.2f} of QEMU, target {limit:g}')
    out.append((not short, 'every row meets its target' if not short else
                'short: ' + '; '.join(short)))
    return out


def write_json(path, table, boots, places):
    doc = {'places': places, 'rows': table,
           'boots': {n: {'hvrun': a, 'qemu': b} for n, _, _, a, b in boots}}
    with open(path, 'w') as f:
        json.dump(doc, f, indent=1)


def parse(argv):
    ap = argparse.ArgumentParser(prog='scripts/bench cpu', description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('names', nargs='*', help='rows, also comma-separated (default: all): ' +
                    ' '.join([*ROWS, *BOOTS]))
    ap.add_argument('-n', '--rounds', type=int, default=3, help='rounds (default 3)')
    ap.add_argument('--work', type=float, default=100, help='percent of the work (100)')
    ap.add_argument('--also', action='append', default=[], metavar='PATH',
                    help='another hvrun to compare with; may be repeated')
    ap.add_argument('--without', action='append', default=[], choices=[NATIVE, QEMU],
                    help='leave this place out')
    ap.add_argument('--json', metavar='FILE', help='write every single result to FILE')
    ap.add_argument('--markdown', action='store_true', help='print the tables as Markdown')
    ap.add_argument('-v', '--verbose', action='store_true', help='tell what runs')
    args = ap.parse_args(argv)
    args.names = [n for w in args.names for n in w.split(',') if n] or [*ROWS, *BOOTS]
    unknown = [n for n in args.names if n not in ROWS and n not in BOOTS]
    if unknown:
        ap.error(f'no row {", ".join(unknown)}; there are: {" ".join([*ROWS, *BOOTS])}')
    if args.rounds < 1 or args.work <= 0:
        ap.error('--rounds and --work must be positive')
    return args


def main(argv):
    args = parse(argv)
    also = {f'also{i + 1}': p for i, p in enumerate(args.also)}
    places = [p for p in (HVRUN, *also, QEMU, NATIVE) if p not in args.without]
    names = [n for n in args.names if n in ROWS]
    subprocess.run(['make', '-s', '-C', bc.TOP, 'bench-guest'], check=True)
    table, boots = {}, []
    try:
        if names:
            table = measure(names, places, also, args, bc.bench_initrd())
        boots = boot_rows([n for n in args.names if n in BOOTS], args.rounds)
    except Failed as e:
        sys.exit(f'scripts/bench: {e}')
    rows = summary(table)
    show(rows, boots, places, args.markdown)
    if args.json:
        write_json(args.json, table, boots, places)
    print()
    if QEMU in places:
        for met, text in verdicts(rows, boots, set(names) == set(ROWS)):
            print(('+ ' if met else '- ') + text)
    bad = complaints(table)
    for b in bad:
        print('! ' + b)
    return 1 if bad else 0
