"""README's first screen and its commands; what it shows is run by test_snippets, what installs by .ci/run."""

from __future__ import annotations

import re

from support.pages import blocks, read
from support.places import ROOT

LONGEST = 150  # lines
SCREEN = 45  # lines that are seen at once, in a large window

VENV = [line for block in blocks("README.md", "sh") for line in block.text.splitlines() if line.startswith("python3 ")]


def test_it_is_short_and_shows_the_essentials_first() -> None:
    lines = read("README.md").splitlines()
    assert len(lines) <= LONGEST
    install, python, output = blocks("README.md")[:3]
    assert (install.kind, python.kind, output.kind) == ("sh", "python", "text")
    assert len(install.text.splitlines()) == 3
    assert len([line for line in python.text.splitlines() if line]) == 5
    assert next(n for n, line in enumerate(lines) if line.startswith("| for | model |")) < SCREEN


def test_ci_runs_both_installing_commands() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    for command, name in zip(VENV, ("demo", "tests"), strict=True):
        assert re.match(r"python3 -m venv \.venv && ", command)
        assert f"{name}=$(grep -m 1 '^python3 .*{command.split()[-1]}$' README.md)" in script
    assert 'run_in demo "$demo"\n' in script
    # The second runs in two parts, since the types are checked as soon as everything is installed.
    install, tests = script.index('run_in tests "${tests% && *}"'), script.index('run_in tests "${tests##* && }"')
    assert install < script.index(".venv/bin/mypy") < tests
    assert command.rpartition(" && ")[2] == ".venv/bin/python -m pytest -n 2 --dist loadfile"
