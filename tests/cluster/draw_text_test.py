# SPDX-License-Identifier: GPL-2.0-or-later
"""The family tree as text: lines fit, names are told apart, figures are those of the joins."""
import re
import sys
import unicodedata
import unittest

from sample import GIB, MIB, Image, Sample, evolved

TOOL = sys.argv.pop(1)


def width(line):
    return sum(0 if unicodedata.combining(c) else
               2 if unicodedata.east_asian_width(c) in 'WF' else 1 for c in line)


def chain(n):
    """Each image nearest to the one before it, ever farther: single linkage makes it n deep."""
    return Sample([Image('/srv/chain/disk-%04d.img' % i) for i in range(n)],
                  lambda i, j: sum(range(min(i, j), max(i, j))) * 65536 + 65536,
                  lambda i, j: 100 * GIB)


def balanced(n):
    """Pairs of pairs of pairs: as many levels as there can be."""
    return Sample([Image('/srv/b/disk-%04d.img' % i) for i in range(n)],
                  lambda i, j: (65536 << (i ^ j).bit_length()) if i != j else 0,
                  lambda i, j: 900 * GIB)


def hostile():
    names = [b'/i/a\n.img', b'/i/a\x1b[2J.img', b'/i/"quoted".img', b"/i/it's.img",
             b'/i/</script><script>alert(1)</script>.img', b'/i/\xff\xfe.img', b'/i/\xff.img',
             '/i/\u202egmi.exe'.encode(), '/i/\u2028.img'.encode(), b'/i/back\\x0aslash',
             b'/i/back\nslash', '/i/日本語のディスク.qcow2'.encode(), b'/i/&amp;<b>.img', b'-rf',
             b'/i/' + b'long' * 60 + b'.img', b'/i/' + b'song' * 60 + b'.img', b'/', b'x', b'x',
             b'x#2', b'/j/a\n.img']
    return Sample([Image(n) for n in names],
                  lambda i, j: 0 if i == j else (1 + abs(i - j)) * MIB, lambda i, j: GIB)


def draw(sample, columns, *flags):
    return sample.draw(TOOL, 'text', columns, *flags).decode().split('\n')[:-1]


