"""Serve in an image's root, read-only, and ask; `scripts/container.sh` runs it in namespaces of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ADDRESS = "http://127.0.0.1:8080"
WAIT = 120  # seconds until it must be ready


def mount(*words: str | Path) -> None:
    """Mount in this namespace alone."""
    subprocess.run(["mount", *map(str, words)], check=True)


def inside(root: Path, image: dict[str, Any], words: list[str]) -> list[str]:
    """Return a command that runs in the root as the image's user, with nothing that a user may not have."""
    user, _, group = image["User"].partition(":")
    rights = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups"]
    setpriv = ["/usr/bin/setpriv", *rights, f"--reuid={user}", f"--regid={group}"]
    return ["chroot", str(root), "/usr/bin/env", "-i", *image["Env"], *setpriv, *words]


def ask(path: str, body: object = None) -> bytes:
    """Ask the service."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(ADDRESS + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


def main() -> None:
    """Mount, serve, ask, end."""
    given, description, model = map(Path, sys.argv[1:])
    image = json.loads(description.read_text("utf-8"))["Docker"]["config"]
    root = Path(tempfile.mkdtemp())
    mount("--make-rprivate", "/")
    mount("--bind", given, root)
    (root / "models").mkdir(exist_ok=True)
    mount("-o", "remount,bind,ro", root)
    mount("-t", "tmpfs", "-o", "mode=0700,uid=65532,gid=65532", "none", root / "cache")
    mount("-t", "tmpfs", "none", root / "tmp")
    mount("-t", "proc", "none", root / "proc")
    mount("--rbind", "/dev", root / "dev")
    mount("--bind", model, root / "models")
    mount("-o", "remount,bind,ro", root / "models")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    began = time.monotonic()
    with subprocess.Popen(inside(root, image, [*image["Entrypoint"], "/models"])) as service:
        try:
            while True:
                try:
                    ask("/readyz")
                    break
                except (urllib.error.URLError, ConnectionError):
                    if service.poll() is not None or time.monotonic() - began > WAIT:
                        raise
                    time.sleep(0.2)
            print(f"ready {time.monotonic() - began:.2f} s after it was started")
            kind, *test = image["Healthcheck"]["Test"]
            subprocess.run(inside(root, image, test), check=True)
            print(f"healthy, by {kind}")
            vector = json.loads(ask("/v1/embeddings", {"input": "a text"}))["data"][0]["embedding"]
            print(f"a vector of {len(vector)} numbers, {vector[0]:.6f} the first")
            status = Path(f"/proc/{service.pid}/status").read_text()
            print(*[line for line in status.splitlines() if line.startswith(("Uid", "CapBnd", "NoNewPrivs", "VmRSS"))])
        finally:
            service.terminate()
        print(f"ended with {service.wait(60)}")
    if service.returncode:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
