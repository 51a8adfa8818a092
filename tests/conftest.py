"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# No test asserts on time: a machine that is busy with something else fails none.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")
