"""What people see of a pool while it works: events, progress, timelines, telemetry."""
