#!/bin/bash
# How the price of a command grows with what there already is: images in the store, records of runs, steps of a
# file, runs at once. Every line has the CPU time and the memory of one call, and how many times more CPU ten
# times as much takes: 10 is in proportion, 100 is its square. CPU time is less of the other work on the machine
# than seconds are, but not free of it. Needs root, runc, Go and python3, and 1 GB of disk.
# usage: bench/growth.sh [PART...]    parts: images records steps runs
#   MOST=N bounds the numbers of images and records (default 10000 and 100000), RUNS=N those of runs at once (100),
#   STEPS=N those of steps that run one after the other (1000)
set -eu -o pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] && parts=" $* " || parts=" images records steps runs "
dir=/tmp/growth.$$
mkdir "$dir"
finish() {
	awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l
	rm -rf "$dir"
}
trap finish EXIT
bench/install.sh "$dir/stepexec"
go run ./fixtures/cmd/fixtures busybox "$dir/busybox"
mkdir "$dir/ws"

# Copies of records under other names, and the CPU time and memory of a call.
cat >"$dir/growth.py" <<'PY'
import datetime, hashlib, json, os, subprocess, sys

last = {}

def measure(what, n, *command):
    devnull = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=devnull, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f'growth: {" ".join(command)}: {errors.decode()[-500:]}')
    cpu = usage.ru_utime + usage.ru_stime
    slope = ''
    if what in last:
        before, amount = last[what]
        slope = f'{(cpu / before) ** (2.302585 / __import__("math").log(n / amount)):.1f}'
    last[what] = cpu, n
    print(f'{what:<28} {n:>7} {cpu * 1000:>9.0f} {usage.ru_maxrss / 1024:>9.1f} {slope:>8}', flush=True)

def images(root, n):
    folder = os.path.join(root, 'images')
    name = next(f for f in os.listdir(folder) if f.endswith('.json'))
    with open(os.path.join(folder, name)) as f:
        record = json.load(f)
    record['pulled'] = '2020-01-01T00:00:00Z'
    for i in range(len(os.listdir(folder)), n):
        record['reference'] = f'example.com/image:{i}'
        key = hashlib.sha256(f'{record["reference"]}\0{record["platform"]}'.encode()).hexdigest()
        with open(os.path.join(folder, key + '.json'), 'w') as f:
            json.dump(record, f)

def names(folder):
    return [name for name in os.listdir(folder) if not name.startswith('.')]

def records(root, n):
    folder = os.path.join(root, 'history')
    there = names(folder)
    with open(os.path.join(folder, there[0], 'record.json')) as f:
        record = json.load(f)
    for i in range(len(there), n):
        run = f'copy{i:06d}'
        record['run'] = record['summary']['run'] = run
        began = 1577836800 + 60 * i # one a minute since the beginning of 2020
        record['started'] = datetime.datetime.fromtimestamp(began, datetime.timezone.utc).isoformat()
        os.mkdir(os.path.join(folder, run))
        path = os.path.join(folder, run, 'record.json')
        with open(path, 'w') as f:
            json.dump(record, f)
        os.utime(path, (began, began))
        open(os.path.join(folder, run, 'log.ndjson'), 'w').close()

def steps(file, n, rest):
    with open(file, 'w') as f:
        f.write('matrix: {A: [%s]}\nsteps:\n' % ', '.join(map(str, range(max(1, n // 1000)))))
        for i in range(min(n, 1000)):
            f.write('  - {name: s%d, image: "oci:../busybox", %scommands: ["true"]}\n' % (i, rest))

def runs(n, *command):
    crowd = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(n)]
    cpu, memory, failed = 0, 0, 0
    for process in crowd:
        _, status, usage = os.wait4(process.pid, 0)
        cpu, memory, failed = cpu + usage.ru_utime + usage.ru_stime, max(memory, usage.ru_maxrss), failed + (status != 0)
    if failed:
        sys.exit(f'growth: {failed} of {n} runs failed')
    print(f'{"runs at once, of each":<28} {n:>7} {cpu / n * 1000:>9.0f} {memory / 1024:>9.1f}', flush=True)

def main(part, dir, most):
    stepexec, root = dir + '/stepexec', dir + '/root'
    one = dir + '/ws/one.yml'
    steps(one, 1, '')
    run = [stepexec, 'run', '--root', root, one]
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
    if part == 'images':
        for n in (10, 100, 1000, 10000):
            if n <= most:
                images(root, n)
                measure('run, images in the store', n, *run)
                measure('images', n, stepexec, 'images', '--root', root)
                measure('prune that removes nothing', n, stepexec, 'prune', '--root', root)
        measure('prune of all images', min(n, most), stepexec, 'prune', '--root', root, '--all')
    elif part == 'records':
        settings = dir + '/settings.yml'
        with open(settings, 'w') as f:
            f.write('history: {keep: 10000000, max_age: 10000d, max_size: 1TB}\n')
        for n in (10, 100, 1000, 10000, 100000):
            if n <= most:
                records(root, n)
                measure('run, records of runs', n, *run, '--settings', settings)
                measure('history -n 10', n, stepexec, 'history', '--root', root, '-n', '10')
                measure('history', n, stepexec, 'history', '--root', root)
                measure('logs latest', n, stepexec, 'logs', '--root', root, 'latest')
                measure('logs of one', n, stepexec, 'logs', '--root', root, names(root + '/history')[0])
    elif part == 'steps':
        for name, rest in (('chain', ''), ('at once', 'depends_on: [], ')):
            for n in (10, 100, 1000, 10000):
                file = f'{dir}/ws/{n}.yml'
                steps(file, n, rest)
                measure('validate, ' + name, n, stepexec, 'validate', file)
                measure('dry run, ' + name, n, stepexec, 'run', '--root', root, '--dry-run', file)
                if n <= most if name == 'chain' else n < 1000:
                    measure('run, ' + name, n, stepexec, 'run', '--root', root, file)
        steps(dir + '/ws/500.yml', 500, 'depends_on: [], ')
        measure('run, at once', 500, stepexec, 'run', '--root', root, dir + '/ws/500.yml')
    else:
        for n in (1, 10, 100, 500):
            if n <= most:
                runs(n, *run)

main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
PY

printf '%-28s %7s %9s %9s %8s\n' command number "CPU ms" MiB "by ten"
for part in $parts; do
	case $part in
	images) most=${MOST:-10000} ;;
	records) most=${MOST:-100000} ;;
	runs) most=${RUNS:-100} ;;
	steps) most=${STEPS:-1000} ;;
	*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	esac
	python3 "$dir/growth.py" "$part" "$dir" "$most"
	rm -rf "$dir/root"
done
