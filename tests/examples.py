"""How many examples Hypothesis tries: as usual, or far more in `./run soak`."""

from hypothesis import settings

USUAL = 100
"""Hypothesis's own default."""
SOAK = 20
"""How many times as many in `./run soak`."""


def register_profiles() -> None:
    """Make `--hypothesis-profile soak` known; and nothing fails because the machine is busy."""
    settings.register_profile("soak", max_examples=USUAL * SOAK, deadline=None)
    settings.register_profile("usual", deadline=None)
    settings.load_profile("usual")


def examples(number: int) -> int:
    """As many as this, and more in `./run soak`."""
    return number * settings.default.max_examples // USUAL if settings.default else number
