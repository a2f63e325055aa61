"""Writes the tables and pictures of the benchmark of peers into the documentation, from its JSON.

    python -m benchmarks peers.write benchmarks/results/NAME.json

docs/benchmarks.md and its pictures are written anew, in README.md what stands between its two marks, and the site's
navigation gets a line where it has none.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import chart
from benchmarks.report import Report, Table
from benchmarks.worker import ROOT

from . import tables
from .catalogue import OURS, TORCH
from .corpus import LIMIT
from .models import MINILM

PAGE, README, SITE, PICTURES = "docs/benchmarks.md", "README.md", "zensical.toml", "docs/images"
FIGURES = '    { "Figures" = [\n'  # the site's section that the page stands in
BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
SHOWN = 12  # bars of a picture
TITLES = {
    "peers-speed.svg": f"Texts per second, all-MiniLM-L6-v2, engines with a mean cosine of {tables.BOUND} and more",
    "peers-query.svg": "Milliseconds of one query, median",
    "peers-memory.svg": "Peak memory in MB, texts in bulk",
    "peers-start.svg": "Seconds from the start of a process to its first vector",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("result", type=Path, help="the JSON file that `python -m benchmarks peers --out` wrote")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout whose documentation is written")


def run(args: argparse.Namespace) -> Report:
    """Write all files."""
    files = written(args.result.resolve(), args.root.resolve())
    for path, text in files.items():
        (args.root / path).parent.mkdir(parents=True, exist_ok=True)
        (args.root / path).write_text(text, "utf-8")
    return Report([*files], {"files": list(files)})


def written(result: Path, root: Path) -> dict[str, str]:
    """Return the files' names below the checkout and what each is to hold."""
    found = json.loads(result.read_text("utf-8"))
    name = result.relative_to(root).as_posix() if result.is_relative_to(root) else result.name
    readme = (root / README).read_text("utf-8")
    before, rest = readme.split(f"{BEGIN}\n", 1)
    _, after = rest.split(f"{END}\n", 1)
    short = f"{BEGIN}\n{summary(found)}\n{END}\n"
    site = (root / SITE).read_text("utf-8")
    if f'"{Path(PAGE).name}"' not in site:
        site = site.replace(FIGURES, f'{FIGURES}        {{ "Benchmarks" = "{Path(PAGE).name}" }},\n')
    return {PAGE: page(found, name), README: before + short + after, SITE: site, **pictures(found)}


def page(found: Mapping[str, Any], name: str) -> str:
    """Return the page."""
    shown = pictures(found)
    head = (
        "# Benchmarks\n\nedge_embed and its peers, each in an environment of its own, with the same texts and threads"
        " and the settings that its own documentation recommends. Beside every speed stands the cosine to transformers"
        " in float32: the mean, and that of the hundredth part that is furthest. Below a mean of"
        f" {tables.BOUND} the work is not the same."
    )
    sections = [
        head,
        *(f"![{TITLES[Path(path).name]}]({path.removeprefix('docs/')})" for path in shown),
        f"## How it was measured\n\n{method(found, name)}",
        f"## Texts\n\n{tables.join(tables.model_table(found, model) for model in found['models'])}",
        *section(found, "starts", "Starts", tables.start_table),
        *section(found, "asking", "Many threads, and a busy machine", lambda it: tables.join(tables.asking_tables(it))),
        *section(found, "long", "Long texts", tables.long_table),
        *section(found, "images", "Images", tables.image_table),
        *section(found, "growth", "Ever more texts", tables.growth_table),
        f"## Conversion and installation\n\n{tables.join(tables.made_tables(found))}",
        f"## What could not be measured\n\n{tables.refused_table(found)}",
    ]
    return "\n\n".join(sections) + "\n"


def section(found: Mapping[str, Any], key: str, title: str, table: Callable[[Mapping[str, Any]], object]) -> list[str]:
    """Return a section of what was measured, or none."""
    return [f"## {title}\n\n{table(found)}"] if found.get(key) else []


