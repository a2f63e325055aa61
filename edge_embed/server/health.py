"""Whether the service lives, and whether it should be sent requests."""

from __future__ import annotations

import orjson

from .models import Models

SLOW = 10.0  # times the predicted seconds, after which an engine call has hung
SHORTEST = 30.0  # seconds that no call is said to hang before, since small predictions are coarse


class Health:
    """What the process knows of itself; `starting` until what is to be preloaded is, `draining` after SIGTERM."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self.starting = False
        self.draining = False

    @property
    def hung(self) -> list[str]:
        """The models whose engine has been in one call for far longer than such calls take."""
        found = []
        for residence, engine in self._models.loaded():
            running = engine.running()
            if running is not None and running[0] > max(SHORTEST, SLOW * running[1]):
                found.append(residence.name)
        return found

    def live(self) -> tuple[int, bytes]:
        """Return the status and the body of /livez."""
        hung = self.hung
        return _answer(f"the engine does not come back: {', '.join(hung)}" if hung else None)

    def ready(self) -> tuple[int, bytes]:
        """Return the status and the body of /readyz: every model that is loaded has passed its self-test."""
        if self.draining:
            return _answer("draining")
        if self.starting:
            return _answer("models are being loaded")
        return self.live()


def _answer(trouble: str | None) -> tuple[int, bytes]:
    status = {"status": "ok"} if trouble is None else {"status": "unavailable", "reason": trouble}
    return 200 if trouble is None else 503, orjson.dumps(status)
