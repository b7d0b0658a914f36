#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Plants bugs one by one and holds the tests against them: each must make a test fail.

usage: tests/planted.py [--results=FILE] [NAME...]   all bugs, or these
       tests/planted.py --list
       tests/planted.py --check                      only that each bug still fits the source

Works in a copy of the tree under build-planted/, with one build folder, so that a bug costs one
file's compilation and the tests up to the first that fails: those named like the file come first,
then those of its layer, then those above it. It must fail twice with the bug, and not without it. Exit 1 when a bug
survives, when it does not compile or when its text is no longer in the source: then the line of the
table below has to follow the source. --results adds one line `pass|fail planted:NAME<TAB>WHY` for
each, as ./check reads them.
"""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build-planted"
TREE = WORK / "tree"
BUILD = WORK / "build"
TRIES = 3  # of tests among which a test fails by chance
LAYERS = ["base", "hash", "disk", "sig", "cluster", "app", "cli"]

# name, kind, file, then what is replaced by what (each text stands exactly once in the file)
BUGS = [
    # ---- base
    ("json-script-end", "escaping", "src/base/json.c",
     (""" && c != '\\\\' && c != '<';""", """ && c != '\\\\';""")),
    # ---- hash
    ("content-id-part-node", "order", "src/hash/tree.c",
     ("            tree_settle(t, CLUSTER_LEVEL);\n", "")),
    # ---- disk
    ("zero-flag-preallocated", "qcow2 zero flag ignored where a cluster is allocated", "src/disk/qcow2_table.c",
     ("if (!l->extended && (entry & FLAG_ZERO)) {", "if (!l->extended && (entry & FLAG_ZERO) && !allocated) {")),
    ("l2-mask-low-bit", "mask one bit short", "src/disk/qcow2_table.c",
     ("UINT64_C(0x00fffffffffffe00)", "UINT64_C(0x00fffffffffffc00)")),
    ("l2-mask-high-bit", "mask one bit short", "src/disk/qcow2_table.c",
     ("UINT64_C(0x00fffffffffffe00)", "UINT64_C(0x007ffffffffffe00)")),
    ("subcluster-next-bit", "off by one", "src/disk/qcow2_table.c",
     ("else if (!(bitmap >> index & 1))", "else if (!(bitmap >> (index + 1) & 1))")),
    ("runs-not-contiguous", "runs joined that are apart in the file", "src/disk/qcow2_table.c",
     ("(next->kind == QCOW2_DATA && next->host != w->run.host + w->run.length)", "false")),
    ("compressed-sectors", "rounding", "src/disk/qcow2_table.c",
     ("*length = (sectors + 1) * 512 - *offset % 512;",
      "*length = max_u64(1, sectors) * 512 - *offset % 512;")),
    ("snapshot-l1-ignored", "snapshot reads the current state", "src/disk/qcow2.c",
     ("    state->l1_offset = search.snapshot.l1_offset;\n", "")),
    ("snapshot-size-ignored", "snapshot has the current size", "src/disk/qcow2.c",
     ("if (search.snapshot.has_size)", "if (search.snapshot.has_size && false)")),
    ("backing-short-by-one", "base shorter than its overlay", "src/disk/disk.c",
     ("if (offset >= d->size) { /* a backing", "if (offset > d->size) { /* a backing")),
    ("hole-end-rounded", "SEEK_DATA rounded up", "src/disk/file.c",
     ("        next = data;", "        next = (data + 65535) / 65536 * 65536;")),
    ("hole-end-at-end", "data behind the last hole", "src/disk/file.c",
     ("*end = next > offset && next < size ? next : size;", "*end = next > offset && !*hole ? next : size;")),
    # ---- sig
    ("tail-not-padded", "previous buffer's bytes behind the tail", "src/sig/scan.c",
     ("        memset(w->tail + rest, 0, BLOCK_SIZE - rest);\n", "")),
    ("tail-skipped", "tail dropped", "src/sig/scan.c",
     ("    if (rest > 0) {\n", "    if (rest > 512) {\n")),
    ("blocks-before-stale", "previous buffer's ids", "src/sig/scan.c",
     ("        memset(&w->children[child], 0, v->piece[i].skip * sizeof(struct id));\n", "")),
    ("blocks-after-stale", "previous buffer's ids", "src/sig/scan.c",
     ("        memset(&w->children[child + all - after], 0, after * sizeof(struct id));\n", "")),
    ("base-beyond-the-end", "cluster of a longer base taken whole", "src/sig/layout.c",
     ("&& l->base->size > size;", "&& l->base->size > size + CLUSTER_SIZE;")),
    ("data-bytes-uncut", "last cluster counted whole", "src/sig/sig.c",
     ("s->data_bytes += clusters_bytes(cluster, 1, s->size);", "s->data_bytes += CLUSTER_SIZE;")),
    ("key-without-ctime", "stale cache key", "src/sig/library.c",
     ("        digest_u64(g, (uint64_t)f->ctime_ns);\n", "")),
    ("key-without-inode", "stale cache key", "src/sig/library.c",
     ("        digest_u64(g, f->inode);\n", "")),
    ("key-skips-a-member", "stale cache key: the chain's middle", "src/sig/library.c",
     ("    for (; d != NULL; d = disk_backing(d)) {\n        if (!digest_layer(&g, d))",
      "    for (const struct disk *top = d; d != NULL; d = disk_backing(d)) {\n"
      "        if ((d == top || disk_backing(d) == NULL) && !digest_layer(&g, d))")),
    ("key-without-snapshot", "stale cache key", "src/sig/library.c",
     ("""digest_string(g, snapshot != NULL ? snapshot : "");""", """digest_string(g, "");""")),
    ("racy-rule-dropped", "2 seconds", "src/sig/library.c",
     ("return now.mtime_ns <= now_ns - RACY_NS && now.ctime_ns <= now_ns - RACY_NS;", "return now_ns > 0;")),
    ("racy-rule-by-mtime", "2 seconds, mtime set back", "src/sig/library.c",
     ("return now.mtime_ns <= now_ns - RACY_NS && now.ctime_ns <= now_ns - RACY_NS;",
      "return now.mtime_ns <= now_ns - RACY_NS;")),
    ("settled-last-of-chain", "only the last of the chain is asked", "src/sig/library.c",
     ("settled &= !files[i]", "settled = !files[i]")),
    ("devices-cached", "block devices cached", "src/sig/library.c",
     ("        if (f->block_device)\n            return false;\n", ""),
     ("settled &= !files[i]->identity.block_device && file_settled(", "settled &= file_settled(")),
    ("checksum-skipped", "sig_read believes the file", "src/sig/file.c",
     ("if (memcmp(&sum, end, sizeof sum) != 0)", "if (memcmp(&sum, end, 0) != 0)")),
    ("compare-end-of-smaller", "off by one cluster at the end", "src/sig/compare.c",
     ("    uint64_t size = larger(c);\n", "    uint64_t size = min_u64(c->sizes[0], c->sizes[1]);\n")),
    ("compare-tail-uncut", "last cluster counted whole", "src/sig/compare.c",
     ("clusters_bytes(at, count, larger(&c)), e)", "count * CLUSTER_SIZE, e)")),
    # ---- cluster
    ("relation-end-by-one", "off by one cluster at the end", "src/cluster/relation.c",
     ("uint64_t last = sigs[k]->size / CLUSTER_SIZE;", "uint64_t last = div_up(sigs[k]->size, CLUSTER_SIZE);")),
    ("relation-cut-twice", "tail of equal sizes cut twice", "src/cluster/relation.c",
     (" || (sigs[j]->size == sigs[k]->size && j < k))", ")")),
    ("relation-mirror-edge", "first column of a tile not mirrored", "src/cluster/relation.c",
     ("j = i0 == j0 ? i + 1 : j0;", "j = i0 == j0 ? i + 1 : j0 + 1;")),
    ("relation-pair-swapped", "two pairs of a tile swapped", "src/cluster/labels.c",
     ("size_t x = row + cell / KERNEL_ROWS, y = column + cell % KERNEL_ROWS;",
      "size_t x = row + cell % KERNEL_ROWS, y = column + cell / KERNEL_ROWS;")),
    ("labels-wrap", "256 ids in a column", "src/cluster/labels.c",
     ("if (l->next[c] > UINT8_MAX)", "if (l->next[c] > UINT8_MAX + 1)")),
    ("lanes-overflow", "256 matches in a lane of 8 bits", "src/cluster/relation_kernel.c",
     ("#define LANE_STEPS 255", "#define LANE_STEPS 256")),
    ("spans-shrink", "a shorter run ends a longer one", "src/cluster/spans.c",
     ("last->count = max_u64(last->count, first + count - last->first);",
      "last->count = first + count - last->first;")),
    ("ties-merge-strangers", "ties of unrelated families", "src/cluster/dendrogram.c",
     ("g->joins[node - g->n].height == height;", "g->joins[node - g->n].height <= height;")),
    ("plan-parent-in-use", "an image in use becomes a parent", "src/cluster/plan.c",
     ("image->in_use ? FOREST_LEAF : FOREST_FREE;", "image->in_use && image->has_backing ? FOREST_LEAF : FOREST_FREE;")),
    ("plan-saves-twice", "savings of what stands already", "src/cluster/plan.c",
     ("        step->action = PLAN_KEEP;\n",
      "        step->action = PLAN_KEEP;\n        step->saves_bytes = whole_bytes(p, i) - image->allocated;\n")),
    ("overlay-without-zeros", "zeros over the base's data", "src/cluster/overlay.c",
     ("            if (qcow2_write_zero(w, x->cluster, e) < 0)\n                return -1;\n", "")),
    ("verify-first-layer", "only what the overlay holds", "src/cluster/overlay_verify.c",
     ("*read = a.layer != b.layer;", "*read = a.layer != b.layer && b.layer == v->disks[1];")),
    ("swap-unverified", "swapped before verification", "src/cluster/replace_run.c",
     ("    if (run->w->verify(run->w->arg, s, e) < 0)\n        return err_wrap(e, \"%s\", s->to);\n", "")),
    ("swap-fresh-unverified", "a new overlay swapped without verification", "src/cluster/replace_run.c",
     ("    if (run->w->verify(run->w->arg, s, e) < 0)\n        return err_wrap(",
      "    if (s->kind == REPLACE_STEP_WRITE && run->w->verify(run->w->arg, s, e) < 0)\n        return err_wrap(")),
    ("undo-ignores-mtime", "undo over what a guest wrote", "src/cluster/fileops.c",
     ("return a->st.st_mtim.tv_sec == b->st.st_mtim.tv_sec &&", "return a->st.st_mtim.tv_sec != 1 ||")),
    ("undo-within-a-second", "undo over what a guest wrote", "src/cluster/fileops.c",
     ("a->st.st_mtim.tv_nsec == b->st.st_mtim.tv_nsec;", "b->st.st_mtim.tv_nsec < 1000000000;")),
    # ---- app
    ("folder-prefix", "/a/b allows /a/bc", "src/app/opener.c",
     ("strncmp(path, folder, length) == 0 && path[length] == '/';", "strncmp(path, folder, length) == 0;")),
    ("folder-own-prefix", "the image's folder allows those below it", "src/app/opener.c",
     ("slash - from == name - resolved &&", "slash - from <= name - resolved &&")),
    ("link-unresolved", "symlink checked before resolving", "src/app/opener.c",
     ("if (allowed(o, from, opened->resolved, S_ISBLK", "if (allowed(o, from, opened->path, S_ISBLK")),
    ("seal-openat", "filter allows openat", "src/app/seal.c",
     ("    SCMP_SYS(read),\n", "    SCMP_SYS(read),\n    SCMP_SYS(openat),\n")),
    ("seal-no-tsync", "filter not applied to threads", "src/app/seal.c",
     ("SCMP_FLTATR_CTL_TSYNC, 1)", "SCMP_FLTATR_CTL_TSYNC, 0)")),
    ("seal-no-landlock", "the first wall missing", "src/app/seal.c",
     ("        return deny_all_files(e);\n", "        return 0;\n")),
    ("failed-index", "MSG_FAILED for a source that is not there", "src/app/front.c",
     ("    if (source >= f->job->n_sources)\n        return err_set(e, ERR_PEER, \"the worker failed at",
      "    if (source > f->job->n_sources)\n        return err_set(e, ERR_PEER, \"the worker failed at")),
]


class Stale(Exception):
    pass


def planted_text(text, file, edits):
    for old, new in edits:
        if text.count(old) != 1:
            raise Stale(f"{text.count(old)} times in {file}, not once: {old.strip().splitlines()[0]}")
        text = text.replace(old, new)
    return text


def check_table(bugs):
    """Lines about bugs that no longer fit the source."""
    wrong = []
    for name, _, file, *edits in bugs:
        try:
            planted_text((ROOT / file).read_text(), file, edits)
        except (Stale, OSError) as e:
            wrong.append(f"{name}: {e}")
    return wrong


# ---- the copy

def git_files():
    out = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                         capture_output=True, check=False)
    if out.returncode != 0:
        print("not a git checkout: no list of the files that belong to it")
        sys.exit(77)
    return {name for name in out.stdout.decode().split("\0") if name and (ROOT / name).is_file()}


def copy_file(name):
    """Only when it differs: ninja goes by the time."""
    source, target = ROOT / name, TREE / name
    content = source.read_bytes()
    if not target.is_file() or target.read_bytes() != content:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    target.chmod(source.stat().st_mode & 0o777)


def copy_tree():
    files = git_files()
    TREE.mkdir(parents=True, exist_ok=True)
    for path in TREE.rglob("*"):
        if path.is_file() and str(path.relative_to(TREE)) not in files and "__pycache__" not in path.parts:
            path.unlink()
    for name in files:
        copy_file(name)
    if not (BUILD / "build.ninja").exists():
        run(["meson", "setup", BUILD, TREE], must=True)


# ---- building and testing

def run(command, must=False):
    p = subprocess.run([str(c) for c in command], cwd=TREE, capture_output=True, text=True, errors="replace",
                       check=False)
    with open(WORK / "log", "a", encoding="utf-8", errors="replace") as log:
        log.write(f"$ {' '.join(map(str, command))}\n{p.stdout}{p.stderr}\n")
    if must and p.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed: see {WORK / 'log'}")
    return p.returncode


def compiles():
    return run(["ninja", "-C", BUILD, f"-j{os.cpu_count()}", "stemma"]) == 0


def test(*which):
    """The tests that failed, up to a first one: [(name, result)]."""
    log = BUILD / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    status = run(["meson", "test", "-C", BUILD, "--num-processes", os.cpu_count(), "--timeout-multiplier", 3,
                  "--maxfail", 1, *which])
    if not log.exists():
        return [("build", "the tests could not be built")] if status != 0 else []
    failed = []
    for line in log.read_text(errors="replace").splitlines():
        t = json.loads(line)
        if t["result"] in ("FAIL", "ERROR", "TIMEOUT"):
            failed.append((t["name"].split(" / ")[-1], t["result"]))
    return failed


def tests_of(layer):
    with open(BUILD / "meson-info" / "intro-tests.json", encoding="utf-8") as f:
        return [t["name"] for t in json.load(f) if t["name"].startswith(layer + "/")]


def where_to_look(file):
    """Lists of tests: those named like the file (or its first word), its layer's, those above it."""
    _, layer, name = file.split("/")
    word = layer + "/" + name.removesuffix(".c").split("_")[0]
    yield [t for t in tests_of(layer) if t.startswith(word)]
    for other in LAYERS[LAYERS.index(layer):]:
        yield tests_of(other)


