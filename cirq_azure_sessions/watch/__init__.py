"""Observing a pool: events, progress bars, timelines and telemetry."""
