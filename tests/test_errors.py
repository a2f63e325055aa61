"""Warnings name a line of the user's code, wherever in ours they arise."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

from edge_embed.errors import TruncationWarning, listing, warn

USER = """
import warnings
from edge_embed.errors import TruncationWarning, warn

source = "def deep(n):\\n    return deep(n - 1) if n else warn('cut', TruncationWarning)"
for name in ("edge_embed.inner", "edge_embed_convert.inner", "edge_embed_not_ours"):
    space = {"__name__": name, "warn": warn, "TruncationWarning": TruncationWarning}
    exec(compile(source, f"{name}.py", "exec"), space)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        space["deep"](3)  # the line
    print(caught[0].filename, caught[0].lineno)
"""


def test_the_first_line_that_is_not_ours_is_named(tmp_path: Path) -> None:
    script = tmp_path / "user.py"
    script.write_text(USER)
    line = next(n for n, text in enumerate(USER.splitlines(), 1) if "# the line" in text)
    out = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == [f"{script} {line}"] * 2 + ["edge_embed_not_ours.py 2"]


def test_a_warning_from_here_names_here() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn("cut", TruncationWarning)
    assert caught[0].filename == __file__


def test_code_whose_module_has_no_name(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(
            compile("\n\nwarn('cut', TruncationWarning)", "cell", "exec"),
            {"warn": warn, "TruncationWarning": TruncationWarning},
        )
    assert (caught[0].filename, caught[0].lineno) == ("cell", 3)


def test_listing() -> None:
    assert listing(["b", "a"]) == "'a', 'b'"
    assert listing(()) == "none"
