"""How far a job is, and whether its parts are what was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_embed import InputError
from edge_embed.cli.main import main
from edge_embed.errors import CorruptModelError
from edge_embed.jobs import run
from edge_embed.jobs.status import status, verify


def test_status_and_verify(quick: str, lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    run(lines, out, model=quick, rows=16, shard=(0, 2))
    assert (status(out).parts, status(out).all_parts, status(out).rows) == (2, 4, 32)
    assert main(["run", "--status", str(out)]) == 0
    assert "2 of 4 parts: 32 of 60 rows (53.3%), 32 vectors, 0 rejected" in capsys.readouterr().out
    with pytest.raises(CorruptModelError, match=r"2 of 4 parts .* missing(.|\n)*part-00000001.npy is missing"):
        verify(out)
    run(lines, out, model=quick, rows=16)
    assert main(["verify", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vectors"] == 60
    path = out / "parts" / "part-00000002.npy"
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    assert main(["verify", str(out)]) == 1
    assert "part-00000002.npy is damaged" in capsys.readouterr().err
    path.unlink()
    assert main(["run", "--out", str(out), "--json", "--progress", "json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["vectors"] == 60
    assert json.loads(told.err.splitlines()[-1])["rows"] == 60
    assert main(["verify", str(out)]) == 0
    with pytest.raises(InputError, match="is no job's folder"):
        status(tmp_path)