def method(found: Mapping[str, Any], name: str) -> str:
    """Tell the machine, the texts and the commands."""
    texts, plan = found["texts"]["bulk"], found["plan"]
    limits = f" {tables.limits_line(found)}" if "limits" in found else ""
    cut = f"each of {LIMIT} tokens at most, so that none is cut; SHA-256 `{texts['sha256'][:16]}`"
    commands = (
        f"`python -m benchmarks peers --keep DIR --out {name}` measures, `python -m benchmarks peers.write {name}`"
    )
    return (
        f"{tables.machine_line(found)}.{limits}\n\n{plan['texts']:,} texts of {texts['tokens']:,} of MiniLM's tokens:"
        " half English documentation and licences, half programs' messages in other languages, as they lie on the"
        f" machine, {cut}. Engines take turns; medians of {plan['rounds']} rounds, quartiles in brackets; one without"
        " quartiles is so slow that it got fewer texts, once. The share of the machine is that of the products that it"
        " can make in the type of the weights, attention's own left out.\n\n"
        f"The raw figures are in `{name}`: {commands} makes this page."
    )


def summary(found: Mapping[str, Any], rows: int = 6) -> str:
    """Return README's table: ours and the fastest others with MiniLM, those under the bound left out."""
    told, count = found["models"][MINILM], found["plan"]["texts"]
    table = Table(MINILM, "texts/s", "cosine", "one query, ms", "peak MB", "start to first vector, s")
    starts = found.get("starts", {}).get(MINILM, {})
    able = {name: row for name, row in told["rows"].items() if at_bound(row)}
    order = sorted(able, key=lambda name: -tables.speed_of(able[name], "bulk", able[name]["bulk"]["count"]))
    others = [name for name in order if not name.startswith(OURS)][:rows]
    for name in [name for name in order if name.startswith(OURS) or name in {*others, TORCH}]:
        row, start = able[name], starts.get(name)
        table.add(
            name,
            f"{tables.speed_of(row, 'bulk', row['bulk']['count']):,.0f}",
            f"{row['cosine']['mean']:.4f}",
            f"{row['single']['p50']:.1f}" if row["single"] else "",
            f"{row['bulk']['memory']['peak']:,.0f}",
            f"{statistics.median(start['warm']):.2f}" if start else "",
        )
    text = f"{count:,} texts of mixed length and language, {found['conditions']['threads']} threads, medians"
    return f"{text}; each peer in its own environment ([all of it]({PAGE})):\n\n{table}\n"


def at_bound(row: Mapping[str, Any]) -> bool:
    """Tell whether an engine's vectors are near enough to the oracle's."""
    return bool(row["cosine"]) and row["cosine"]["mean"] >= tables.BOUND


def pictures(found: Mapping[str, Any]) -> dict[str, str]:
    """Return bars of MiniLM: texts a second of those at the bound, a single query, memory, starts."""
    rows = {name: row for name, row in found["models"][MINILM]["rows"].items() if at_bound(row)}
    starts = found.get("starts", {}).get(MINILM, {})
    values = {
        "peers-speed.svg": {name: tables.speed_of(row, "bulk", row["bulk"]["count"]) for name, row in rows.items()},
        "peers-query.svg": {name: row["single"]["p50"] for name, row in rows.items() if row["single"]},
        "peers-memory.svg": {name: row["bulk"]["memory"]["peak"] for name, row in rows.items()},
        "peers-start.svg": {name: statistics.median(row["warm"]) for name, row in starts.items() if name in rows},
    }
    drawn = {}
    for name, bars in values.items():
        ordered = sorted(bars.items(), key=lambda bar: bar[1], reverse=name == "peers-speed.svg")[:SHOWN]
        if ordered:
            drawn[f"{PICTURES}/{name}"] = chart.draw(dict(ordered), TITLES[name])
    return drawn
