"""The dashboard asks for metrics that the service has, and Prometheus' own tool takes both."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.places import ROOT
from support.service import Running

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool on this machine")
DASHBOARD = json.loads((ROOT / "docs" / "grafana.json").read_text("utf-8"))
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
QUERIES = [variable["query"] for variable in DASHBOARD["templating"]["list"]]
LISTED = """
    requests_total request_duration_seconds tokenize_duration_seconds queue_duration_seconds compute_duration_seconds
    batch_texts batch_tokens batch_padding_ratio queue_texts queue_tokens texts_total tokens_total truncated_texts_total
    rejected_total abandoned_texts_total model_info
"""


@pytest.fixture(scope="module")
def exposition(service: Running) -> str:
    """Return what the service exports once it has answered, cut, and refused."""
    assert service.ask(["a", "b" * 50])[0] == 200
    assert service.ask("none")[0] == 400
    return str(service.send("GET", "/metrics")[2], "utf-8")


def families(exposition: str) -> dict[str, str]:
    """Return the kind of each metric by its name."""
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", exposition, re.M))


def test_the_service_exports_what_is_promised(exposition: str) -> None:
    found = families(exposition)
    assert not {f"edge_embed_{name}" for name in LISTED.split()} - found.keys()
    assert not [name for name in found if not name.startswith("edge_embed_")]


def test_the_dashboard_asks_for_what_there_is(exposition: str) -> None:
    names = {
        name + suffix
        for name, kind in families(exposition).items()
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }
    asked = {name for text in (*EXPRESSIONS, *QUERIES) for name in re.findall(r"edge_embed_\w+", text)}
    assert not asked - names
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert not {f"edge_embed_{name}" for name in LISTED.split()} - shown


def test_the_dashboard_groups_by_labels_that_there_are(exposition: str) -> None:
    for text in EXPRESSIONS:
        grouped = re.search(r"by \(([\w, ]+)\) .*?(edge_embed_\w+)", text)
        if grouped is None:
            continue
        series = re.search(rf"^{grouped[2]}{{(.*)}} ", exposition, re.M)
        assert series is not None, grouped[2]
        assert set(grouped[1].split(", ")) <= set(re.findall(r"(\w+)=", series[1])), text


@needs_promtool
def test_prometheus_finds_nothing_odd_in_the_metrics(exposition: str) -> None:
    done = subprocess.run([str(PROMTOOL), "check", "metrics"], input=exposition, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_promtool
def test_prometheus_reads_the_dashboards_questions(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": text.replace("$__rate_interval", "1m")}
        for number, text in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")
    done = subprocess.run([str(PROMTOOL), "check", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(EXPRESSIONS)} rules found" in done.stdout


def test_panels_lie_beside_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not taken & cells
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
