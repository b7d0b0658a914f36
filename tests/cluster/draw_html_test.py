# SPDX-License-Identifier: GPL-2.0-or-later
"""The family tree as a page: opened in headless Chromium, read, folded, searched and measured."""
import html.parser
import json
import os
import re
import sys
import tempfile
import unittest

import browser
from sample import GIB, MIB, Image, Sample, evolved

TOOL = sys.argv.pop(1)
if browser.find() is None:
    print('chromium is not installed')
    sys.exit(77)

NASTY = [b'/i/</script><script>window.pwned=1</script>.img', b'/i/<img src=x onerror=pwned=1>',
         b'/i/"onmouseover="pwned=1', b'/i/\xff\xfe.img', '/i/\u202egmi\u2028.img'.encode(),
         b'/i/<!--<script>', b'/i/a\n\x1b[2J.img', b"/i/'+pwned+'", b'/i/&lt;b&gt;', b'/i/\\u003c',
         b'/i/]]>', b'/i/' + b'long-' * 45 + b'.img']


class Parts(html.parser.HTMLParser):
    """What elements and policies a page has, by another parser than the browser's."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.policy, self.data, self.inside = {}, None, '', None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if attrs.get('http-equiv') == 'Content-Security-Policy':
            self.policy = attrs['content']
        self.inside = attrs.get('id') if tag == 'script' else None

    def handle_data(self, data):
        if self.inside == 'data':
            self.data += data


def fleet(n):
    sample = evolved(n, lambda i: '/pool/%d/disk-%d.qcow2' % (i % 7, i // 2), roots=max(3, n // 12))
    sample.images[1].in_use = 1
    sample.make_plan()
    sample.problems = [(0, '/pool/bad.qcow2', 'format', 'the L1 table lies outside the file')]
    return sample


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = browser.Browser(browser.find())
        cls.folder = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.folder.cleanup()

    def show(self, sample, width=1280, dark=False):
        path = os.path.join(self.folder.name, 'page.html')
        with open(path, 'wb') as f:
            f.write(sample.draw(TOOL, 'html'))
        self.browser.open(path, width, dark=dark)
        self.assertEqual(self.browser.complaints(), [])
        self.assertEqual(self.browser.requests(), ['file://' + path])
        self.assertEqual(self.value('document.documentElement.dataset.ready'), 'yes')
        self.assertLessEqual(self.value('document.scrollingElement.scrollWidth'), width)
        self.assertEqual(self.value('innerWidth'), width)

    def value(self, expression):
        return self.browser.value(expression)

    def texts(self, selector):
        return self.value('[...document.querySelectorAll(%s)].map((e) => e.textContent)' %
                          json.dumps(selector))

    def test_400_images_fit_a_desk_and_a_hand(self):
        sample = fleet(400)
        for width, dark in (1280, False), (390, True):
            self.show(sample, width, dark)
            self.assertEqual(len(set(self.texts('#families .name'))), 400)
            self.assertEqual(self.value('''[...document.querySelectorAll('.kin')].every((kin) =>
                Math.abs(kin.querySelector('svg').getBoundingClientRect().height -
                         kin.querySelector('table').getBoundingClientRect().height) < 1)'''), True)
            self.assertLessEqual(self.value(
                "document.querySelector('.matrix-scroll').getBoundingClientRect().right"), width)

    def test_on_paper_the_brackets_still_meet_their_rows(self):
        self.show(fleet(24))
        self.browser.call('Emulation.setEmulatedMedia', media='print')
        self.browser.call('Emulation.setDeviceMetricsOverride', width=690, height=900,
                          deviceScaleFactor=1, mobile=False)
        heights = self.value("""[...document.querySelectorAll('.kin')].map((kin) =>
            [kin.querySelector('svg').getBoundingClientRect().height,
             kin.querySelector('table').getBoundingClientRect().height])""")
        self.browser.call('Emulation.setEmulatedMedia', media='')
        for drawing, table in heights:
            self.assertAlmostEqual(drawing, table, delta=1)

    def test_figures_are_those_of_the_joins(self):
        names = 'abcd'
        sample = Sample([Image('/x/' + n, 100 * MIB) for n in names],
                        lambda i, j: (0 if {i, j} == {0, 1} else 4 * MIB * max(i, j)) * (i != j),
                        lambda i, j: 96 * MIB if max(i, j) < 3 else 0)
        self.show(sample)
        rows = self.value("""[...document.querySelectorAll('.kin tbody tr')].map((tr) =>
            [...tr.cells].map((td) => td.textContent))""")
        self.assertEqual(rows, [['a', '100 MiB', '', ''], ['b', '100 MiB', 'identical', '100%'],
                                ['c', '100 MiB', '8 MiB', '92%']])
        self.assertEqual(self.texts('.alone .name'), ['d'])
        self.assertEqual(self.texts('.tile b'), ['4', '400 MiB', '1', '1'])

    def test_keys_reach_everything(self):
        sample = fleet(24)
        self.show(sample)
        rows = len(self.texts('.kin tbody tr'))
        self.value("document.querySelector('.join').focus()")
        self.browser.key('Enter', 13)
        folded = len(self.texts('.kin tbody tr'))
        self.assertLess(folded, rows)
        self.assertEqual(self.value("document.activeElement.getAttribute('aria-expanded')"),
                         'false')
        self.browser.key('Enter', 13)
        self.assertEqual(len(self.texts('.kin tbody tr')), rows)
        self.value("document.querySelector('.matrix-scroll canvas').focus()")
        self.browser.key('ArrowRight', 39)
        told = self.texts('.pair')[0]
        order = [self.image(sample, n) for n in self.texts('#families .name')]
        i, j = order[0], order[1]
        self.assertIn(self.shown(sample, i) + ' and ' + self.shown(sample, j), told)
        if sample.different(i, j):
            d, s = sample.different(i, j), sample.shared(i, j)
            part = re.search(r'([0-9.]+)% shared', told)
            self.assertAlmostEqual(float(part[1]), 100 * s / (d + s), delta=.51)
        self.assertEqual(self.browser.complaints(), [])

    @staticmethod
    def shown(sample, i):
        return '/'.join(sample.images[i].path.decode().split('/')[-2:])

    def image(self, sample, name):
        return next(i for i, image in enumerate(sample.images)
                    if image.path.decode().endswith('/' + name))

    def test_search_marks_and_unfolds(self):
        sample = fleet(60)
        self.show(sample)
        want = sum('disk-1' in i.path.decode() for i in sample.images)
        self.value("document.getElementById('fold').click()")
        self.value("""(() => { const s = document.getElementById('search');
            s.value = 'DISK-1'; s.dispatchEvent(new Event('input')); })()""")
        self.assertEqual(self.texts('#found'), ['%d matches' % want])
        self.assertEqual(len(self.texts('tr.hit, li.hit')), want)

    def test_the_plan_and_its_command_are_those_given(self):
        images = [Image(b"/x/it's gold", 10 * GIB), Image('/x/web1', 10 * GIB)]
        sample = Sample(images, lambda i, j: GIB * (i != j), lambda i, j: 9 * GIB)
        sample.plan = [(1, None, 10 * GIB, 0), (0, 0, GIB, 9 * GIB)]
        self.show(sample)
        self.assertEqual(self.value("""[...document.querySelectorAll('.plan tbody tr')].map((tr) =>
            [...tr.cells].map((td) => td.textContent))"""),
            [['web1', "overlay of it's gold", '10 GiB', '1 GiB', '9 GiB'],
             ["it's gold", 'stays whole', '10 GiB', '10 GiB', '–']])
        self.assertEqual(self.texts('.command pre'),
                         ["stemma rebase -- $'/x/it\\'s gold' /x/web1"])

    def test_hostile_names_are_only_text(self):
        sample = Sample([Image(n, guest=n) for n in NASTY],
                        lambda i, j: 0 if i == j else (1 + abs(i - j) % 3) * MIB,
                        lambda i, j: 20 * MIB)
        sample.images[0].fixed = NASTY[0]
        sample.make_plan()
        sample.problems = [(0, NASTY[0], 'io', '<script>pwned=1</script>')]
        parts = Parts(sample.draw(TOOL, 'html').decode())
        self.assertEqual((parts.tags['script'], parts.tags.get('img')), (2, None))
        self.assertTrue(parts.policy.startswith("default-src 'none'"))
        self.assertNotIn('unsafe', parts.policy)
        self.assertEqual(len(json.loads(parts.data)['images']), len(NASTY))
        self.assertIsNone(re.search('[<>&\u2028\u2029]', parts.data))
        for width in 1280, 390:
            self.show(sample, width)
            self.assertIsNone(self.value('window.pwned'))
            self.assertEqual(self.value("document.querySelectorAll('script, img').length"), 2)
            names = self.texts('#families .name')
            self.assertEqual(len(set(names)), len(NASTY))
            self.assertIn(r'\xff\xfe.img', names)
            self.assertIn(r'a\x0a\x1b[2J.img', names)

    def test_none_one_and_thousands(self):
        one = Sample([Image('/x/one')], lambda i, j: 0, lambda i, j: GIB)
        none = Sample([], None, None)
        many = Sample([Image('/x/%d' % i) for i in range(2)], lambda i, j: 1, lambda i, j: 1)
        n = 2000
        many.images = [Image('/x/disk-%d' % i) for i in range(n)]
        many.leaves = [(i, 1) for i in range(n)]
        many.family, many.n_families = [0] * n, 1
        many.joins = [(i * 65536 + 1, GIB, [n + i - 1 if i else 0, i + 1]) for i in range(n - 1)]
        many.matrix = False
        for sample in none, one, many:
            self.show(sample, 390)
        self.assertLess(len(self.texts('.kin tbody tr')), n)
        self.value("document.getElementById('unfold').click()")
        self.assertEqual(len(self.texts('.kin tbody tr')), n)
        self.assertIn('--matrix', self.texts('#matrix-box')[0])


unittest.main(verbosity=0)
