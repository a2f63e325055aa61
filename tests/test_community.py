"""What the forge reads: forms, the release's workflow, the citation; and that SECURITY.md promises what tests hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_embed.cli.main import parser

from support.places import ROOT

FORGE = ROOT / ".github"
FORMS = sorted(path for path in (FORGE / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def read(path: Path) -> Any:
    # PyYAML follows YAML 1.1, to which `on` is true.
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_has_what_the_forge_asks_of_one(path: Path) -> None:
    form = read(path)
    assert form["name"]
    assert form["description"]
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    assert any(part.get("validations", {}).get("required") for part in asked)
    assert len({part["id"] for part in asked}) == len(asked)
    assert all(part["attributes"]["label"] for part in asked)
    commands = re.findall(r"`edge-embed ([a-z]+)[ `]", path.read_text("utf-8"))
    assert set(commands) <= set(re.findall(r"\w+", parser().format_help()))


def test_a_bug_comes_with_what_the_doctor_says() -> None:
    assert any(
        "edge-embed doctor --json" in part["attributes"]["label"]
        for part in read(FORGE / "ISSUE_TEMPLATE/bug.yml")["body"]
    )


def test_only_the_job_that_publishes_gets_the_token_that_publishes() -> None:
    workflow = read(FORGE / "workflows" / "release.yml")
    assert workflow[True] == {"push": {"tags": ["v*"]}}
    assert workflow["permissions"] == {}
    rights = {name: job["permissions"] for name, job in workflow["jobs"].items()}
    assert rights == {"build": {"contents": "read"}, "pypi": {"id-token": "write"}, "notes": {"contents": "write"}}
    assert workflow["jobs"]["pypi"]["environment"]["name"] == "pypi"
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 30
        for step in job["steps"]:
            assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+|[0-9a-f]{40})", step.get("uses", "a/b@v1"))
            assert "${{" not in step.get("run", ""), "a tag's name would be read as shell"


def test_the_workflow_runs_what_there_is() -> None:
    text = (FORGE / "workflows" / "release.yml").read_text("utf-8")
    (command,) = re.findall(r"^        run: (scripts/\S+) out$", text, re.M)
    script = (ROOT / command).read_text("utf-8")
    for folder in ("dist", "about"):
        assert f"out/{folder}/" in text
        assert f'"$out/{folder}"' in script


def test_every_promise_names_tests_that_there_are() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    rows = re.findall(r"^\| ([A-Z].*?) \| (`tests/.*?) \|$", text, re.M)
    assert len(rows) == text.count("`tests/") - sum(cell.count("`tests/") - 1 for _, cell in rows)
    for _, cell in rows:
        assert [path for path in re.findall(r"`(.*?)`", cell) if not (ROOT / path).is_file()] == []


def test_the_citation_says_what_the_package_does() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= citation.keys()
    assert citation["license"] == "Apache-2.0"
    assert all(author["name"] for author in citation["authors"])
