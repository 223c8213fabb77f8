"""What is wrong with a prompt."""

from __future__ import annotations

from teola.compiler.errors import TeolaError


class PromptError(TeolaError):
    """A template is not valid, or cannot be rendered; ``line`` is the template's, from 1.

    ``name`` is the variable at fault and ``help`` what would be right, where they are known.
    """

    def __init__(
        self,
        message: str,
        line: int | None = None,
        *,
        name: str | None = None,
        help: str | None = None,
    ) -> None:
        super().__init__(message)
        self.line = line
        self.name = name
        self.help = help


class BudgetError(PromptError):
    """Rendering does more than its ``Budget`` allows."""
