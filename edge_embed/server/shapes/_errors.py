"""`errors: "return"`, ours in every API: an input that cannot be embedded costs the others nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_embed.errors import InputError
from edge_embed.server.ask import Answer

from ._common import bad, shown

KEEP: Mapping[str | None, bool] = {None: False, "raise": False, "return": True}


def told(error: Exception) -> str:
    """Say what was wrong with an input; of errors that are not the caller's, nothing that is this machine's."""
    return str(error) if isinstance(error, InputError) else "the engine failed"


def errors_of(answer: Answer) -> dict[str, Any]:
    """Return the field `errors`, for answers that have null in a failed input's place; none where none failed."""
    failed = [{"index": n, "message": told(error)} for n, error in sorted(answer.computed.errors.items())]
    return {"errors": failed} if failed else {}


def refuse_kept(errors: str | None, why: str) -> None:
    """Raise Failure for `errors` where an answer has no place for one."""
    if errors not in (None, "raise"):
        raise bad(f"errors={shown(errors)}: {why}", "errors")
