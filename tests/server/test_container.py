"""The container's file; scripts/container.sh builds it and runs it, which takes minutes and root."""

from __future__ import annotations

import re
import subprocess
import tomllib

from support.places import ROOT

TEXT = (ROOT / "Containerfile").read_text("utf-8")


def test_it_copies_what_the_installation_needs() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    copied = {word for line in re.findall(r"^COPY (?!--)(.*) \S+$", TEXT, re.M) for word in line.split()}
    project, folders = settings["project"], settings["tool"]["setuptools"]["package-dir"]
    assert copied == {"pyproject.toml", project["readme"], *project["license-files"], *folders.values()}


def test_it_is_not_root_and_tells_its_health() -> None:
    user = re.findall(r"^USER (\d+):(\d+)$", TEXT, re.M)[-1]
    assert "0" not in user
    assert re.search(r"^HEALTHCHECK .*/readyz", TEXT, re.M)
    assert re.search(r"^ARG BASE=", TEXT, re.M)


def test_the_script_is_one() -> None:
    subprocess.run(["bash", "-n", str(ROOT / "scripts" / "container.sh")], check=True)
