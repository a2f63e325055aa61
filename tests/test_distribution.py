"""What a release uploads, built as pip and build do it from a copy of this checkout, without a network.

EDGE_EMBED_DIST names a folder with an sdist and a wheel that are tested in place of those: scripts/release.sh does so.
"""

from __future__ import annotations

import email
import email.message
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import edge_embed

from support.places import ROOT

VERSION = edge_embed.__version__
PACKAGES = {"edge_embed": ROOT / "edge_embed", "edge_embed_convert": ROOT / "convert"}
INFO = f"edge_embed-{VERSION}.dist-info"
NEITHER = shutil.ignore_patterns(  # what lies in a checkout and is none of it
    ".git", ".*_cache", ".hypothesis", ".readers", ".venv", "*.egg-info", "__pycache__", "build", "dist",
    "edge_embed_convert", "out",
)  # fmt: skip


def build(source: Path, out: Path, kind: str) -> Path:
    """Build an sdist or a wheel with the backend that pyproject.toml names, which is installed here."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = out.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return made


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return an sdist, and a wheel that was built from it."""
    if given := os.environ.get("EDGE_EMBED_DIST"):
        (sdist,), (wheel,) = Path(given).glob("*.tar.gz"), Path(given).glob("*.whl")
        return sdist, wheel
    pytest.importorskip("setuptools", "77", "setuptools 77, which builds the package, is not installed")
    folder = tmp_path_factory.mktemp("distribution")
    out = folder / "out"
    out.mkdir()
    sdist = build(Path(shutil.copytree(ROOT, folder / "checkout", ignore=NEITHER)), out, "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return sdist, build(folder / f"edge_embed-{VERSION}", out, "wheel")


@pytest.fixture(scope="module")
def site(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel's files, as in site-packages."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(files[1]) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def metadata(site: Path) -> email.message.Message:
    return email.message_from_string((site / INFO / "METADATA").read_text("utf-8"))


def test_a_wheel_holds_every_file_of_both_packages_and_no_other(files: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(files[1]) as archive:
        names = set(archive.namelist())
    expected = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if not name.startswith(f"{INFO}/")} == expected
    assert {
        "edge_embed/cli/guide.md",
        "edge_embed/layouts/facts.json",
        "edge_embed/py.typed",
        "edge_embed/server/page/index.html",
        "edge_embed_convert/py.typed",
        "edge_embed_convert/verification/probes.txt",
    } <= names
    assert f"{INFO}/licenses/LICENSE" in names
    assert files[1].name == f"edge_embed-{VERSION}-py3-none-any.whl"


def test_an_sdist_has_what_its_tests_need(files: tuple[Path, Path]) -> None:
    with tarfile.open(files[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    kept = {"pyproject.toml", "README.md", "CHANGELOG.md", "SECURITY.md", "CITATION.cff", "LICENSE", "Containerfile"}
    kept |= {f"tests/{path.relative_to(ROOT / 'tests').as_posix()}" for path in (ROOT / "tests").rglob("*.py")}
    kept |= {".ci/run", "benchmarks/__main__.py", "docs/service.md", "scripts/release.sh", "convert/__main__.py"}
    assert not kept - names
    assert not [name for name in names if re.search(r"\.pyc$|(^|/)(\.venv|\.git|__pycache__|build|dist)(/|$)", name)]


def test_metadata_say_what_pyproject_does(metadata: email.message.Message) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (metadata["Name"], metadata["Version"]) == ("edge-embed", VERSION)
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    assert metadata["Requires-Python"] == project["requires-python"]
    assert metadata.get_all("Classifier") == project["classifiers"]
    assert dict(line.split(", ") for line in metadata.get_all("Project-URL", [])) == project["urls"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    assert str(metadata.get_payload()).strip() == (ROOT / "README.md").read_text("utf-8").strip()


def test_a_wheel_runs_and_knows_its_version(site: Path) -> None:
    code = """
import importlib.metadata, sys
sys.path.insert(0, SITE)
import edge_embed, edge_embed_convert
assert edge_embed.__file__.startswith(SITE) and edge_embed_convert.__file__.startswith(SITE)
(found,) = importlib.metadata.distributions(name="edge-embed", path=[SITE])
assert found.version == edge_embed.__version__
command = next(one for one in found.entry_points if one.group == "console_scripts")
sys.argv = [command.name, "--version"]
sys.exit(command.load()())
"""
    done = subprocess.run(
        [sys.executable, "-c", code.replace("SITE", repr(str(site)))], capture_output=True, text=True, cwd=site
    )
    assert (done.returncode, done.stdout) == (0, f"edge-embed {VERSION}\n"), done.stderr


def test_nothing_of_this_machine_is_in_it(site: Path) -> None:
    here = str(ROOT).encode()
    assert not [path for path in site.rglob("*") if path.is_file() and here in path.read_bytes()]


def test_every_file_says_the_same_version() -> None:
    citation = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.M)
    assert citation == [VERSION]
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.findall(r"^## \[([\d.]+)\] - \d{4}-\d\d-\d\d$", changelog, re.M)[:1] == [VERSION]
