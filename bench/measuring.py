# SPDX-License-Identifier: GPL-2.0-or-later
"""Running programs beside each other, and what the figures were taken on."""
import json
import os
import platform
import statistics
import subprocess

INTERESTING_FLAGS = ('sse4_1', 'avx2', 'avx512f', 'avx512vl', 'avx512_vpopcntdq', 'sha_ni', 'asimd', 'sha2')


def machine():
    model, flags = platform.machine(), set()
    with open('/proc/cpuinfo') as f:
        for line in f:
            key, _, value = line.partition(':')
            if key.strip() == 'model name':
                model = value.strip()
            if key.strip() in ('flags', 'Features'):
                flags.update(value.split())
    return {
        'cpu': model,
        'cpu_flags': [flag for flag in INTERESTING_FLAGS if flag in flags],
        'cpus': len(os.sched_getaffinity(0)),
        'memory_mib': os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') >> 20,
        'kernel': platform.release(),
        'load_average': os.getloadavg(),
    }


class Runner:
    """Runs commands under bench-measure, which counts in all processes they start."""

    def __init__(self, measure, folder):
        self.measure = measure
        self.result = os.path.join(folder, 'measured.json')

    def __call__(self, *command, output=None, accept=(0,), env=None):
        """What the command used; with output=[] its standard output is appended there."""
        done = subprocess.run([self.measure, self.result, *map(str, command)], env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode not in accept:
            raise RuntimeError('%s: exit %d: %s' % (' '.join(map(str, command[:4])), done.returncode,
                                                    done.stderr.decode(errors='replace')[-500:]))
        if output is not None:
            output.append(done.stdout)
        with open(self.result) as f:
            return json.load(f)


def alternate(pairs, *runs):
    """Calls the functions in turn, `pairs` times; the order turns round each time, so that what one
    leaves behind does not always meet the same one. A list of results for each."""
    results = [[] for _ in runs]
    for n in range(pairs):
        order = range(len(runs)) if n % 2 == 0 else reversed(range(len(runs)))
        for i in order:
            results[i].append(runs[i]())
    return results


def median(results, key):
    return statistics.median(r[key] for r in results)


def ratio(above, below, key):
    """The median of the ratios of the pairs."""
    return statistics.median(a[key] / max(b[key], 1e-9) for a, b in zip(above, below))
