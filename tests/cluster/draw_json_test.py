# SPDX-License-Identifier: GPL-2.0-or-later
"""The family tree as JSON: the contract of `stemma tree --json`."""
import base64
import json
import sys
import unittest

from sample import GIB, MIB, Image, Sample, evolved

TOOL = sys.argv.pop(1)


def draw(sample):
    return json.loads(sample.draw(TOOL, 'json').decode())


class Json(unittest.TestCase):
    def test_images_matrices_tree_families_and_plan_are_those_given(self):
        sample = evolved(60, lambda i: '/pool/%d.img' % i)
        sample.make_plan()
        sample.images[3].in_use = sample.images[3].cached = 1
        document = draw(sample)
        self.assertEqual(document['cluster_size'], 65536)
        for image, want in zip(document['images'], sample.images):
            self.assertEqual(
                [image[x] for x in ('path', 'format', 'virtual_size', 'data_bytes', 'read_bytes',
                                    'cached', 'allocated_bytes', 'in_use')],
                [want.path.decode(), want.format, want.virtual, want.data, want.read,
                 bool(want.cached), want.allocated, bool(want.in_use)])
        n = range(60)
        self.assertEqual(document['different_bytes'],
                         [[sample.different(i, j) for j in n] for i in n])
        self.assertEqual(document['shared_bytes'], [[sample.shared(i, j) for j in n] for i in n])
        self.assertEqual(self.shape(document['tree']), self.wanted(sample, len(sample.joins) + 59))
        self.assertEqual(document['families'],
                         [[i for i in n if sample.family[i] == f]
                          for f in range(sample.n_families)])
        self.assertEqual([(p['image'], p['backing'], p['overlay_bytes'], p['saves_bytes'])
                          for p in document['plan']],
                         [(i, b, o, s) for i, (a, b, o, s) in enumerate(sample.plan)])
        self.assertEqual(document['saves_bytes'], sum(p[3] for p in sample.plan))
        self.assertEqual((document['errors'], document['warnings']), ([], []))
        self.assertEqual((document['linkage'], document['threshold']), ('single', 0.9))

    def shape(self, node):
        if 'children' not in node:
            return node['image']
        return (node['different_bytes'], node['shared_bytes'],
                [self.shape(c) for c in node['children']])

    def wanted(self, sample, node):
        if node < len(sample.leaves):
            return node
        d, s, children = sample.joins[node - len(sample.leaves)]
        return d, s, [self.wanted(sample, c) for c in children]

    def test_what_was_not_asked_for_is_left_out(self):
        sample = Sample([Image('/a'), Image('/b')], lambda i, j: MIB, lambda i, j: GIB)
        sample.matrix = False
        sample.neighbours = [[(1, MIB, GIB)], []]
        document = draw(sample)
        for key in 'plan', 'saves_bytes', 'different_bytes', 'shared_bytes':
            self.assertNotIn(key, document)
        self.assertEqual(document['neighbours'],
                         [[{'image': 1, 'different_bytes': MIB, 'shared_bytes': GIB}], []])

    def test_nothing_and_one_image(self):
        document = draw(Sample([], None, None))
        self.assertEqual((document['images'], document['tree'], document['families']),
                         ([], None, []))
        one = Sample([Image('/a')], lambda i, j: 0, lambda i, j: GIB)
        self.assertEqual(draw(one)['tree'], {'image': 0})

    def test_a_guest_is_one_leaf(self):
        sample = Sample([Image('/a', guest='web'), Image('/b', guest='web'), Image('/c')],
                        lambda i, j: MIB, lambda i, j: GIB, leaves=[(0, 2), (2, 1)])
        self.assertEqual(draw(sample)['tree']['children'],
                         [{'guest': 'web', 'images': [0, 1]}, {'image': 2}])
        self.assertEqual(draw(sample)['families'], [[0, 1, 2]])

    def test_names_of_any_bytes_survive(self):
        names = [b'/\xff\xfe', '/\u202e\u2028"\\</script>\x01'.encode(), b'/plain']
        sample = Sample([Image(n) for n in names], lambda i, j: MIB, lambda i, j: GIB)
        sample.problems = [(0, b'/bad\xff', 'io', 'broken'), (1, '/w', 'in-use', 'writing')]
        document = draw(sample)
        first, second, third = document['images']
        self.assertEqual(base64.b64decode(first['path_b64']), names[0])
        self.assertEqual(second['path'].encode(), names[1])
        self.assertNotIn('path_b64', third)
        self.assertEqual(document['errors'][0]['code'], 'io')
        self.assertEqual(base64.b64decode(document['errors'][0]['path_b64']), b'/bad\xff')
        self.assertEqual(document['warnings'],
                         [{'path': '/w', 'code': 'in-use', 'message': 'writing'}])

    def test_a_tree_ten_thousand_deep_is_written_whole(self):
        n = 10000
        sample = Sample([Image('/%d' % i) for i in range(2)], lambda i, j: 1, lambda i, j: 1)
        sample.images = [Image('/%d' % i) for i in range(n)]
        sample.leaves = [(i, 1) for i in range(n)]
        sample.family, sample.n_families = [0] * n, 1
        sample.joins = [(i + 1, GIB, [n + i - 1 if i else 0, i + 1]) for i in range(n - 1)]
        sample.matrix = False
        text = sample.draw(TOOL, 'json').decode()
        tree = text[text.index('"tree":') + 7:text.index(',"families"')]
        self.assertEqual(tree.count('{"different_bytes":'), n - 1)
        self.assertEqual(tree.count('{"image":'), n)
        self.assertTrue(tree.startswith('{"different_bytes":%d,' % (n - 1)))
        self.assertTrue(tree.endswith(',{"image":%d}]}' % (n - 1)))
        sample.draw(TOOL, 'text', 80)


unittest.main(verbosity=0)
