"""Figures of this package beside the plain SDK, measured in one run: `python -m benchmarks`."""
