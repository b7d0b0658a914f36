# SPDX-License-Identifier: GPL-2.0-or-later
"""A staged install holds all that belongs to stemma, under the folders that were asked for.

Usage: install.py STEMMA SOURCE"""
import glob, os, shutil, subprocess, sys, tempfile

stemma, source = map(os.path.abspath, sys.argv[1:])
if shutil.which("meson") is None:
    print("SKIP: meson is not installed")
    sys.exit(77)

EXPECTED = {
    "bin/stemma",
    "share/bash-completion/completions/stemma",
    "share/zsh/site-functions/_stemma",
    "share/fish/vendor_completions.d/stemma.fish",
    "share/doc/stemma/LICENSE",
    "share/doc/stemma/SECURITY.md",
    "share/doc/stemma/architecture.md",
    *(f"share/man/man{path[-1]}/{os.path.basename(path)}" for path in glob.glob(f"{source}/docs/man/*.[0-9]")),
    *(f"share/doc/stemma/formats/{os.path.basename(path)}" for path in glob.glob(f"{source}/docs/formats/*.md")),
}
build = os.path.dirname(os.path.abspath(stemma))

with tempfile.TemporaryDirectory(prefix="stemma-install-") as stage:
    p = subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", stage],
                       capture_output=True, text=True)
    if p.returncode != 0:
        sys.exit(f"meson install: {p.stdout}{p.stderr}")
    prefix = next(folder for folder, _, files in os.walk(stage) if folder.endswith("/bin") and "stemma" in files)[:-4]
    found = {os.path.relpath(os.path.join(folder, name), prefix)
             for folder, _, files in os.walk(stage) for name in files}
    if found != EXPECTED:
        sys.exit(f"missing: {sorted(EXPECTED - found)}\nnot known of: {sorted(found - EXPECTED)}")

    # what was installed runs, and its pages name files that are there
    version = subprocess.run([f"{prefix}/bin/stemma", "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("stemma "), version
    page = open(f"{prefix}/share/man/man5/stemma-formats.5").read().replace("\\-", "-")
    for path in glob.glob(f"{prefix}/share/doc/stemma/formats/*.md"):
        assert os.path.basename(path) in page, f"stemma-formats(5) does not name {path}"
    for path in EXPECTED:
        assert os.path.getsize(os.path.join(prefix, path)) > 0, f"{path} is empty"
