#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Holds the source against the rules of the house.

usage: tests/layers.py [--build=FOLDER] [ROOT]
       tests/layers.py --self-test

Folders of src/ are layers: the table below says what each may use. It is held against every
include and, with --build, against the symbols that each folder's archives define and need (an
upward call in an object that nothing links is seen nowhere else). Beside it: only cli/ writes to
standard output, no header declares a variable that can change, nothing is left for later, files
have their licence line and at most 800 lines.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LAYERS = {
    "base": "",
    "hash": "base",
    "disk": "base hash",
    "sig": "base hash disk",
    "cluster": "base hash disk sig",
    "store": "base hash disk sig",
    "fs": "base hash disk",
    "map": "base disk fs",
    "diff": "base hash disk sig fs",
    "oci": "base hash",
    "guest": "base hash fs",
    "agent": "base fs disk guest",
    "convert": "base hash fs diff guest oci",
    "trace": "base disk fs map",
    "serve": "base disk store",
}
LAYERS["app"] = " ".join(LAYERS)
LAYERS["cli"] = " ".join(LAYERS)
PRINTERS = ["cli"]
MAX_LINES = 800

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]*)"', re.M)
STDOUT = re.compile(r"\b(?:v?printf|puts|putchar)\s*\(|\bstdout\b")
STDOUT_SYMBOLS = {"printf", "vprintf", "puts", "putchar", "stdout", "__printf_chk", "__vprintf_chk"}
LATER = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
EXTERN = re.compile(r"^[ \t]*extern\b([^;]*);", re.M)
STATIC = re.compile(r"^static\b(?![^;{=]*\()([^;{=]*)[;{=]", re.M)


def may_use(folder, other):
    return folder == other or other in LAYERS[folder].split()


