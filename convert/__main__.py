"""edge-embed convert SOURCE --out DIR --to FORMAT:LEVEL[,FORMAT:LEVEL...]; the same as python -m edge_embed_convert."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError, EdgeEmbedError, InputError, VerificationError, listing
from edge_embed.formats.json_file import read_json
from edge_embed.layouts.folder import ModelFolder
from edge_embed.loading.find import find_model
from edge_embed.loading.request import load_request
from edge_embed.progress import tell

from .conversion import convert


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "source", help="checkpoint: a folder, user/repo[@revision], package:NAME/FOLDER, or a GGUF file or [:LEVEL]"
    )
    parser.add_argument("--out", type=Path, required=True, help="where <name>[-<task>][-GGUF|-mlx]/ are made")
    parser.add_argument(
        "--to", required=True, metavar="FORMAT:LEVEL,...", help="for example onnx:int8,gguf:Q4_K_M,mlx:4bit or gguf:all"
    )
    parser.add_argument("--task", metavar="TASK,...", help="merge the base's adapters of these tasks, or of all")
    parser.add_argument("--adapter", type=Path, metavar="PATH", help="merge a PEFT LoRA folder into the checkpoint")
    parser.add_argument("--spec", type=Path, metavar="FILE", help="JSON with keys of edge_embed.json that are to hold")
    parser.add_argument("--calibration", type=Path, metavar="FILE", help="texts to calibrate with, one a line")
    parser.add_argument(
        "--group-size", type=int, default=64, choices=[32, 64, 128], help="weights to one MLX scale (default 64)"
    )
    parser.add_argument("--name", help="name of the model and its folder (default: the source's)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="keep levels that fall below their bound, with what they lose in the card; loading them warns",
    )
    parser.add_argument(
        "--portable",
        action="store_true",
        help="add to each ONNX level a graph in standard operators, on the same weights, for OpenVINO and others",
    )
    parser.add_argument(
        "--checkpoint",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="write model.safetensors, float32, in <name>[-<task>]/ (default: when an adapter is merged for ONNX)",
    )
    parser.add_argument("--json", action="store_true", help="print the folders made, and what was refused, as JSON")


def run(args: argparse.Namespace) -> None:
    """Convert as the arguments say, telling each step on standard error."""
    request = load_request(args.source)
    with find_model(request) as found:
        model = _of_level(found.model, args.source, request.reference.level)
        repo = replace(found, model=model).fetch(model.checkpoint_files)
    values = {"source": repo.spec.source, "revision": repo.spec.revision, **_values(args.spec)}
    tasks = _tasks(args.task, repo)
    name = f"{repo.spec.name}-{args.adapter.resolve().name}" if args.adapter else repo.spec.name
    adapter = args.adapter or repo.adapter
    to = _words(args.to)
    merged = bool(tasks or adapter) and any(target.startswith("onnx:") for target in to)
    keep = args.checkpoint if args.checkpoint is not None else merged
    made: list[Path] = []
    refused: list[str] = []
    for task in tasks or [None]:
        try:
            folders = convert(
                repo.folder if repo.original else repo.folder / str(repo.checkpoint),
                args.out,
                to,
                name=args.name or name,
                task=task,
                adapter=adapter,
                spec=values,
                calibration=args.calibration,
                group_size=args.group_size,
                overwrite=args.overwrite,
                keep_checkpoint=keep,
                accept_loss=args.accept_loss,
                portable=args.portable,
                report=tell,
            )
        except VerificationError as error:  # the other tasks are converted all the same
            refused.append(f"{task}: {error}" if task else str(error))
            folders = error.kept
        made += folders
        if not args.json:
            print(*folders, sep="\n", end="\n" * bool(folders), flush=True)
    if args.json:
        print(json.dumps({"folders": [str(folder) for folder in made], "refused": refused}, indent=2))
    if refused:
        raise VerificationError("\n".join(refused))


def _of_level(model: ModelFolder, source: str, level: str | None) -> ModelFolder:
    """Return the folder with the GGUF file of a level for its checkpoint; None: with the one that it has."""
    if level is None:
        return model
    named = [one for one in model.spec.weights if (one.format, one.level) == ("gguf", level)]
    if not named:
        raise InputError(
            f"{source!r} names a level; what to make is said by --to, and there is no GGUF file of that level to make "
            "it of"
        )
    return replace(model, checkpoint=named[0].files[0].path)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _tasks(text: str | None, repo: ModelFolder) -> list[str | None]:
    """Return the tasks to convert one after the other, all known before the first is begun."""
    if text is None:
        return []
    known = repo.tasks
    tasks = list(known) if text == "all" else list(dict.fromkeys(_words(text)))
    if not tasks or (unknown := [task for task in tasks if task not in known]):
        wrong = listing(unknown) if tasks else repr(text)
        raise InputError(f"--task: unknown {wrong}: {repo.folder} has adapters for {listing(known)}")
    return [*tasks]


def _values(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = read_json(path)
    except CorruptModelError as error:
        raise InputError(f"--spec {path} is not JSON that can be read: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"--spec {path} holds a {type(values).__name__}, expected an object with keys of a spec")
    return values


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the artefacts are there, 1 after an error or when some were refused, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m edge_embed_convert", description=__doc__)
    configure(parser)
    try:
        run(parser.parse_args(argv))
    except EdgeEmbedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
