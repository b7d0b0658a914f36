# SPDX-License-Identifier: GPL-2.0-or-later
"""Families of made-up images, clustered here and not by stemma, for the tests of the drawings."""
import random
import subprocess

NONE = 0xFFFFFFFF
REBASE, ROOT, KEEP, FIXED = range(4)
MIB = 1 << 20
GIB = 1 << 30


def hexed(text):
    if text is None:
        return '-'
    if isinstance(text, str):
        text = text.encode()
    return text.hex() or '-'


class Image:
    def __init__(self, path, data=GIB, allocated=None, **more):
        self.path = path if isinstance(path, bytes) else path.encode()
        self.data = data
        self.allocated = data if allocated is None else allocated
        self.format = more.get('format', 'qcow2')
        self.virtual = more.get('virtual', 10 * GIB)
        self.read = more.get('read', 0)
        self.cached = more.get('cached', 0)
        self.in_use = more.get('in_use', 0)
        self.backing = more.get('backing')
        self.backing_path = more.get('backing_path')
        self.guest = more.get('guest')
        self.fixed = more.get('fixed')

    def line(self):
        return ' '.join(str(x) for x in (
            'image', hexed(self.path), self.format, self.virtual, self.data, self.read,
            self.allocated, int(self.cached), int(self.in_use),
            '-' if self.backing is None else self.backing, hexed(self.backing_path),
            hexed(self.guest), hexed(self.fixed)))


class Sample:
    """images; different(i, j) and shared(i, j) of leaves; leaves are runs of images."""

    def __init__(self, images, different, shared, leaves=None, threshold=0.9):
        self.images = images
        self.different, self.shared = different, shared
        self.leaves = leaves or [(i, 1) for i in range(len(images))]
        self.joins = []           # (different, shared, [children])
        self.plan = None          # (action, backing or None, overlay, saves) of each image
        self.matrix = True
        self.neighbours = None
        self.problems = []
        self.threshold = threshold
        self.cluster()
        self.find_families()

    def cluster(self):
        """Single linkage: the pairs by distance; equal distances join at once."""
        n = len(self.leaves)
        pairs = sorted((self.different(i, j), -self.shared(i, j), i, j)
                       for i in range(n) for j in range(i))
        part = list(range(n))     # of each leaf: the node it is in now
        members = {i: [i] for i in range(n)}
        at = 0
        while at < len(pairs):
            level = pairs[at][0]
            joined = {}           # node -> set of nodes it joins with at this level
            share = {}
            while at < len(pairs) and pairs[at][0] == level:
                _, less, i, j = pairs[at]
                at += 1
                a, b = part[i], part[j]
                if a == b:
                    continue
                group = joined.get(a, {a}) | joined.get(b, {b})
                for node in group:
                    joined[node] = group
                share[frozenset((a, b))] = -less
            done = set()
            for node in sorted(joined, key=lambda x: min(members[x])):
                if node in done:
                    continue
                group = sorted(joined[node], key=lambda x: min(members[x]))
                done |= set(group)
                new = n + len(self.joins)
                shared = max(v for key, v in share.items() if key <= set(group))
                self.joins.append((level, shared, group))
                members[new] = [m for g in group for m in members[g]]
                for m in members[new]:
                    part[m] = new

    def leaves_below(self, node):
        n = len(self.leaves)
        out, stack = [], [node]
        while stack:
            x = stack.pop()
            if x < n:
                out.append(x)
            else:
                stack += reversed(self.joins[x - n][2])
        return out

    def find_families(self):
        n = len(self.leaves)
        mark = list(range(n))
        for number, (d, s, children) in enumerate(self.joins):
            if d + s == 0 or s / (d + s) >= 1 - self.threshold:
                below = self.leaves_below(n + number)
                for leaf in below:
                    mark[leaf] = min(below)
        order = {}
        self.family = [order.setdefault(m, len(order)) for m in mark]
        self.n_families = len(order)

    def describe(self, matrix=True):
        n = len(self.images)
        out = ['images %d' % n, 'leaves %d' % len(self.leaves), 'families %d' % self.n_families]
        out += [i.line() for i in self.images]
        out += ['leaf %d %d %d' % (first, count, family)
                for (first, count), family in zip(self.leaves, self.family)]
        out += ['join %d %d %s' % (d, s, ' '.join(map(str, c))) for d, s, c in self.joins]
        if matrix and self.matrix and n and len(self.leaves) == n:
            out.append('matrix ' + ' '.join(
                str(f(i, j)) for f in (self.different, self.shared)
                for i in range(n) for j in range(n)))
        if self.plan:
            out += ['plan %d %s %d %d' % (a, '-' if b is None else b, o, s)
                    for a, b, o, s in self.plan]
        if self.neighbours:
            most = max(len(x) for x in self.neighbours)
            flat = [v for row in self.neighbours
                    for v in row + [('-', 0, 0)] * (most - len(row))]
            out.append('neighbours %d %s' % (most, ' '.join('%s %d %d' % v for v in flat)))
        out += ['problem %d %s %s %s' % (w, hexed(p), c, hexed(t)) for w, p, c, t in self.problems]
        return '\n'.join(out) + '\n'

    def make_plan(self):
        """Good enough for a drawing: each image on its nearest one before it in its family."""
        self.plan = []
        for i, image in enumerate(self.images):
            best = None
            for j in range(i):
                if image.fixed or self.images[j].fixed or self.family[i] != self.family[j]:
                    continue
                if best is None or self.shared(i, j) > self.shared(i, best):
                    best = j
            if image.fixed:
                self.plan.append((FIXED, None, image.allocated, 0))
            elif image.backing is not None:
                self.plan.append((KEEP, image.backing, image.allocated, 0))
            elif best is None:
                self.plan.append((ROOT, None, image.allocated, 0))
            else:
                own = min(image.allocated, image.data - self.shared(i, best) + 393216)
                self.plan.append((REBASE, best, own, image.allocated - own))

    def draw(self, tool, form, columns=100, *flags):
        done = subprocess.run([tool, form, str(columns), *flags],
                              input=self.describe(form in ('json', 'html')).encode(),
                              capture_output=True)
        if done.returncode != 0:
            raise AssertionError('%s: %s' % (form, done.stderr.decode()))
        return done.stdout