class Field:
    """The copy with one file that has the bug, or has it not."""

    def __init__(self):
        self.sound, self.broken = set(), set()  # tests that pass, and fail, without any bug

    def is_sound(self, name, file, whole, bad):
        """Whether the test passes without the bug; asked once of each test."""
        if name not in self.sound | self.broken:
            (TREE / file).write_text(whole)
            passes = compiles() and not test(name)
            (self.sound if passes else self.broken).add(name)
            (TREE / file).write_text(bad)
        return name in self.sound

    def find_failure(self, file, whole, bad):
        """(the test, how it failed), or (None, why not). It must fail twice: chance may fail one once."""
        if not compiles():
            return None, "does not compile"
        for tests in where_to_look(file):
            for _ in range(TRIES):
                tests = [t for t in tests if t not in self.broken]
                failed = test(*tests) if tests else []
                if not failed:
                    break
                name = failed[0][0]
                if name == "build":
                    return None, failed[0][1]
                if test(name) and self.is_sound(name, file, whole, bad):
                    return failed[0]
        return None, "survived: no test failed"

    def plant(self, bug):
        """(what caught it or None, why not, seconds)"""
        _, _, file, *edits = bug
        start = time.monotonic()
        whole = (TREE / file).read_text()
        caught = None
        try:
            bad = planted_text(whole, file, edits)
            (TREE / file).write_text(bad)
            caught, why = self.find_failure(file, whole, bad)
        except Stale as e:
            why = str(e)
        finally:
            (TREE / file).write_text(whole)
        return caught, why, time.monotonic() - start


