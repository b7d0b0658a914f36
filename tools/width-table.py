#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints src/base/width_table.h from the Unicode tables of this Python.

Zero columns: nonspacing and enclosing marks, format characters except the soft hyphen, and the
vowels and finals of conjoining Hangul. Two columns: East Asian Wide and Fullwidth.
"""
import unicodedata


def width(code):
    c = chr(code)
    if code == 0xAD:
        return 1
    if unicodedata.category(c) in ("Mn", "Me", "Cf") or 0x1160 <= code <= 0x11FF:
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def ranges(wanted):
    start = None
    for code in range(0x80, 0x110001):
        inside = code < 0x110000 and width(code) == wanted
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            yield f"{{0x{start:x}, 0x{code - 1:x}}},"
            start = None


def table(name, wanted):
    line = "   "
    print(f"static const struct width_range {name}[] = {{")
    for item in ranges(wanted):
        if len(line) + 1 + len(item) > 100:
            print(line)
            line = "   "
        line += " " + item
    print(line)
    print("};")


print("/* SPDX-License-Identifier: GPL-2.0-or-later */")
print(f"/* Made by tools/width-table.py from Unicode {unicodedata.unidata_version}. */")
print("/* clang-format off */")
table("zero_width", 0)
print()
table("double_width", 2)
