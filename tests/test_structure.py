"""The house: storeys, no circles, and that every room is packed into the wheel."""

from __future__ import annotations

import ast
import graphlib
import re
import tomllib

from support.places import ROOT

# A folder, or a file beside the folders, may import what stands in an earlier row, never its own row's others.
STOREYS = {
    "edge_embed": [
        {"errors"},
        {"progress", "remedies"},
        {"notebooks"},
        {"spec", "vectors"},
        {"formats", "architectures", "hub", "device", "images", "records"},
        {"layouts", "backends"},
        {"pipeline", "selection"},
        {"loading"},
        {"embedder"},
        {"batching"},
        {"jobs", "search", "integrations", "compat"},
        {"server"},
        {"cli"},
    ],
    "edge_embed_convert": [
        {"checkpoint"},
        {"export"},
        {"verification"},
        {"onnx", "gguf", "mlx"},
        {"calibrate", "variant", "publishing"},
        {"conversion"},
        {"__main__"},
    ],
}
FOLDERS = {"edge_embed": ROOT / "edge_embed", "edge_embed_convert": ROOT / "convert"}
MODULES = {
    ".".join([package, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): path
    for package, folder in FOLDERS.items()
    for path in folder.rglob("*.py")
}


def imports(module: str) -> set[str]:
    """List our own modules that a module imports, at the top or inside a function."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            names = {f"{start}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else start for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & MODULES.keys()


def test_imports_run_down_the_storeys() -> None:
    upward = []
    for module in MODULES:
        package, _, rest = module.partition(".")
        storey = {name: number for number, names in enumerate(STOREYS[package]) for name in names}
        here = rest.partition(".")[0]
        if not here:
            continue  # the package's own __init__ hands out names of every storey
        for other in imports(module):
            room = other.partition(".")[2].partition(".")[0]
            if other.startswith(f"{package}.") and room != here and storey[room] >= storey[here]:
                upward.append(f"{module} imports {other}")
    assert not upward


def test_the_page_shows_the_same_storeys() -> None:
    first = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", (ROOT / "docs/architecture.md").read_text("utf-8"), re.M)
    rows = [{name.removesuffix("/").removesuffix(".py") for name in re.findall("`([^`]+)`", row)} for row in first]
    assert rows == [row for storeys in STOREYS.values() for row in storeys]


def test_no_two_files_import_each_other() -> None:
    graphlib.TopologicalSorter({module: imports(module) - {module} for module in MODULES}).prepare()


def test_imports_climb_in_the_converter_alone() -> None:
    """Its folder is installed under another name, so that it cannot name itself; the runtime names other rooms."""
    runtime = {name: path.read_text("utf-8") for name, path in MODULES.items() if name.startswith("edge_embed.")}
    assert not [name for name, text in runtime.items() if re.search(r"^\s*from \.\.", text, re.M)]
    converter = {
        name: path.read_text("utf-8") for name, path in MODULES.items() if name.startswith("edge_embed_convert")
    }
    assert not [
        name for name, text in converter.items() if re.search(r"^\s*(from|import) edge_embed_convert", text, re.M)
    ]


def test_onnxruntime_is_imported_where_its_telemetry_is_off() -> None:
    importing = re.compile(r"^\s*(import onnxruntime|from onnxruntime\b.* import|.*import_module\(.onnxruntime)", re.M)
    files = [
        path for folder in ("edge_embed", "convert", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py")
    ]
    found = {path.relative_to(ROOT).as_posix() for path in files if importing.search(path.read_text("utf-8"))}
    ours_first, told = "benchmarks/models/shapes.py", "benchmarks/engines/peers/pytorch.py"  # started without
    assert found == {"edge_embed/backends/onnx/runtime.py", ours_first, told}


def test_every_folder_is_packed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    folders = {module for module, path in MODULES.items() if path.name == "__init__.py"}
    assert folders == set(settings["tool"]["setuptools"]["packages"])


def test_few_files_lie_beside_the_folders() -> None:
    assert len(list((ROOT / "edge_embed").glob("*.py"))) <= 8


def test_every_file_is_short_and_says_what_it_is() -> None:
    texts = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in MODULES.values()}
    assert not [name for name, text in texts.items() if not ast.get_docstring(ast.parse(text))]
    assert not [name for name, text in texts.items() if text.count("\n") > 300]
