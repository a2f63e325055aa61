"""What every API comes to: an `Ask` for vectors, an `Answer`, and how one API words both.

A shape, a file of `shapes/`, is pure functions between bytes and these. The server alone knows HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from edge_embed.batching.computed import Computed
from edge_embed.pipeline.tokenizer import Truncation
from edge_embed.spec.model import ModelSpec, Side

# A text; {"text": ...}, {"image": URL or data URI or bytes} or both; or token ids of the model's own vocabulary.
Item: TypeAlias = str | Mapping[str, str | bytes] | Sequence[int]
Parameters: TypeAlias = Mapping[str, str]  # of a path, such as a deployment's name
Reason = Literal[
    "bad_request",  # 400: not JSON, a field of the wrong type, an input that cannot be embedded
    "unauthorized",  # 401
    "forbidden",  # 403: images by URL where they are off, another name as Host
    "no_model",  # 404
    "no_index",  # 404
    "no_route",  # 404, and 405 for the wrong method
    "too_large",  # 413
    "too_many",  # 422 in some APIs, 413 in others: more inputs than a request may hold
    "overloaded",  # 429, with Retry-After
    "unavailable",  # 503: draining, the model cannot be loaded now
    "internal",  # 500: the engine failed
]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Vectors that a request asks for; None means as the model says.

    `model` is the name as the client gave it, which may end in `:query`, `:document` or `:TASK`; None or an empty name
    is the first model. `purpose` is a task too, of APIs whose callers always name one: models without tasks pass it
    over, and so do those of other tasks where a side says enough. `dim` cuts the vectors. `keep_errors` gives an error
    in an input's place. `late_chunking` reads the texts as one and pools each over its own tokens. `pieces` asks for
    the texts' tokens in place of vectors, with the special ones around them or without.
    """

    model: str | None
    inputs: Sequence[Item]
    side: Side | None = None
    task: str | None = None
    purpose: str | None = None
    prompt_name: str | None = None
    prompt: str | None = None
    dim: int | None = None
    normalize: bool | None = None
    truncation: Truncation = "end"
    keep_errors: bool = False
    late_chunking: bool = False
    pieces: Literal["all", "text"] | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the lists of models tell of one; `spec` is known once its folder was described, without loading it."""

    name: str
    spec: ModelSpec
    level: str  # such as onnx:int8
    bytes: int  # of its weights
    created: int  # seconds since the epoch: the weights' own date
    loaded: bool
    expires: float | None = None  # seconds since the epoch, when it will be unloaded if nothing asks for it


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The vectors that were asked for, float32 (n, dim), and what made them."""

    card: Card
    computed: Computed
    request_id: str


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a model is asked before it is trusted with a request; `check` raises Failure for one that is another."""

    ask: Ask
    check: Callable[[Computed], None]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request as its API read it: what it asks for, how to write the answer, and what it said that was not known.

    `ignored` are fields that are named in the header `edge-embed-ignored`. `api` is handed to the endpoint's `fail`
    within a Failure, where a path serves several. `write` is called in `executor` where it waits for a disk. `probe`
    is asked first.
    """

    ask: Ask
    write: Callable[[Answer], bytes]
    ignored: Sequence[str] = ()
    api: str = ""
    executor: Executor | None = None
    probe: Probe | None = None


@dataclass(kw_only=True, eq=False)  # not frozen: contextlib sets an exception's traceback
class Failure(Exception):
    """Why a request gets no vectors; `message` is for the caller, `field` names what was wrong where that is known."""

    status: int
    reason: Reason
    message: str
    field: str | None = None
    retry_after: float | None = None  # seconds
    request_id: str = ""
    api: str = ""  # of a path that serves several

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A path of an API that gives vectors. `read` raises Failure; `fail` writes one as this API does.

    A path is as Starlette writes it, such as `/openai/deployments/{model}/embeddings`.
    """

    path: str
    read: Callable[[bytes, Parameters], Call]
    fail: Callable[[Failure], bytes]
    body: type | None = None  # the msgspec type of the request, for /openapi.json
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A path that tells of the models, by GET or with a body; `write` raises Failure for a model that is not there.

    `query` are what it takes behind a question mark; `write` gets them among the path's own parameters, and `waits`
    where it looks at files.
    """

    path: str
    write: Callable[[Sequence[Card], bytes, Parameters], bytes]
    fail: Callable[[Failure], bytes]
    methods: Sequence[str] = field(default=("GET",))
    query: Sequence[str] = ()
    summary: str = ""
    waits: bool = False