def code_only(text):
    """The text with comments and strings blanked; lines stay where they are."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def check_includes(root, path, text, report):
    folder = path.relative_to(root / "src").parts[0]
    for match in INCLUDE.finditer(text):
        name = match.group(1)
        where = f"{path.relative_to(root)}:{line_of(text, match.start())}"
        other = name.split("/")[0]
        if "/" not in name or ".." in name:
            report(f'{where}: includes are "folder/file.h", not "{name}"')
        elif other not in LAYERS:
            report(f'{where}: "{name}" is in no layer')
        elif not may_use(folder, other):
            report(f"{where}: {folder}/ may not use {other}/")


def is_constant(declaration):
    """True for `const T x` and `T *const x`: what the name itself stands for does not change."""
    declaration = re.sub(r"\[[^\]]*\]|__attribute__\s*\(\(.*?\)\)", "", declaration)
    tail = declaration.rsplit("*", 1)[-1] if "*" in declaration else declaration
    return re.search(r"\bconst\b", tail) is not None


def check_header(where, code, report):
    for match in EXTERN.finditer(code):
        if "(" not in match.group(1) and not is_constant(match.group(1)):
            report(f"{where}:{line_of(code, match.start())}: a header declares a variable")
    for match in STATIC.finditer(code):
        if not is_constant(match.group(1)):
            report(f"{where}:{line_of(code, match.start())}: a header defines a variable")


def check_source(root, path, report):
    text = path.read_text(encoding="utf-8")
    code = code_only(text)
    where = path.relative_to(root)
    in_src = where.parts[0] == "src"
    if in_src and where.parts[1] in LAYERS:
        check_includes(root, path, text, report)
        if where.parts[1] not in PRINTERS:
            for match in STDOUT.finditer(code):
                report(f"{where}:{line_of(code, match.start())}: only cli/ writes to standard output")
    elif in_src:
        report(f"{where}: src/{where.parts[1]} is in no layer")
    if in_src and path.suffix == ".h":
        check_header(where, code, report)
    if text.count("\n") > MAX_LINES:
        report(f"{where}: more than {MAX_LINES} lines")


def check_any(root, path, report):
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        report(f"{path.relative_to(root)}: not UTF-8")
        return
    for match in LATER.finditer(text):
        report(f"{path.relative_to(root)}:{line_of(text, match.start())}: {match.group(0)}")
    if "SPDX-License-Identifier: GPL-2.0-or-later" not in text[:200]:
        report(f"{path.relative_to(root)}: no SPDX line")


def files_of(root):
    """What we wrote: code and scripts, without what tests and fuzzers feed on."""
    for top in ("src", "tests", "fuzz", "bench", "tools"):
        for path in sorted((root / top).rglob("*")):
            if path.is_file() and "corpus" not in path.parts and "__pycache__" not in path.parts:
                if path.suffix in (".c", ".h", ".py", ".sh") or is_script(path):
                    yield path
    for name in ("check", "quickstart", ".ci/run"):
        if (root / name).exists():
            yield root / name


def is_script(path):
    with open(path, "rb") as f:
        return f.read(2) == b"#!"


def symbols(archive):
    """(defined, needed) names of one archive; local ones left out."""
    defined, needed = set(), set()
    listing = subprocess.run(["nm", "-g", str(archive)], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1] not in "vwVW":
            defined.add(fields[2])
        elif len(fields) == 2 and fields[0] in ("U", "w", "v"):
            needed.add(fields[1])
    return defined, needed


def check_archives(build, report):
    defined, needed = {}, {}
    for folder in LAYERS:
        defined[folder], needed[folder] = set(), {}
        for archive in sorted((build / "src" / folder).glob("*.a")):
            ours, theirs = symbols(archive)
            defined[folder] |= ours
            for name in theirs:
                needed[folder].setdefault(name, archive.name)
    if not any(defined.values()):
        report(f"{build}: no archives; build first")
    for folder, names in needed.items():
        for name, archive in sorted(names.items()):
            if folder not in PRINTERS and name in STDOUT_SYMBOLS:
                report(f"{archive}: {name}: only cli/ writes to standard output")
            for other in LAYERS:
                if name in defined[other] and name not in defined[folder] and not may_use(folder, other):
                    report(f"{archive}: {name}: {folder}/ may not use {other}/")


def check(root, build):
    complaints = []
    for path in files_of(root):
        check_any(root, path, complaints.append)
        if path.suffix in (".c", ".h"):
            check_source(root, path, complaints.append)
    if build is not None:
        check_archives(build, complaints.append)
    return complaints


SPDX = "/* SPDX-License-Identifier: GPL-2.0-or-later */\n"
# what is planted, and a part of the complaint it must raise; None: must pass
PLANTS = [
    ("src/disk/x.c", '#include "hash/id.h"\nconst char *s = "printf"; /* puts() */\n', None),
    ("src/base/x.c", '#include "disk/disk.h"\n', "base/ may not use disk/"),
    ("src/disk/x.c", '#  include "sig/sig.h"\n', "disk/ may not use sig/"),
    ("src/app/x.c", '#include "cli/cli.h"\n', "app/ may not use cli/"),
    ("src/disk/x.c", '#include "disk.h"\n', 'not "disk.h"'),
    ("src/disk/x.c", '#include "../disk/disk.h"\n', "includes are"),
    ("src/attic/x.c", "", "is in no layer"),
    ("src/disk/x.c", "void f(void);\nvoid f(void)\n{\n    puts(\"x\");\n}\n", "standard output"),
    ("src/disk/x.h", "extern int counter;\n", "declares a variable"),
    ("src/disk/x.h", "extern const char *name;\n", "declares a variable"),
    ("src/disk/x.h", "extern const char *const name;\nextern const int n[3];\n"
                     "extern int f(void);\nstatic inline int g(void)\n{\n    return 1;\n}\n", None),
    ("src/disk/x.h", "static int counter;\n", "defines a variable"),
    ("tests/x.py", "# TO" + "DO\n", "TO" + "DO"),
    ("src/disk/x.c", "\n" * 801, "more than 800 lines"),
]


def make_tree(root):
    for name in ("hash/id.h", "disk/disk.h", "sig/sig.h", "cli/cli.h", "base/error.h"):
        path = root / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SPDX)
    (root / "tests").mkdir()


def make_archive(build, folder, source):
    where = build / "src" / folder
    where.mkdir(parents=True)
    (where / "x.c").write_text(source)
    subprocess.run(["cc", "-c", "-o", where / "x.o", where / "x.c"], check=True)
    subprocess.run(["ar", "rc", where / f"lib{folder}.a", where / "x.o"], check=True)


def self_test():
    failed = []
    for name, text, expected in PLANTS:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            make_tree(root)
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(("" if name.endswith(".py") else SPDX) + text)
            if name.endswith(".py"):
                path.write_text("# SPDX-License-Identifier: GPL-2.0-or-later\n" + text)
            found = check(root, None)
            if (expected is None and found) or (expected and not any(expected in f for f in found)):
                failed.append(f"planted {name} {text[:60]!r}: {found}")
    for folder, source, expected in (
        ("base", "void disk_open(void);\nvoid f(void)\n{\n    disk_open();\n}\n", "may not use disk/"),
        ("base", '#include <stdio.h>\nvoid f(void)\n{\n    fputs("x", stdout);\n}\n', "standard output"),
        ("sig", "void disk_open(void);\nvoid f(void)\n{\n    disk_open();\n}\n", None),
    ):
        with tempfile.TemporaryDirectory() as where:
            root = Path(where)
            make_tree(root)
            make_archive(root / "build", "disk", "void disk_open(void)\n{\n}\n")
            make_archive(root / "build", folder, source)
            found = check(root, root / "build")
            if (expected is None and found) or (expected and not any(expected in f for f in found)):
                failed.append(f"planted in an archive of {folder}: {found}")
    return failed


def main(args):
    build = None
    if args == ["--self-test"]:
        complaints = self_test()
    else:
        if args and args[0].startswith("--build="):
            build = Path(args.pop(0).split("=", 1)[1])
        root = Path(args[0]) if args else Path(__file__).resolve().parent.parent
        complaints = check(root, build)
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
