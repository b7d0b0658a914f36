#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Holds the documents against the program, and against each other.

usage: tests/docs.py [--stemma=PROGRAM] [ROOT]
       tests/docs.py --self-test

- Each option that `stemma help --dump` names has an entry in docs/man/stemma-COMMAND.1 (a tag
  line after .TP that spells the option and its argument), and the reverse.
- Each option in a line `stemma COMMAND ...` of any document is one of that command.
- Each block .EX to .EE (or .nf to .fi) in a page's EXAMPLES runs. Comments before it say how:
      .\\" setup: COMMAND      run before, in the same empty folder; any number of lines
      .\\" exit: N             what the block's last line ends with, when not 0
      .\\" not run: REASON     for what needs a machine we do not have
  In Markdown a fenced block runs after a line <!-- run -->; <!-- setup: COMMAND --> and
  <!-- exit: N --> may follow.
- Links between files lead somewhere, each page of docs/formats/ is linked from another document,
  and the pages have no warnings of mandoc.

`stemma help --dump` prints, separated by tabs, for each command COMMAND, nothing, ARGUMENTS,
SUMMARY, and for each of its options COMMAND, OPTION (all spellings, separated by commas),
ARGUMENT or nothing, SUMMARY.

Exit 77 when there is no program yet: what needs it was left out.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

OPTION = re.compile(r"(?<![\w-])--?[A-Za-z0-9][A-Za-z0-9-]*")
SECONDS = 60
EVERYWHERE = ("-h", "--help", "--version")


# --- what the program says

def parse_dump(text, report):
    """{command: {spelling: argument}}"""
    commands = {}
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) != 4 or not fields[0]:
            report(f"help --dump: {line!r} has not four fields")
            continue
        command, option, argument, summary = fields
        if not summary:
            report(f"help --dump: {command} {option}: no summary")
        options = commands.setdefault(command, {})
        for spelling in filter(None, option.split(",")):
            options[spelling] = argument
    return commands


# --- man pages

def plain(line):
    """A line of a page as text: `.BR \\-\\-json =\\fIN\\fR` is `--json=N`."""
    line = re.sub(r"\\f(?:\[[^\]]*\]|\(..|.)", "", line)
    line = line.replace("\\-", "-").replace("\\&", "").replace("\\(aq", "'").replace("\\e", "\\")
    match = re.match(r"\.\s*([A-Z]{1,2})\s+(.*)", line)
    if match:
        words = [w.strip('"') for w in re.findall(r'"[^"]*"|\S+', match.group(2))]
        joined = match.group(1) in ("BR", "RB", "BI", "IB", "IR", "RI")
        line = ("" if joined else " ").join(words)
    return line


def tags(page):
    """[(line number, text)] of the tag lines, those of .TQ included."""
    lines = page.splitlines()
    found = []
    for number, line in enumerate(lines[:-1]):
        if re.match(r"\.(TP|TQ)\b", line):
            found.append((number + 2, plain(lines[number + 1])))
    return found


def documented_options(page):
    """{spelling: text of its tag}"""
    options = {}
    for _, text in tags(page):
        if text.startswith("-"):
            for spelling in OPTION.findall(re.sub(r"=\S*", "", text)):
                options[spelling] = text
    return options


def check_page(name, page, options, report):
    documented = documented_options(page)
    for spelling, argument in options.items():
        if spelling not in documented:
            report(f"{name}: {spelling} has no entry")
        elif argument and argument.lstrip("[=").rstrip("]") not in documented[spelling]:
            report(f"{name}: {spelling}: the entry does not name its argument {argument}")
    for spelling in documented:
        if spelling not in options and spelling not in EVERYWHERE:
            report(f"{name}: the program has no {spelling}")


def check_pages(root, commands, report):
    folder = root / "docs" / "man"
    for command, options in commands.items():
        path = folder / f"stemma-{command}.1"
        if path.exists():
            check_page(path.name, path.read_text(), options, report)
        else:
            report(f"docs/man/{path.name} is missing")
    for path in sorted(folder.glob("stemma-*.1")):
        if path.name[len("stemma-"):-2] not in commands:
            report(f"{path.name}: the program has no such command")


# --- options in running text

def check_usages(name, text, commands, report):
    """Lines that show a command: `stemma tree --json x`, `$ stemma ...`."""
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r"\s*(?:\$ |# )?stemma ([a-z]+)\b(.*)", plain(line) if name[-1] in "15" else line)
        if not match or match.group(1) not in commands:
            continue
        arguments = re.split(r"\s--\s|[|;#]|&&", match.group(2))[0]
        arguments = re.sub(r"'[^']*'|\"[^\"]*\"|=\S*", "", arguments)
        for option in OPTION.findall(arguments):
            known = commands[match.group(1)]
            if option not in known and option not in EVERYWHERE:
                report(f"{name}:{number}: stemma {match.group(1)} has no {option}")


