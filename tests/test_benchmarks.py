"""The benchmarks can be listed, and run; how fast anything is, no test asks."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.quality import architectures
from benchmarks.report import Table
from benchmarks.timing import Seconds, alternate, median
from benchmarks.worker import Worker
from edge_embed.architectures import names

from support.places import ROOT

MODULES = sorted((ROOT / "benchmarks").rglob("*.py"))
NAMES = command.names()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_without_a_name_all_are_listed() -> None:
    shown = run()
    assert shown.returncode == 0
    assert not shown.stderr
    for name in NAMES:
        assert f"\n{name}\n    " in shown.stdout
    assert "--batch-tokens" in shown.stdout
    assert "which is not installed" not in shown.stdout


def test_names_are_those_of_the_modules_that_can_be_run() -> None:
    assert {"speed.texts", "quality.gguf", "memory.plan", "models.openvino", "chart"} <= set(NAMES)
    declared = {path for path in MODULES if "\ndef run(args" in path.read_text("utf-8")}
    folders = {path.parent.with_suffix(".py") if path.name == "__init__.py" else path for path in declared}
    assert {ROOT.joinpath("benchmarks", *name.split(".")).with_suffix(".py") for name in NAMES} == folders


def test_a_name_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(SystemExit, match=r"no benchmark 'speed'; there are chart, .*speed\.texts"):
        command.main(["speed"])


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_and_argument_is_described(name: str) -> None:
    benchmark = importlib.import_module(f"benchmarks.{name}")
    parser = command.parser_of(name, benchmark)
    assert (parser.description or "").partition("\n")[0].endswith(".")
    assert f"python -m benchmarks {name}" in (parser.description or "").replace("\\\n       ", "")
    assert [action.dest for action in parser._actions if not action.help] == []
    assert "usage: python -m benchmarks" in parser.format_help()


def test_no_module_changes_the_path() -> None:
    assert not [path for path in MODULES if "sys.path" in path.read_text("utf-8")]


def test_texts_are_embedded_in_another_process(checkpoint: Path) -> None:
    done = run("speed.texts", "--model", str(checkpoint), "--texts", "4", "--rounds", "1", "--peers")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["benchmark"] == "speed.texts"
    assert report["machine"]["versions"]["onnxruntime"]
    assert set(report["engines"]) == {"edge_embed float32", "edge_embed int8"}
    for row in report["engines"].values():
        assert min(row["wall_s"], row["cpu_s"], row["peak_mb"], row["start_s"]) > 0
    assert "| edge_embed int8 | " in done.stdout


def test_bars_are_drawn_of_a_json_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = tmp_path / "line.json"
    line.write_text(json.dumps({"engines": {"edge_embed int8": {"speed": 2.0}, "peer": {"speed": 1.0}}}))
    with line.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        command.main(["chart", "speed", "texts per second", str(tmp_path / "bars.svg")])
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'bars.svg'} shows 2 engines")
    assert (tmp_path / "bars.svg").read_text().count("<rect") == 3


def test_an_engine_that_ends_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ended without an answer"):
        Worker("texts", "edge", "/there/is/no/such/model", "texts.json")
    assert "/there/is/no/such/model" in capfd.readouterr().err


def test_the_table_of_architectures_is_whole() -> None:
    """`python -m benchmarks quality.architectures --only NEW --write docs/models.md` adds a row."""
    rows = architectures.rows_in((ROOT / "docs" / "models.md").read_text("utf-8"))
    assert rows.keys() == set(names())
    for name, (_, models, *cells) in rows.items():
        assert models == architectures.models_of(name)
        there = [name in names(package) for _, package, *_ in architectures.FORMATS.values()]
        assert [cell != architectures.ABSENT for cell in cells] == there


def test_rows_of_a_table_are_replaced_and_others_stay(tmp_path: Path) -> None:
    text = f"before\n{architectures.START}\n\n| `bert` | old | 1 | 2 | 3 |\n\n{architectures.END}\nafter\n"
    made = architectures.row("mpnet", {"onnx": [architectures.Measured(2e-7, 0.99876)]})
    assert made[2:] == ["2e-07, 0.9988", "none", "tested"]
    table = architectures.tabulate({**architectures.rows_in(text), "mpnet": made, "gone": ["`gone`", *"abcd"]})
    found = architectures.replaced(text, table)
    assert list(architectures.rows_in(found)) == ["bert", "mpnet"]
    assert (found.startswith("before\n"), found.endswith("after\n")) == (True, True)
    with pytest.raises(ValueError, match="the file has no <!-- architectures --> before"):
        architectures.replaced("nothing", table)


def test_engines_take_turns_and_warm_up() -> None:
    turns: list[str] = []
    results = alternate({name: lambda name=name: turns.append(name) or len(turns) for name in "ab"}, rounds=2)
    assert "".join(turns) == "ababab"
    assert results == {"a": [3, 5], "b": [4, 6]}


def test_medians_are_taken_of_each_clock() -> None:
    assert median([Seconds(1, 9), Seconds(3, 7), Seconds(2, 8)]) == Seconds(2, 8)


def test_a_table_refuses_a_row_of_another_length() -> None:
    table = Table("a", "b")
    table.add("1", "2")
    assert str(table) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        table.add("1")


def test_defaults_are_told() -> None:
    parser = argparse.ArgumentParser(formatter_class=command.Formatter)
    parser.add_argument("--lengths", nargs="*", type=int, default=[16, 512], help="in tokens")
    parser.add_argument("--keep", action="store_true", help="the folder")
    assert "in tokens (default: 16 512)" in parser.format_help()
    assert parser.format_help().rstrip().endswith("the folder")
