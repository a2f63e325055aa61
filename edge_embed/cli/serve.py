"""The command serve: models over HTTP."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_embed.errors import InputError, MissingDependencyError
from edge_embed.progress import shown
from edge_embed.remedies.installing import install_extra

if TYPE_CHECKING:
    from edge_embed.server.settings import Settings

NEEDS = ("starlette", "uvicorn", "httptools", "msgspec", "orjson", "prometheus_client")


def configure(commands: Any, default: str) -> None:
    """Add the command to the parser's; `default` is the model where none is named."""
    serve = commands.add_parser(
        "serve", help="answer over HTTP, in the shapes that clients of embeddings already speak"
    )
    add_options(serve, default)
    serve.add_argument("--json", action="store_true", help="print where it answers as one JSON object")
    serve.set_defaults(run=_serve)


def add_options(serve: argparse.ArgumentParser, default: str) -> None:
    """Add what a service is told to a command's parser."""
    serve.add_argument("models", nargs="*", metavar="MODEL[=NAME]", help=f"the first is the default one; {default}")
    serve.add_argument(
        "--index", action="append", default=[], metavar="FILE[=NAME]", help="of `index`, to be searched; may recur"
    )
    where = serve.add_argument_group("where")
    where.add_argument("--host", default="127.0.0.1", help="an address of this machine (default: %(default)s)")
    where.add_argument("--port", type=int, default=8080, help="0 finds a free one (default: %(default)s)")
    where.add_argument("--uds", type=Path, metavar="PATH", help="a socket of the file system instead, for this user")
    who = serve.add_argument_group("who may ask, and for what")
    who.add_argument("--api-key-file", type=Path, metavar="FILE", help="keys, one a line; read again on SIGHUP")
    who.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="without keys; may recur")
    who.add_argument("--cors", action="append", default=[], metavar="ORIGIN", help="a page's origin, or *; may recur")
    who.add_argument("--images", default="data", choices=["urls", "data", "off"], help="default: %(default)s")
    who.add_argument("--token-ids", action="store_true", help="take token ids of the model's own vocabulary")
    much = serve.add_argument_group("how much")
    much.add_argument("--max-wait", default="30s", metavar="TIME", help="send away who would wait longer (%(default)s)")
    much.add_argument("--max-queue-tokens", type=int, default=1 << 20, metavar="N", help="default: %(default)s")
    much.add_argument("--max-body", default="32MB", metavar="SIZE", help="of one request (default: %(default)s)")
    much.add_argument("--max-memory", metavar="SIZE", help="of all models together; idle ones make room")
    much.add_argument("--max-tokens", type=int, metavar="N", help="of a text, where the model takes more")
    much.add_argument("--threads", type=int, metavar="N", help="default: every CPU that may be used")
    when = serve.add_argument_group("when")
    when.add_argument("--preload", action="store_true", help="load models now, not when they are first asked for")
    when.add_argument("--idle-unload", metavar="TIME", help="unload a model that nobody used for so long, such as 10m")
    when.add_argument("--drain-delay", default="0s", metavar="TIME", help="from SIGTERM to the listeners' end")
    serve.add_argument("--workload", default="bulk", choices=["bulk", "single"], help="default: %(default)s")
    serve.add_argument("--offline", action="store_true", default=None, help="never use the network")
    serve.add_argument("--log-format", default="text", choices=["text", "json"], help="default: %(default)s")
    serve.set_defaults(default_model=default)


def _serve(args: argparse.Namespace) -> None:
    settings = read(args)
    for name in NEEDS:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise MissingDependencyError(f"serve needs {error.name}: {install_extra('server')}") from error
    from edge_embed.server.run import serve

    with shown("nowhere"):  # its log is for machines too
        serve(settings, _tell_json if args.json else _tell)


def read(args: argparse.Namespace) -> Settings:
    """Read the arguments; raise InputError for an impossible one."""
    from edge_embed.selection.memory import size_in_bytes
    from edge_embed.server.settings import Settings, seconds

    if not 0 <= args.port <= 65535:
        raise InputError(f"--port {args.port} is none: give 0 to 65535")
    for name in ("threads", "max_queue_tokens", "max_tokens"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(args, name)} must be at least 1")
    return Settings(
        models=args.models or [args.default_model],
        index=args.index,
        host=args.host,
        port=args.port,
        uds=args.uds,
        api_key_file=args.api_key_file,
        max_wait=seconds(args.max_wait),
        max_queue_tokens=args.max_queue_tokens,
        max_body=size_in_bytes(args.max_body),
        max_memory=size_in_bytes(args.max_memory) if args.max_memory is not None else None,
        max_tokens=args.max_tokens,
        idle_unload=seconds(args.idle_unload) if args.idle_unload is not None else None,
        preload=args.preload,
        drain_delay=seconds(args.drain_delay),
        cors=args.cors,
        allow_host=args.allow_host,
        images=args.images,
        token_ids=args.token_ids,
        log_format=args.log_format,
        workload=args.workload,
        threads=args.threads,
        offline=args.offline,
    )


def _tell_json(places: Sequence[str]) -> None:
    print(json.dumps({"serving": [*places]}), flush=True)


def _tell(places: Sequence[str]) -> None:
    print(*(f"serving on {place}" for place in places), sep="\n", flush=True)