def report(rows, results):
    width = max(len(row[0][0]) for row in rows)
    for (name, kind, *_), caught, why, seconds in rows:
        print(f"{name:{width}}  {caught or 'NOT CAUGHT: ' + why:32} {seconds:6.0f} s  {kind}")
        if results:
            with open(results, "a", encoding="utf-8") as f:
                f.write(f"{'pass' if caught else 'fail'} planted:{name}\t{'' if caught else why}\n")
    missed = sum(1 for row in rows if row[1] is None)
    print(f"{len(rows)} planted, {len(rows) - missed} caught, {missed} not")
    return missed


def main(argv):
    results = None
    names = []
    for arg in argv:
        if arg == "--list":
            for name, kind, file, *_ in BUGS:
                print(f"{name}\t{file}\t{kind}")
            return 0
        if arg == "--check":
            wrong = check_table(BUGS)
            print("\n".join(wrong) or f"{len(BUGS)} bugs fit the source")
            return 1 if wrong else 0
        if arg.startswith("--results="):
            results = arg.partition("=")[2]
        elif arg.startswith("-"):
            print(__doc__, file=sys.stderr)
            return 2
        else:
            names.append(arg)
    bugs = [bug for bug in BUGS if not names or bug[0] in names]
    unknown = set(names) - {bug[0] for bug in bugs}
    if unknown:
        print(f"no such bug: {' '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    WORK.mkdir(exist_ok=True)
    (WORK / "log").write_text("")
    copy_tree()
    run(["ninja", "-C", BUILD, f"-j{os.cpu_count()}", "stemma"], must=True)
    rows, field = [], Field()
    for bug in bugs:
        rows.append((bug, *field.plant(bug)))
        print(f"... {bug[0]}: {rows[-1][1] or rows[-1][2]}, {rows[-1][3]:.0f} s", flush=True)
    if field.broken:
        print(f"fail without any bug: {' '.join(sorted(field.broken))}")
    return 1 if report(rows, results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
