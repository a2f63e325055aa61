"""Measurements of speed, quality and memory: `python -m benchmarks` lists them. Imports nothing by itself."""
