"""Tables of what the benchmark of peers found; medians, and quartiles in brackets."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.report import Table, describe

from .catalogue import TORCH
from .machine import NANO, share

BOUND = 0.995  # the mean cosine to the oracle from which a speed counts as the same work
Found = Mapping[str, Any]


def speed_of(row: Found, what: str, amount: float) -> float:
    """Return how much a second is embedded, by the median of the rounds."""
    walls: list[float] = row[what]["wall"]
    return amount / statistics.median(walls)


def quartiles(samples: Sequence[float], amount: float) -> str:
    """Return the first and the third quartile of a speed, in words."""
    if len(samples) < 2:
        return ""
    first, _, third = statistics.quantiles(samples, n=4, method="inclusive")
    return f" ({amount / third:,.0f} to {amount / first:,.0f})"


def model_table(found: Found, model: str) -> Table:
    """Tell of each engine with a model: speeds, waits, memory, and how near it is to the oracle."""
    told, count, limits = found["models"][model], found["plan"]["texts"], found.get("limits", {})
    table = Table(
        *(model, "texts/s", "of float32 PyTorch", "cosine, mean", "1st percentile", "short texts/s"),
        *("one query, ms, p50", "p95", "p99", "CPU ms", "peak MB", "at rest", "of the machine", "settings"),
    )
    base = told["rows"].get(TORCH)
    for name, row in sorted(
        told["rows"].items(), key=lambda item: statistics.median(item[1]["bulk"]["wall"]) / item[1]["bulk"]["count"]
    ):
        speed = speed_of(row, "bulk", row["bulk"]["count"])
        part = share(model, told["tokens"]["bulk"] / count * speed, row["bits"], limits)
        single, cosine = row["single"], row["cosine"]
        table.add(
            f"**{name}**" if name.startswith("edge") else name,
            f"{speed:,.0f}{quartiles(row['bulk']['wall'], row['bulk']['count'])}",
            f"{speed / speed_of(base, 'bulk', base['bulk']['count']):.2f}" if base else "",
            *([f"{cosine['mean']:.4f}", f"{cosine['p1']:.4f}"] if cosine else ["", ""]),
            f"{speed_of(row, 'short', min(count, found['texts']['short']['count'])):,.0f}" if row["short"] else "",
            *([f"{single[key]:.1f}" for key in ("p50", "p95", "p99", "cpu_ms")] if single else [""] * 4),
            *(f"{row['bulk']['memory'][key]:,.0f}" for key in ("peak", "now")),
            f"{part:.0%}" if part else "",
            row["settings"],
        )
    return table


def start_table(found: Found) -> Table:
    """Tell of starts."""
    table = Table("start to first vector, s", "model", "files in memory", "files dropped from memory")
    for model, rows in found["starts"].items():
        for name, row in sorted(rows.items(), key=lambda item: statistics.median(item[1]["warm"])):
            cells = (f"{statistics.median(row[kind]):.2f}" if row[kind] else "" for kind in ("warm", "dropped"))
            table.add(name, model, *cells)
    return table


def asking_tables(found: Found) -> list[Table]:
    """Tell of threads that ask, and of a busy machine."""
    told = found["asking"]
    counts = list(next(iter(told["threads"].values()), {}))
    asked = Table("queries/s (p95 in ms), by threads that ask", *counts)
    for name, row in told["threads"].items():
        asked.add(name, *(f"{row[n]['per_s']:,.0f} ({row[n]['p95']:,.0f})" for n in counts))
    busy = Table("texts/s", "alone", "beside as many busy processes as CPUs", "what is left")
    for name in (name for name in told["busy"] if name in told["idle"]):
        alone, beside = (told["texts"] / statistics.median(told[kind][name]["wall"]) for kind in ("idle", "busy"))
        busy.add(name, f"{alone:,.0f}", f"{beside:,.0f}", f"{beside / alone:.0%}")
    return [asked, busy]


def long_table(found: Found) -> Table:
    """Tell of long texts at nano's shape."""
    told, limits = found["long"], found.get("limits", {})
    cases = [key for key in next(iter(told["rows"].values())) if key != "bits"]
    columns = [f"{head}" for case in cases for head in (f"{int(case):,} tokens, tokens/s", "of the machine", "peak MB")]
    table = Table("nano's shape", *columns)
    for name, row in told["rows"].items():
        cells: list[str] = []
        for case in cases:
            speed = int(case) / statistics.median(row[case]["wall"])
            part = share(NANO, speed, row["bits"], limits)
            cells += [f"{speed:,.0f}", f"{part:.0%}" if part else "", f"{row[case]['peak_mb']:,.0f}"]
        table.add(name, *cells)
    return table