class Text(unittest.TestCase):
    def check_fits(self, sample, columns, *flags):
        lines = draw(sample, columns, *flags)
        for line in lines:
            self.assertLessEqual(width(line), columns, line)
            self.assertTrue(line.isprintable(), ascii(line))
        return lines

    def test_400_images_fit_every_terminal_in_two_lines_an_image(self):
        short = evolved(400, lambda i: '/pool/%d/disk-%d.qcow2' % (i % 7, i // 2), roots=20)
        long = evolved(400, lambda i: '/pool/customer-%03d/production-database-server-%d.qcow2' %
                       (i % 50, i // 50), roots=60, strangers=0.3)
        for sample in short, long, chain(400), balanced(400):
            sample.make_plan()
            for columns in 60, 80, 120, 200:
                for flags in (), ('ascii',):
                    lines = self.check_fits(sample, columns, *flags)
                    self.assertLessEqual(len(lines), 2 * 400)
                self.check_fits(sample, columns, 'plan')

    def test_every_name_stands_once_and_is_whole_where_it_fits(self):
        sample = evolved(400, lambda i: '/pool/%d/disk-%d.qcow2' % (i % 7, i // 2), roots=20)
        expected = sorted(self.names(sample))
        self.assertEqual(len(set(expected)), 400)
        for columns in 60, 80, 120, 200:
            text = '\n'.join(draw(sample, columns))
            found = re.findall(r'(?:[0-6]/)?disk-[0-9]+\.qcow2', text)
            self.assertEqual(sorted(found), expected)

    @staticmethod
    def names(sample):
        """The rule again, the slow way."""
        paths = [i.path.decode().split('/') for i in sample.images]
        for path in paths:
            for count in range(1, len(path) + 1):
                if sum(p[-count:] == path[-count:] for p in paths) == 1:
                    break
            yield '/'.join(path[-count:])

    def test_cut_names_stay_different(self):
        sample = Sample([Image('/srv/%03d-%s.img' % (i, 'x' * 90)) for i in range(50)],
                        lambda i, j: abs(i - j) * MIB, lambda i, j: GIB)
        rows = [re.sub('^[^…]*…', '', line) for line in draw(sample, 60) if '…' in line]
        self.assertEqual(len(rows), 50)
        self.assertEqual(len({row.split('   ')[0] for row in rows}), 50)

    def test_a_chain_does_not_indent(self):
        rows = [line for line in draw(chain(400), 80) if 'disk-' in line]
        self.assertEqual(len(rows), 400)
        self.assertEqual({line.index('disk-') for line in rows}, {3})
        # image i joins the ones before it at the distance to image i - 1, which is i clusters
        self.assertRegex(rows[16], 'disk-0016.img +1 MiB different, 99.9% shared$')

    def test_a_balanced_tree_shows_its_depth_as_far_as_fits(self):
        wide = draw(balanced(16), 120)
        self.assertEqual([line.index('disk-') for line in wide if 'disk-' in line],
                         [3, 3, 5, 5, 5, 5, 7, 7, 5, 5, 7, 7, 7, 7, 9, 9])
        narrow = draw(balanced(512), 30)
        self.assertTrue(narrow[-1].startswith('» '))
        self.assertTrue(any('» disk-' in line for line in narrow))

    def test_identical_images_share_a_line_and_ties_are_siblings(self):
        names = 'abcdefg'
        table = {('a', 'b'): 0, ('c', 'd'): 2, ('c', 'e'): 2, ('d', 'e'): 2}

        def different(i, j):
            a, b = sorted((names[i], names[j]))
            return table.get((a, b), 4 if b in 'abcde' else 90) * MIB if a != b else 0

        def shared(i, j):
            return 0 if max(names[i], names[j]) > 'e' else 98 * MIB
        sample = Sample([Image('/x/' + n, 100 * MIB) for n in names], different, shared)
        self.assertEqual(draw(sample, 80), [
            '7 images, 700 MiB',
            '',
            'Family 1: 5 images, 500 MiB',
            '┬─ c      100 MiB of data',
            '├─ d        2 MiB different, 98% shared',
            '├─ e        2 MiB different, 98% shared',
            '└─ a = b    4 MiB different, 96% shared',
            '',
            'Unrelated: 2 disks, 200 MiB',
            '  f (100 MiB), g (100 MiB)'])

    def test_the_summary_begins_with_the_biggest_savings(self):
        images = [Image('/x/%s' % n, 10 * GIB, in_use=n == 'web2') for n in
                  ('gold', 'web1', 'web2', 'lvm')]
        images[3].fixed = 'block device'
        sample = Sample(images, lambda i, j: (GIB if 3 not in (i, j) else 20 * GIB) * (i != j),
                        lambda i, j: 9 * GIB if 3 not in (i, j) else 0)
        sample.plan = [(1, None, 10 * GIB, 0), (0, 0, GIB, 9 * GIB), (0, 0, 2 * GIB, 8 * GIB),
                       (3, None, 10 * GIB, 0)]
        lines = draw(sample, 80, 'plan')
        self.assertEqual(lines[:3], [
            '4 images, 40 GiB; as overlays 23 GiB: saves 17 GiB (43%)',
            '      9 GiB  web1 as overlay of gold',
            '      8 GiB  web2 as overlay of gold'])
        self.assertEqual(lines[-9:], [
            'Plan: 2 of 4 images become overlays, 23 GiB instead of 40 GiB',
            '  web1 → overlay of gold, 1 GiB instead of 10 GiB',
            '  web2 → overlay of gold, 2 GiB instead of 10 GiB',
            'Stay whole',
            '  gold (10 GiB, 2 on it)',
            'Left alone',
            '  lvm (block device)',
            'To carry it out (a dry run; then with --output DIR or --replace)',
            '  stemma rebase /x/gold /x/web1 /x/web2'])
        self.assertIn('└─ web2 (in use)', '\n'.join(lines))

    def test_many_overlays_are_counted_by_what_they_stand_on(self):
        def plan_of(n):
            images = [Image('/x/gold', GIB)] + [Image('/x/vm%d' % i, MIB, backing=0) for i in range(n)]
            images.append(Image('/x/far', MIB, backing_path='/z/gone.img'))
            sample = Sample(images, lambda i, j: MIB * (i != j), lambda i, j: GIB)
            sample.plan = ([(1, None, GIB, 0)] + [(2, 0, MIB, 0)] * n + [(2, None, MIB, 0)])
            lines = draw(sample, 80, 'plan')
            return lines[lines.index('Overlays already') + 1:]
        self.assertEqual(plan_of(2), ['  vm0 (on gold), vm1 (on gold), far (on /z/gone.img)'])
        self.assertEqual(plan_of(30), ['  30 on gold, 1 on images not looked at'])

    def test_hostile_names_are_harmless_and_different(self):
        sample = hostile()
        sample.make_plan()
        for columns in 20, 40, 80, 200:
            for flags in (), ('ascii', 'plan'), ('plan',):
                self.check_fits(sample, columns, *flags)
        text = '\n'.join(draw(sample, 400))
        for name in (r'i/a\x0a.img', r'j/a\x0a.img', r'a\x1b[2J.img', r'\xff\xfe.img',
                     r'back\\x0aslash', r'back\x0aslash', 'x#2', 'x#3', r'\xe2\x80\xaegmi.exe'):
            self.assertIn(name, text)

    def test_guests_with_several_disks_are_one_line(self):
        images = [Image('/x/web-a', guest='web'), Image('/x/web-b', guest='web'),
                  Image('/x/db', guest='db'), Image('/y/web-a', guest='web'),
                  Image('/y/web-b', guest='web')]
        sample = Sample(images, lambda i, j: MIB, lambda i, j: GIB,
                        leaves=[(0, 2), (2, 1), (3, 2)])
        text = '\n'.join(draw(sample, 80))
        self.assertIn('┬─ web (2 disks) at x/web-a', text)
        self.assertIn('├─ db (guest db)', text)
        self.assertIn('└─ web (2 disks) at y/web-a', text)

    def test_backing_files_are_shown(self):
        images = [Image('/x/base'), Image('/x/top', backing=0, backing_path='/x/base'),
                  Image('/x/far', backing_path='/z/gone.img')]
        text = '\n'.join(draw(Sample(images, lambda i, j: MIB, lambda i, j: GIB), 80))
        self.assertIn('├─ top (on base)', text)
        self.assertIn('└─ far (on /z/gone.img)', text)

    def test_nothing_and_one_image(self):
        self.assertEqual(draw(Sample([], None, None), 80), ['No images'])
        one = Sample([Image('/x/one', 3 * GIB)], None, None)
        one.matrix = False
        self.assertEqual(draw(one, 80), ['1 image, 3 GiB', '', 'Unrelated: 1 disk, 3 GiB',
                                         '  one (3 GiB)'])

    def test_colour_only_where_it_is_asked_for(self):
        sample = hostile()
        self.assertNotIn('\x1b', '\n'.join(draw(sample, 80)))
        coloured = '\n'.join(draw(sample, 80, 'colour'))
        self.assertEqual(re.sub('\x1b\\[[0-9]+m', '', coloured), '\n'.join(draw(sample, 80)))


unittest.main(verbosity=0)
