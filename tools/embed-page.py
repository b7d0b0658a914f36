#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""embed-page.py PAGE.html PAGE.css PAGE.js OUT.h

Puts style and script into the page, with their hashes into its content security policy, and writes
the page as C: struct { const char *text; size_t length; } page_parts[], cut where @TEXT@ and
@DATA@ stand."""
import base64
import hashlib
import sys


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def policy_hash(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def literal(text):
    out = []
    for line in text.splitlines(keepends=True):
        quoted = ''.join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else '\\%03o' % b
                         for b in line.encode())
        out.append('    "%s"' % quoted)
    return '\n'.join(out)


def main():
    page, css, js = (read(path) for path in sys.argv[1:4])
    for text in css, js:
        if '</' in text or '<!--' in text:
            sys.exit('embed-page: style or script could end its element')
    parts = {'@CSS_HASH@': policy_hash(css), '@JS_HASH@': policy_hash(js), '@CSS@': css, '@JS@': js}
    for mark, text in parts.items():
        if page.count(mark) != 1:
            sys.exit('embed-page: the page has not exactly one ' + mark)
        page = page.replace(mark, text)
    head, rest = page.split('@TEXT@')
    middle, end = rest.split('@DATA@')
    with open(sys.argv[4], 'w', encoding='ascii') as out:
        out.write('/* Made by tools/embed-page.py. */\n')
        for name, text in (('head', head), ('middle', middle), ('end', end)):
            out.write('static const char page_%s[] =\n%s;\n' % (name, literal(text)))


main()
