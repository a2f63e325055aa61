#!/usr/bin/env bash
# Compiles the Swift of docs/apple-apps.md on Linux: the two programs that ask a service get vectors of one, which are
# compared with Embedder's; the one that loads an MLX folder, whose packages are not here, is parsed.
#
#   scripts/swift.sh FOLDER MODEL     as root, with mmdebstrap; FOLDER is kept (2.5 GB: Debian's Swift)
#
# PYTHON (default: .venv/bin/python) has edge_embed. What differs on Linux is added to the page's text: the module that
# holds URLSession there, and SOCK_STREAM as a number.
set -euo pipefail
if [ "${1:-}" = --inside ]; then
    mount -t proc proc "$2/root/proc"
    mount --rbind /dev "$2/root/dev"
    mkdir -p "$2/root/mnt"
    mount --bind "$2/work" "$2/root/mnt"
    exec chroot "$2/root" /usr/bin/env -i PATH=/usr/bin HOME=/tmp bash -euc "cd /mnt && $3"
fi
cd "$(dirname "$0")/.."
mkdir -p "$1"
folder=$(realpath "$1")
model=$(realpath "$2")
python=${PYTHON:-.venv/bin/python}
if [ ! -e "$folder/root/usr/bin/swiftc" ]; then
    needs=bash,coreutils,libc6-dev,libstdc++-14-dev,binutils,gcc,swiftlang,swiftlang-dev
    mmdebstrap --variant=extract --include=$needs trixie "$folder/root"
fi
rm -rf "$folder/work" && mkdir "$folder/work"
"$python" - "$folder/work" <<'PYTHON'
import re
import sys
from pathlib import Path

work = Path(sys.argv[1])
named = {"socket path": "socket", "service: URL": "port", "with model": "mlx"}
for text in re.findall(r"```swift\n(.*?)```", Path("docs/apple-apps.md").read_text("utf-8"), re.S):
    (name,) = (name for mark, name in named.items() if mark in text)
    (work / name).mkdir()
    linux = "import FoundationNetworking\n" if name == "port" else ""
    (work / name / "page.swift").write_text(linux + text)
call = 'print(String(decoding: try JSONEncoder().encode(%s), as: UTF8.self))\n'
texts = r'["a text", "caf\u{e9} / \"quoted\"", ""]'
(work / "socket" / "main.swift").write_text("import Foundation\n" + call % f'try embed({texts}, socket: "/mnt/s")')
(work / "port" / "main.swift").write_text(
    "import Foundation\n" + call % f'try await embed({texts}, service: URL(string: CommandLine.arguments[1])!)'
)
(work / "socket" / "linux.swift").write_text("import Glibc\nlet SOCK_STREAM = Int32(Glibc.SOCK_STREAM.rawValue)\n")
PYTHON
inside() { unshare --mount --propagation private bash "$PWD/scripts/swift.sh" --inside "$folder" "$1"; }
inside 'swiftc --version 2>&1 | head -1; swiftc -parse mlx/page.swift && echo "the MLX program is parsed"
    for name in socket port; do swiftc -o "$name/program" $name/*.swift; done'
"$python" -m edge_embed.cli.main serve "$model=model" --preload --uds "$folder/work/s" >"$folder/work/log" 2>&1 &
first=$!
"$python" -m edge_embed.cli.main serve "$model=model" --preload --port 18301 >>"$folder/work/log" 2>&1 &
trap 'kill $first $!' EXIT
for place in "--unix-socket $folder/work/s http://localhost" http://127.0.0.1:18301; do
    # shellcheck disable=SC2086 # words
    curl -s --retry 60 --retry-delay 1 --retry-all-errors -f $place/readyz >/dev/null
done
inside 'socket/program >socket/vectors; port/program http://127.0.0.1:18301 >port/vectors'
"$python" - "$folder/work" "$model" <<'PYTHON'
import json
import sys

import numpy as np

from edge_embed import Embedder

with Embedder(sys.argv[2], special_tokens="text") as model:
    ours = model.encode(["a text", 'caf\u00e9 / "quoted"', ""])
for name in ("socket", "port"):
    theirs = np.array(json.load(open(f"{sys.argv[1]}/{name}/vectors")), np.float32)
    print(f"{name}: {theirs.shape}, differs from Embedder by {abs(theirs - ours).max():.1e} at most")
    np.testing.assert_array_equal(theirs, ours)
PYTHON
