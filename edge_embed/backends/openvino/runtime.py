"""OpenVINO, imported here and nowhere else, without its telemetry.

Importing it imports `openvino_telemetry`, which its converters report to Google Analytics with unless the user has
opted out; where that package is missing they use a stub that does nothing. It is made to be missing while OpenVINO is
imported for the first time. We call no converter; a program that imports OpenVINO before us has it as it is.
"""

from __future__ import annotations

import sys

TELEMETRY = "openvino_telemetry"

_before = sys.modules.get(TELEMETRY)
if _before is None:
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # an import of it raises ImportError
try:
    import openvino
finally:
    if _before is None:
        del sys.modules[TELEMETRY]

__all__ = ["openvino"]
