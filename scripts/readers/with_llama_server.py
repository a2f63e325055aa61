"""llama-server, at F16, named by LLAMA_SERVER or on PATH: READER FOLDER < texts > {version, vectors}."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

server = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
(path,) = Path(sys.argv[1]).glob("*-F16.gguf")
told = subprocess.run([server, "--version"], capture_output=True, text=True).stderr
version = next(line.removeprefix("version: ") for line in told.splitlines() if line.startswith("version: "))
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    url = f"127.0.0.1:{probe.getsockname()[1]}"
command = [server, "-m", str(path), "--embedding", "--host", "127.0.0.1", "--port", url.rpartition(":")[2], "-t", "2"]
with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://{url}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        body = json.dumps({"input": json.load(sys.stdin)}).encode()
        asked = urllib.request.Request(f"http://{url}/v1/embeddings", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=120) as answer:
            rows = sorted(json.load(answer)["data"], key=lambda row: row["index"])
    finally:
        process.terminate()
print(json.dumps({"version": version, "vectors": [row["embedding"] for row in rows]}))
