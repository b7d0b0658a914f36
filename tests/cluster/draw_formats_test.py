# SPDX-License-Identifier: GPL-2.0-or-later
"""The family tree as Newick, DOT and SVG, read back by parsers that know nothing of stemma."""
import json
import re
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree as xml

from sample import GIB, MIB, Image, Sample, evolved

TOOL = sys.argv.pop(1)
HOSTILE = [b'/i/a\n.img', b'/i/\x1b[2J.img', b'/i/"quoted\\N".img', b"/i/it's, (a):1;[x].img",
           b'/i/</text><script>alert(1)</script>', b'/i/\xff\xfe.img', '/i/\u202egmi'.encode(),
           '/i/\ufffe\uffff'.encode(), b'/i/&amp;&quot;\\', b'/i/]]>', b'/i/--><!--', b'x', b'x']


def hostile():
    return Sample([Image(n) for n in HOSTILE],
                  lambda i, j: 0 if i == j else (1 + abs(i - j) % 4) * MIB, lambda i, j: 20 * MIB)


def newick_parse(text):
    """(children or name, length) by the grammar, without recursion."""
    stack, at, done = [[]], 0, None
    while True:
        c = text[at]
        if c == '(':
            stack.append([])
            at += 1
            continue
        if c == "'":
            end = at + 1
            while text[end] != "'" or text[end + 1] == "'":
                end += 2 if text[end] == "'" else 1
            done, at = text[at + 1:end].replace("''", "'"), end + 1
        elif c == ')':
            done, at = stack.pop(), at + 1
        elif c == ',':
            at += 1
            continue
        elif c == ';':
            assert text[at + 1:] == '\n' and len(stack) == 1, text[at:]
            return stack[0]
        else:
            raise AssertionError('at %d: %r' % (at, text[at:at + 20]))
        length = re.compile(':([0-9]+(?:\\.5)?)').match(text, at)
        stack[-1].append((done, float(length[1]) if length else None))
        at = length.end() if length else at


def distances(tree):
    """Every two leaves: the way through the tree."""
    out, ways = {}, []
    for child, length in tree:
        below = {child: 0.0} if isinstance(child, str) else distances_into(child, out)
        ways.append({leaf: way + (length or 0) for leaf, way in below.items()})
    return out, ways


def distances_into(tree, out):
    ways = []
    for child, length in tree:
        below = {child: 0.0} if isinstance(child, str) else distances_into(child, out)
        ways.append({leaf: way + length for leaf, way in below.items()})
    for x in ways:
        for y in ways:
            if x is not y:
                for a, way in x.items():
                    for b, other in y.items():
                        out[a, b] = way + other
    return {leaf: way for x in ways for leaf, way in x.items()}


class Newick(unittest.TestCase):
    def test_the_way_from_leaf_to_leaf_is_the_distance_of_their_join(self):
        sample = evolved(80, lambda i: '/pool/disk%d' % i)
        found, _ = distances(newick_parse(sample.draw(TOOL, 'newick').decode()))
        want = {}
        for d, _, children in sample.joins:
            parts = [sample.leaves_below(c) for c in children]
            for x in parts:
                for y in parts:
                    if x is not y:
                        want.update({('disk%d' % a, 'disk%d' % b): float(d)
                                     for a in x for b in y})
        self.assertEqual(found, want)

    def test_hostile_names_are_quoted(self):
        tree = newick_parse(hostile().draw(TOOL, 'newick').decode())
        text, names = [tree], []
        while text:
            for child, _ in text.pop():
                names.append(child) if isinstance(child, str) else text.append(child)
        self.assertEqual(len(set(names)), len(HOSTILE))
        self.assertIn("it's, (a):1;[x].img", names)
        self.assertTrue(all(name.isprintable() or '\ufffe' in name for name in names))

    def test_nothing_and_one(self):
        self.assertEqual(Sample([], None, None).draw(TOOL, 'newick'), b';\n')
        self.assertEqual(Sample([Image("/a'b")], None, None).draw(TOOL, 'newick'), b"'a''b';\n")


DOT_WORD = re.compile(r'"(?:[^"\\\n]|\\.)*"|[A-Za-z_][A-Za-z_0-9]*|-?[0-9.]+|->|[{}\[\];=,]')


def dot_words(text):
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        word = DOT_WORD.match(text, at)
        assert word, text[at:at + 60]
        yield word[0]
        at = word.end()


