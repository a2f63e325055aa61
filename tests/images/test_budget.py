"""What images take while they are decoded: little more than their pixels, and all threads together no more than one."""

from __future__ import annotations

import subprocess
import sys
import threading
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from edge_embed.images.budget import PixelBudget

SIDE = 4000  # 16 megapixels, in files of some 10 to 60 kB
PEAK = """
import sys
from pathlib import Path
from PIL import Image
from edge_embed.device.machine import resident_peak
from edge_embed.images.preprocess import load_ahead
from edge_embed.spec.image import ImageSpec

spec = ImageSpec(size=(224, 224))
Image.new("RGB", (64, 64)).resize((32, 32))
data = Path(sys.argv[1]).read_bytes()
small = Path(sys.argv[2]).read_bytes()
list(load_ahead([small], spec, threads=2))
before = resident_peak()
list(load_ahead([data] * 6, spec, threads=6))
print(resident_peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak")
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16"])
def test_files_that_unfold_take_what_is_documented(mode: str, tmp_path: Path) -> None:
    """Six of 16 megapixels, where 64 in all are permitted: 4.3 to 8.5 bytes for each pixel of these were measured."""
    for name, side in (("large", SIDE), ("small", 50)):
        data = BytesIO()
        Image.new(mode, (side, side)).save(data, "PNG")
        (tmp_path / name).write_bytes(data.getvalue())
    command = [sys.executable, "-c", PEAK, str(tmp_path / "large"), str(tmp_path / "small")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    taken = int(done.stdout) / 64_000_000
    print(f"{mode}: {taken:.1f} bytes for each pixel of the budget")
    assert taken < 10


def test_no_more_than_the_limit_is_decoded_at_once() -> None:
    budget, inside, most, lock = PixelBudget(100), 0, 0, threading.Lock()

    def decode(pixels: int) -> None:
        nonlocal inside, most
        with budget.room(pixels):
            with lock:
                inside += pixels
                most = max(most, inside)
            with lock:
                inside -= pixels

    threads = [threading.Thread(target=decode, args=(pixels,)) for pixels in [60, 50, 40, 30] * 20]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < most <= 100
    with budget.room(1000):  # larger than all that is permitted: by itself
        other = threading.Thread(target=decode, args=(1,))
        other.start()
        other.join(0.05)
        assert other.is_alive()
    other.join()
