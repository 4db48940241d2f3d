"""What a password may be, beyond Django's own rules."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError

# More is no safer, and is a way to let the server hash for nothing.
PASSWORD_MAX_CHARACTERS = 128


class MaximumLengthValidator:
    """Refuses what nobody types."""

    def validate(self, password: str, user: Any = None) -> None:
        """Raises ValidationError."""
        if len(password) > PASSWORD_MAX_CHARACTERS:
            raise ValidationError(self.get_help_text(), code="password_too_long")

    def get_help_text(self) -> str:
        """For the page."""
        return f"Your password can’t have more than {PASSWORD_MAX_CHARACTERS} characters."