# --- examples

class Example:
    def __init__(self, where):
        self.where, self.setup, self.lines, self.exit, self.skip = where, [], [], 0, None

    def run(self, program, report):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            work = Path(folder) / "work"
            home.mkdir()
            work.mkdir()
            os.symlink(program.resolve(), home / "stemma")
            env = {"PATH": f"{home}:{os.environ.get('PATH', '')}", "HOME": str(home),
                   "XDG_CACHE_HOME": str(home / "cache"), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
            script = "\n".join(self.setup + self.lines[:-1])
            last = self.lines[-1] if self.lines else "true"
            script = f"set -e\n{script}\nset +e\n{last}\nexit $?\n"
            try:
                done = subprocess.run(["sh", "-c", script], cwd=work, env=env, stdin=subprocess.DEVNULL,
                                      capture_output=True, timeout=SECONDS)
            except subprocess.TimeoutExpired:
                report(f"{self.where}: still running after {SECONDS} s")
                return
            if done.returncode != self.exit:
                tail = (done.stderr + done.stdout).decode(errors="replace").strip()[-300:]
                report(f"{self.where}: exit {done.returncode}, not {self.exit}: {tail}")


def take_note(example, text):
    match = re.match(r"(setup|exit|not run):\s*(.*)", text)
    if not match:
        return
    if match.group(1) == "setup":
        example.setup.append(match.group(2))
    elif match.group(1) == "exit":
        example.exit = int(match.group(2))
    else:
        example.skip = match.group(2)


def page_examples(name, page):
    found, example, inside, section = [], None, False, ""
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith(".SH"):
            section = line[3:].strip().strip('"').upper()
        if section != "EXAMPLES":
            continue
        note = re.match(r'\.?\\"\s*(.*)', line)
        if line.startswith((".EX", ".nf")):
            example = example or Example("")
            example.where, inside = f"{name}:{number}", True
        elif line.startswith((".EE", ".fi")):
            found.append(example)
            example, inside = None, False
        elif inside and not note:
            text = plain(line)
            example.lines.append(text[2:] if text.startswith(("$ ", "# ")) else text)
        elif note:
            example = example or Example("")
            take_note(example, note.group(1))
    return join_continued(found)


def markdown_examples(name, text):
    found, example, inside = [], None, False
    for number, line in enumerate(text.splitlines(), 1):
        note = re.match(r"\s*<!--\s*(.*?)\s*-->\s*$", line)
        if note and note.group(1) == "run":
            example = Example(f"{name}:{number}")
        elif note and example:
            take_note(example, note.group(1))
        elif example and line.startswith("```"):
            if inside:
                found.append(example)
                example = None
            inside = not inside
        elif example and inside:
            example.lines.append(line[2:] if line.startswith("$ ") else line)
    return join_continued(found)


def join_continued(examples):
    """Lines that end in a backslash belong to the next; empty ones and comments go."""
    for example in examples:
        text = "\n".join(example.lines).replace("\\\n", " ")
        example.lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return examples


# --- links

def slug(heading):
    heading = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


def without_code(text):
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)


