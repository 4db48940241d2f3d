"""What all tests share: the same examples of hypothesis for everybody, so that what fails once fails again."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.load_profile("same")
