"""The gate for names from outside: what may become a path, and what may be printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_embed import CorruptModelError, InputError, ModelSpec
from edge_embed.cli.main import main
from edge_embed.errors import FallbackWarning, printable, warn
from edge_embed.formats.safetensors import weight_map
from edge_embed.hub.checksums import named_sums
from edge_embed.layouts.folder import read_folder
from edge_embed.spec.names import as_model_name, is_commit, name_fault, path_fault
from edge_embed_convert import convert

from support.fake import SPEC

GOOD = ["a", "a/b.json", ".gitattributes", "1_Pooling/config.json", "ä/日本.onnx", "a b", "x" * 255, "console/nullable"]
BAD = [
    ("", "empty"),
    ("/a", "'' stands between"),
    ("../a", "'..' stands between"),
    ("a/../../b", "'..' stands between"),
    ("a//b", "'' stands between"),
    ("a/", "'' stands between"),
    ("./a", "'.' stands between"),
    ("C:/a", "':'"),
    ("C:a", "':'"),
    ("a.txt:stream", "':'"),
    ("..\\a", r"'\\\\'"),
    ("\\\\host\\share", r"'\\\\'"),
    ("a?", "'?'"),
    ("a\0b", "cannot be printed"),
    ("a\x1b[2Jb", "cannot be printed"),
    ("a\nb", "cannot be printed"),
    ("a\u202eb", "cannot be printed"),
    ("a\ud800", "cannot be printed"),
    ("nul", "Windows has no such file"),
    ("a/COM1.onnx/b", "Windows has no such file"),
    ("a./b", "Windows has no such file"),
    ("x" * 256, "longer than 255"),
    ("é" * 128, "longer than 255"),
    ("a/" * 600 + "a", "longer than 1024"),
]
ILL_NAMES = ["../../x", "/tmp/x", "a/b", "C:x", ".hidden", "..", "a\x1b[31m", "nul", "", "x" * 300]


@pytest.mark.parametrize("path", GOOD)
def test_paths_below_a_folder(path: str) -> None:
    assert path_fault(path) is None


@pytest.mark.parametrize(("path", "reason"), BAD, ids=lambda text: ascii(text)[:30])
def test_other_paths_are_refused_with_the_reason(path: str, reason: str) -> None:
    assert reason.replace("\\\\\\\\", "\\\\") in (path_fault(path) or "")
    for value in (None, 3, ["a"]):
        assert path_fault(value) == "it is no text"


@pytest.mark.parametrize("name", [*ILL_NAMES, "e5-v", "my model", ".a:b/c", "\ud800", "日本", "COM7.x", "x" * 400])
def test_the_nearest_name_can_always_be_one(name: str) -> None:
    near = as_model_name(name)
    assert name_fault(near) is None
    assert near == name or name_fault(name) or len(name) > 100


def test_a_commit_is_40_hex_digits() -> None:
    assert is_commit("0123456789abcdef" * 2 + "01234567")
    for other in ("../x", "0" * 39, "0" * 41, "G" * 40, "0" * 40 + "\n", None):
        assert not is_commit(other)


@pytest.mark.parametrize("name", ILL_NAMES)
def test_a_spec_with_an_ill_name_is_refused(name: str, checkpoint: Path, tmp_path: Path) -> None:
    """It would name the folder of a conversion."""
    values = {**json.loads(SPEC.to_json()), "name": name}
    with pytest.raises(
        CorruptModelError, match=r"^edge_embed.json: name: .* cannot be a model's name, which also names"
    ):
        ModelSpec.from_json(json.dumps(values), "edge_embed.json")
    with pytest.raises(InputError, match=r"^name: .* cannot be a model's name"):
        convert(checkpoint, tmp_path / "a" / "out", ["onnx:float32"], name=name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", [path for path, _ in BAD])
def test_an_ill_path_of_a_file_is_refused_wherever_it_stands(path: str, tmp_path: Path) -> None:
    weights = {"format": "onnx", "level": "int8", "files": [{"path": path}]}
    text = json.dumps({**json.loads(SPEC.to_json()), "weights": [weights]})
    with pytest.raises(CorruptModelError, match=r"x: weights.files.path: .* below a folder: |surrogates not allowed"):
        ModelSpec.from_json(text, "x")
    (tmp_path / "index.json").write_text(json.dumps({"weight_map": {"a": path}}))
    with pytest.raises(CorruptModelError, match=r"names files that do not lie beside it|surrogates not allowed"):
        weight_map(tmp_path / "index.json")
    if path.isprintable():
        (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  {path}\n")
        with pytest.raises(CorruptModelError, match="SHA256SUMS, line 1 is no hash and path"):
            named_sums(tmp_path)


def test_a_module_lies_in_the_models_folder(source: Path) -> None:
    modules = json.loads((source / "modules.json").read_text())
    for path in ("../elsewhere", "/etc", 7):
        modules[1]["path"] = path
        (source / "modules.json").write_text(json.dumps(modules))
        with pytest.raises(CorruptModelError, match=r"modules.json: .* cannot be a path below a folder"):
            read_folder(source)


def test_a_folder_of_any_name_gives_a_name_that_can_be_one(source: Path) -> None:
    for folder, name in ((".hidden", "hidden"), ("a:b", "a-b"), ("con", "model-con")):
        source = source.rename(source.with_name(folder))
        assert read_folder(source).spec.name == name


def test_what_is_said_holds_nothing_that_a_terminal_would_obey() -> None:
    assert printable("plain ä\n\t日本") == "plain ä\n\t日本"
    assert printable("\x1b]0;x\x07\x9b2J\r\u202e\ud800") == r"\u001b]0;x\u0007\u009b2J\u000d\u202e\ud800"
    assert str(CorruptModelError("a \x1b[2J name")) == r"a \u001b[2J name"
    with pytest.warns(FallbackWarning, match=r"^a \\u001b\[2J name$"):
        warn("a \x1b[2J name", FallbackWarning)
    said = json.dumps({"a": "\x9b\xa0\u202e\U000e0001"}, ensure_ascii=False)
    assert json.loads(printable(said)) == json.loads(said)


def test_the_command_line_prints_no_more_than_can_be_seen(
    converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "converted" / ("a" * 16) / "m"
    folder.mkdir(parents=True)
    spec = json.loads((converted / "edge_embed.json").read_text())
    spec |= {"license": "\x9b2J\x1b[2J", "source": "user/\x1b]0;m", "weights": []}
    (folder / "edge_embed.json").write_text(json.dumps(spec))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_text("")
    for words in (["info", str(folder)], ["info", "--json", str(folder)], ["list", "--cache-dir", str(tmp_path)]):
        assert main(words) == 0
        told = capsys.readouterr().out
        assert r"\u001b" in told
        assert told.replace("\n", "").isprintable()
