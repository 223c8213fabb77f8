"""A model's chat template, rendered to a frame: template text with holes for the contents.

Only the frame is read with special tokens, so a content cannot close its message or open another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.sandbox

from teola.runtime.errors import ModelError

HOLE = re.compile("\ue000(\\d+)\ue001")


class TemplateError(ModelError):
    """The chat template is missing or broken, or refuses these messages."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Where a message's content goes; ``trimmed`` when the template strips it."""

    message: int
    trimmed: bool


Frame = Sequence[str | Hole]
"""Template text and holes, in order."""


class ChatTemplate:
    """A Jinja chat template of the Hugging Face kind.

    Raises:
        TemplateError: it cannot be parsed.
    """

    def __init__(self, source: str, special: Mapping[str, str]) -> None:
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        self._special = dict(special)
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise TemplateError(f"the chat template cannot be parsed: {error}") from error

    def frame(self, roles: Sequence[str]) -> Frame:
        """The frame of a conversation of ``roles``, ending where the answer begins.

        Raises:
            TemplateError: the template refuses these roles, or leaves a message out.
        """
        holes = [f"\ue000{index}\ue001" for index in range(len(roles))]
        text = self._render(roles, holes)
        parts = HOLE.split(text)  # text, index, text, index, …, text
        named = {int(index) for index in parts[1::2]}
        for index in range(len(roles)):
            if index not in named:
                raise TemplateError(f"the chat template leaves out message {index + 1} of {roles}")
        trimmed = [self._trims(roles, holes, index, text) for index in range(len(roles))]
        frame: list[str | Hole] = []
        for position, part in enumerate(parts):
            frame.append(Hole(int(part), trimmed[int(part)]) if position % 2 else part)
        return tuple(part for part in frame if part != "")

    def _trims(self, roles: Sequence[str], holes: Sequence[str], index: int, bare: str) -> bool:
        padded = [f" {hole} " if at == index else hole for at, hole in enumerate(holes)]
        return self._render(roles, padded) == bare

    def _render(self, roles: Sequence[str], contents: Sequence[str]) -> str:
        messages = [
            {"role": role, "content": content}
            for role, content in zip(roles, contents, strict=True)
        ]
        try:
            return self._template.render(
                messages=messages, add_generation_prompt=True, **self._special
            )
        except jinja2.TemplateError as error:
            raise TemplateError(
                f"the chat template refuses messages of roles {', '.join(roles)}: {error}"
            ) from error


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