def image_table(found: Found) -> Table:
    """Tell of images."""
    table = Table("jina-clip-v1's shape, 640 x 480", "preprocess, ms", "encode, ms", "images/s")
    for name, row in found["images"]["engines"].items():
        table.add(name, f"{row['preprocess']:.1f}", f"{row['encode']:.1f}", f"{1000 / row['all']:.1f}")
    return table


def growth_table(found: Found) -> Table:
    """Tell of ever more texts."""
    counts = list(dict.fromkeys(count for row in found["growth"].values() for count in row))
    table = Table("static model of 256 dimensions, texts/s (peak MB)", *(f"{int(n):,} texts" for n in counts))
    for name, row in found["growth"].items():
        cells = (f"{int(n) / row[n]['s']:,.0f} ({row[n]['peak_mb']:,.0f})" if n in row else "" for n in counts)
        table.add(name, *cells)
    return table


def made_tables(found: Found) -> list[Table]:
    """Tell what conversion and installation take."""
    made = Table("all-MiniLM-L6-v2 converted", "s", "CPU s", "peak MB", "MB written")
    for name, row in found.get("conversion", {}).items():
        if "error" not in row:
            made.add(
                name, f"{row['seconds']:.1f}", f"{row['cpu_s']:.1f}", f"{row['peak_mb']:,.0f}", f"{row['mb']:,.0f}"
            )
    installed = Table("environment", "MB of packages", "s to make", "packages")
    for name, row in sorted(found["environments"].items(), key=lambda item: item[1].get("mb", 0)):
        if "mb" in row:
            installed.add(name, f"{row['mb']:,.0f}", f"{row['seconds']:.1f}", str(len(row["versions"]) or ""))
    return [made, installed]


def refused_table(found: Found) -> Table:
    """Tell what could not be measured."""
    table = Table("not measured", "with", "why")
    for name, why in found["cannot"].items():
        table.add(name, "", why)
    for name, model, why in found["left_out_rows"]:
        table.add(name, model, why)
    for model, told in [*found["models"].items(), ("nano's shape", found.get("long", {}))]:
        for name, why in told.get("refused", {}).items():
            table.add(name, model, " ".join(why.replace("|", "/").split())[:160])
    return table


def join(parts: Iterable[object]) -> str:
    """Put tables below each other."""
    return "\n\n".join(map(str, parts))


def limits_line(found: Found) -> str:
    """Tell what the machine can do."""
    units = {"memory": "GB of memory a second read and written"}
    parts = [f"{value:,.0f} {units.get(name, f'GOP/s in {name}')}" for name, value in found["limits"].items()]
    return f"The machine's limits, probed in the same run: {', '.join(parts)}."


def all_tables(found: Found) -> list[Table | str]:
    """Return everything there is, in order, for a terminal."""
    parts: list[Table | str] = [limits_line(found)] if "limits" in found else []
    parts += [model_table(found, model) for model in found["models"]]
    parts += [start_table(found)] if "starts" in found else []
    parts += asking_tables(found) if "asking" in found else []
    for name, table in (("long", long_table), ("images", image_table), ("growth", growth_table)):
        if found.get(name):
            parts.append(table(found))
    parts += [*made_tables(found), refused_table(found)]
    return [*parts, *([f"left out for time: {', '.join(found['left_out'])}"] if "left_out" in found else [])]


def machine_line(found: Found) -> str:
    """Tell the machine and how it was set."""
    how = found["conditions"]
    governor = how["governor"] or "not told"
    set_so = f"{how['threads']} threads, load {how['load']:.2f} at the start, governor {governor}"
    return f"{describe(found['machine'])}; {set_so}"