class Dot(unittest.TestCase):
    def test_leaves_joins_and_families_are_all_there(self):
        sample = evolved(60, lambda i: '/pool/disk%d' % i)
        sample.make_plan()
        text = sample.draw(TOOL, 'dot').decode()
        inside = [j for j, (d, s, c) in enumerate(sample.joins) if len(
            {sample.family[leaf] for leaf in sample.leaves_below(60 + j)}) == 1]
        self.assertEqual({int(x) for x in re.findall(r'^    n(\d+) \[', text, re.M)},
                         set(range(60)) | {60 + j for j in inside})
        self.assertEqual({(int(a), int(b)) for a, b in
                          re.findall(r'^    n(\d+) -> n(\d+) \[dir=none\]', text, re.M)},
                         {(60 + j, c) for j in inside for c in sample.joins[j][2]})
        self.assertEqual(text.count('subgraph cluster_'), sample.n_families)
        self.assertEqual(text.count('style=dashed'), sum(p[0] == 0 for p in sample.plan))

    def test_hostile_names_stay_inside_their_quotes(self):
        for sample in hostile(), Sample([], None, None), Sample([Image('/a')], None, None):
            text = sample.draw(TOOL, 'dot').decode()
            words = list(dot_words(text))
            self.assertEqual(words[:3], ['digraph', 'kinship', '{'])
            self.assertEqual(words.count('{'), words.count('}'))
            self.assertEqual(words[-1], '}')
            if shutil.which('dot'):
                subprocess.run(['dot', '-Tcanon'], input=text.encode(), check=True,
                               stdout=subprocess.DEVNULL)


class Svg(unittest.TestCase):
    def draw(self, sample):
        data = sample.draw(TOOL, 'svg')
        if shutil.which('xmllint'):
            subprocess.run(['xmllint', '--noout', '--nonet', '-'], input=data, check=True)
        return xml.fromstring(data.decode())

    def names(self, root):
        return [''.join(e.itertext()).split('\0')[-1] if len(e) == 0 else e[0].tail
                for e in root.iter('{http://www.w3.org/2000/svg}text')
                if e.get('class') == 'name']

    def test_every_leaf_has_a_name_in_a_row_of_its_own_inside_the_picture(self):
        sample = evolved(400, lambda i: '/pool/disk%d' % i)
        root = self.draw(sample)
        self.assertEqual(sorted(self.names(root)), sorted('disk%d' % i for i in range(400)))
        rows = sorted(int(e.get('y')) for e in root.iter('{http://www.w3.org/2000/svg}text')
                      if e.get('class') == 'name')
        self.assertTrue(all(b - a >= 16 for a, b in zip(rows, rows[1:])))
        self.assertLess(rows[-1], int(root.get('height')))
        for path in root.iter('{http://www.w3.org/2000/svg}path'):
            for x in re.findall(r'[MH](-?\d+)', path.get('d')):
                self.assertTrue(0 <= int(x) <= int(root.get('width')))

    def test_hostile_names_are_text(self):
        root = self.draw(hostile())
        self.assertEqual(len(set(self.names(root))), len(HOSTILE))
        self.assertIn('</text><script>alert(1)</script>', ' '.join(
            n.replace('script>', 'script>') for n in root.itertext()))
        self.assertEqual({e.tag.split('}')[1] for e in root.iter()},
                         {'svg', 'title', 'style', 'rect', 'text', 'g', 'path', 'circle'})

    def test_nothing_and_one(self):
        self.assertEqual(self.names(self.draw(Sample([], None, None))), [])
        self.assertEqual(self.names(self.draw(Sample([Image('/a')], None, None))), ['a'])


class Command(unittest.TestCase):
    def test_a_shell_reads_the_paths_back_from_the_command(self):
        paths = HOSTILE[:-1] + [b'/plain/a.img', b'-rf', b'/it\'s', b'/$(reboot)`x`!*?', b'/a b',
                                b'/back\\n', '/é日'.encode(), b'/tab\there', b'~', b'/q"', b'#x']
        sample = Sample([Image(p) for p in paths], lambda i, j: MIB, lambda i, j: GIB)
        sample.plan = [(1, None, GIB, 0)] + [(0, 0, MIB, GIB)] * (len(paths) - 1)
        page = sample.draw(TOOL, 'html').decode()
        data = re.search('id="data">(.*?)</script>', page, re.S)[1]
        command = json.loads(data)['command']
        self.assertTrue(re.sub('[\ufffe\uffff]', '', command).isprintable())
        self.assertTrue(command.startswith('stemma rebase -- '))
        done = subprocess.run(['bash', '-c', 'printf "%s\\0" ' + command[len('stemma rebase -- '):]],
                              capture_output=True, check=True)
        self.assertEqual(done.stdout.split(b'\0')[:-1], paths)


unittest.main(verbosity=0)