def anchors(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    return {slug(h) for h in re.findall(r"^#+\s+(.*)$", text, re.M)}


def check_links(root, path, linked, report):
    name = path.relative_to(root)
    for target in re.findall(r"\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)", without_code(path.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        where = (path.parent / file).resolve() if file else path
        if not where.exists():
            report(f"{name}: {target} does not exist")
            continue
        linked.add(where)
        if anchor and where.suffix == ".md" and anchor not in anchors(where):
            report(f"{name}: {target}: no such heading")


def documents(root):
    found = sorted(root.glob("*.md")) + sorted((root / "docs").rglob("*.md"))
    return found + sorted(root.glob("README"))


def pages(root):
    return sorted((root / "docs" / "man").glob("*.[1-8]"))


def check_formats(root, linked, report):
    for path in sorted((root / "docs" / "formats").glob("*.md")):
        if path.resolve() not in linked and path.name != "README.md":
            report(f"{path.relative_to(root)}: no document links to it")


def check_mandoc(root, report):
    if not shutil.which("mandoc") or not pages(root):
        return
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"] + pages(root), capture_output=True,
                          text=True)
    for line in lint.stdout.splitlines():
        # references to pages that are not installed yet, dates, and the sections we leave out
        if not re.search(r"STYLE|missing date|referenced manual not found", line):
            report(line)


# --- all of it

def check(root, program):
    complaints, linked = [], set()
    for path in documents(root):
        check_links(root, path, linked, complaints.append)
    check_formats(root, linked, complaints.append)
    check_mandoc(root, complaints.append)
    examples = []
    for path in pages(root):
        examples += page_examples(path.name, path.read_text())
    for path in documents(root):
        examples += markdown_examples(str(path.relative_to(root)), path.read_text())
    if program is not None:
        dump = subprocess.run([program.resolve(), "help", "--dump"], capture_output=True, text=True)
        if dump.returncode != 0:
            complaints.append(f"help --dump: exit {dump.returncode}: {dump.stderr}")
        commands = parse_dump(dump.stdout, complaints.append)
        check_pages(root, commands, complaints.append)
        for path in documents(root) + pages(root):
            check_usages(str(path.relative_to(root)), path.read_text(), commands, complaints.append)
        for example in examples:
            if example.skip is None:
                example.run(program, complaints.append)
    skipped = sum(e.skip is not None for e in examples)
    print(f"{len(examples)} examples, {skipped} of them not to be run")
    return complaints


PAGE = r'''.TH STEMMA-TREE 1 2026-01-01 stemma stemma
.SH NAME
stemma-tree \- family tree
.SH OPTIONS
.TP
.B \-\-json
As JSON.
.TP
.BR \-o ", " \-\-output =\fIFILE\fR
Where to.
.SH EXAMPLES
.\" setup: echo hello > a
.\" exit: 1
.EX
$ stemma tree \-\-json \e
    a
.EE
'''
DUMP = "tree\t\tIMAGE...\tfamily tree\ntree\t--json\t\tas JSON\ntree\t-o,--output\tFILE\twhere to\n"
PROGRAM = '''#!/bin/sh
if [ "$1" = help ]; then cat "$(dirname "$(readlink -f "$0")")/dump"; exit 0; fi
[ "$*" = "tree --json a" ] && [ "$(cat a)" = hello ] && exit 1
exit 3
'''
# a change of page, dump or README, and a part of the complaint that it must raise
PLANTS = [
    ({}, None),
    ({"page": PAGE.replace(".B \\-\\-json\n", ".B \\-\\-jsn\n")}, "--json has no entry"),
    ({"page": PAGE.replace(".B \\-\\-json\n", ".B \\-\\-jsn\n")}, "no --jsn"),
    ({"page": PAGE.replace("FILE", "DIR")}, "does not name its argument"),
    ({"page": PAGE.replace("exit: 1", "exit: 0")}, "exit 1, not 0"),
    ({"page": PAGE.replace("setup: echo hello", "setup: echo bye")}, "exit 3, not 1"),
    ({"page": PAGE.replace("tree \\-\\-json", "tree \\-\\-jason")}, "has no --jason"),
    ({"dump": DUMP + "sign\t\tIMAGE...\tids\n"}, "stemma-sign.1 is missing"),
    ({"dump": DUMP.replace("tree", "bush")}, "no such command"),
    ({"dump": DUMP + "tree --x\n"}, "four fields"),
    ({"readme": "[x](docs/none.md)\n"}, "does not exist"),
    ({"readme": "[x](docs/formats/id.md#none)\n"}, "no such heading"),
    ({"readme": "nothing\n"}, "no document links to it"),
    ({"readme": "[x](docs/formats/id.md)\n\n    stemma tree --nice a\n"}, "has no --nice"),
    ({"readme": "[x](docs/formats/id.md)\n<!-- run -->\n```sh\nstemma tree b\n```\n"}, "exit 3, not 0"),
]


def self_test():
    failed = []
    for changes, expected in PLANTS:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "docs" / "man").mkdir(parents=True)
            (root / "docs" / "formats").mkdir()
            (root / "docs" / "formats" / "id.md").write_text("# Identity of content\n")
            (root / "docs" / "man" / "stemma-tree.1").write_text(changes.get("page", PAGE))
            (root / "dump").write_text(changes.get("dump", DUMP))
            (root / "README.md").write_text(changes.get("readme", "[x](docs/formats/id.md#identity-of-content)\n"))
            program = root / "program"
            program.write_text(PROGRAM)
            program.chmod(0o755)
            found = check(root, program)
            if (expected is None and found) or (expected and not any(expected in f for f in found)):
                failed.append(f"planted {changes}, expected {expected!r}: {found}")
    return failed


def main(args):
    program = None
    if args == ["--self-test"]:
        complaints = self_test()
    else:
        if args and args[0].startswith("--stemma="):
            program = Path(args.pop(0).split("=", 1)[1])
        root = Path(args[0]) if args else Path(__file__).resolve().parent.parent
        if program is not None and not program.exists():
            program = None
        complaints = check(root, program)
        if not complaints and program is None:
            print("there is no program yet: options and examples were not checked")
            return 77
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
