"""ONNX Runtime, imported here and nowhere else, so that its telemetry is off before its library loads.

Unless told otherwise it writes a device id under the user's cache folder and, some seconds after a model was opened,
sends the interpreter's path, file names and error messages to its makers. The variable is read while the library loads;
calling `disable_telemetry_events` afterwards stops nothing (measured with onnxruntime 1.32). Whoever has set it keeps
their choice.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

__all__ = ["ort"]