def evolved(n, names, seed=1, strangers=0.1, roots=4, chain=0.5, twins=0.05):
    """Images as fleets have them: clones of a few roots, edited again and again. Content is a set
    of generations' pieces; the distance of two images is what their pieces differ by."""
    rng = random.Random(seed)
    pieces, images = [], []
    fresh = 0

    def grow(of, size):
        nonlocal fresh
        out = dict(of)
        for _ in range(rng.randint(1, 4)):
            fresh += 1
            out[fresh] = max(1, int(size * rng.random())) * 65536
        for gone in rng.sample(sorted(out), min(len(out) - 1, rng.randint(0, 2))):
            if len(out) > 1 and out[gone] < 512 * MIB:
                del out[gone]
        return out

    for i in range(n):
        if i < roots or rng.random() < strangers:
            fresh += 1
            pieces.append({fresh: rng.randint(600, 9000) * MIB})
        elif rng.random() < twins:
            pieces.append(dict(pieces[rng.randrange(i)]))
        else:
            parent = i - 1 if rng.random() < chain else rng.randrange(i)
            pieces.append(grow(pieces[parent], rng.choice((20, 300, 4000))))
        images.append(Image(names(i), sum(pieces[-1].values()), virtual=20 * GIB))
    sizes = {}
    for p in pieces:
        sizes.update(p)
    total = [sum(p.values()) for p in pieces]
    sets = [frozenset(p) for p in pieces]
    memo = {}

    def shared(i, j):
        key = (i, j) if i < j else (j, i)
        if key not in memo:
            memo[key] = sum(sizes[x] for x in sets[i] & sets[j])
        return memo[key]

    def different(i, j):
        return max(total[i], total[j]) - shared(i, j)

    return Sample(images, different, shared)
