#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads what `meson test` logged: one line `pass|fail|skip NAME<TAB>WHY` for each test.

usage: tests/results.py BUILD/meson-logs/testlog.json
"""
import json
import sys

PASSED = ("OK", "EXPECTEDFAIL")
SKIPPED = ("SKIP",)


def last_line(test):
    """Tests that skip or fail say why at their end."""
    for stream in ("stderr", "stdout"):
        lines = [line.strip() for line in test.get(stream, "").splitlines() if line.strip()]
        if lines:
            return lines[-1][:200]
    return ""


def main(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            test = json.loads(line)
            result = test["result"]
            name = test["name"].split(" / ")[-1]
            if result in PASSED:
                print(f"pass {name}\t")
            elif result in SKIPPED:
                print(f"skip {name}\t{last_line(test) or 'without a reason'}")
            else:
                print(f"fail {name}\t{result}: {last_line(test)}")


if __name__ == "__main__":
    main(sys.argv[1])
