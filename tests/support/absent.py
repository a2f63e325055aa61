"""Why a test of a framework is skipped."""

TOLD = "its package is not installed; pip install --group integrations has those that are small"
