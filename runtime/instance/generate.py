"""Runs of LLM units: one prefill and its decode as one task; text and items leave as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from teola.compiler.modules.output import PROBABILITIES
from teola.runtime.engines.protocol import TokenEvent
from teola.runtime.engines.tokenizer import Detokenizer, Tokenizer
from teola.runtime.errors import ModuleError
from teola.runtime.instance.run import Run
from teola.runtime.instance.weighing import Weighing
from teola.runtime.shapes import (
    ChoiceShape,
    MalformedError,
    Shape,
    TextShape,
    name_of,
    shape_of,
)

SHOWN = 1_000
"""Characters of an answer that an error shows."""


class GenerateRun(Run):
    """An LLM call. ``delivered`` counts the characters that have left it; ``text_tokens`` are those
    of the texts in its prompt that are inputs of the workflow."""

    __slots__ = (
        "completion_tokens",
        "delivered",
        "detokenizer",
        "finish_reason",
        "prompt_tokens",
        "shape",
        "stop",
        "text_tokens",
        "weighing",
    )

    detokenizer: Detokenizer

    def begin(self) -> None:
        self.prompt_tokens = self.completion_tokens = self.delivered = 0
        self.finish_reason = ""
        self.text_tokens: dict[str, int] = {}
        self.weighing: Weighing | None = None
        self.stop: Callable[[], None] | None = None
        self.shape: Shape = TextShape()
        self.works()
        self.executor.execute(
            self, 0, {name: source.get() for name, source in self.sources.items()}
        )

    def _after(self) -> None:
        super()._after()
        self.stop = None

    @property
    def output(self) -> dict[str, Any]:
        """The shape that the workflow asked for."""
        output = self.prepared.node.config.get("output")
        return output if isinstance(output, dict) else {"shape": "text"}

    @property
    def weighed(self) -> bool:
        """Whether something wants to know how likely each answer is."""
        return bool(self.output.get(PROBABILITIES))

    def open(self, tokenizer: Tokenizer, inputs: dict[str, Any]) -> None:
        """A (new) attempt begins."""
        self.detokenizer = tokenizer.detokenizer()
        self.completion_tokens = 0
        self.shape = shape_of(self.output, inputs)
        self.weighing = None
        if self.weighed and isinstance(self.shape, ChoiceShape):
            self.weighing = Weighing(tokenizer.decode, self.shape.probabilities)
        if self.shape.full:
            self.close("stop")

    def event(self, event: TokenEvent) -> None:
        """What the engine says: new tokens or text, and the reason where they are the last."""
        if self.over:
            return
        self.completion_tokens += len(event.tokens)
        if event.prompt is not None:
            self.prompt_tokens = event.prompt
        if self.weighing is not None:
            self.weighing.take(event.chances)
        if event.text is not None:
            self._text(event.text)
        elif event.tokens:
            self._text(self.detokenizer.push(event.tokens))
        if event.finish_reason is not None and not self.over:
            self._text(self.detokenizer.finish())
        if event.finish_reason is not None and not self.over:
            self.close(event.finish_reason)

    def _text(self, text: str) -> None:
        if not text:
            return
        try:
            text, items = self.shape.push(text)
        except MalformedError as error:
            self._refuse(error, text)
            return
        self.delivered += len(text)
        self.cells["text"].add_text(text)
        if items:
            self.cells[self.shape.port].extend(items)
        if self.shape.full and not self.over:
            if self.stop is not None:
                self.stop()
            self.close("stop")

    def close(self, finish_reason: str) -> None:
        """The call is complete: the last item leaves and the ports end."""
        self.finish_reason = finish_reason
        try:
            items = self.shape.finish(finish_reason == "length")
        except MalformedError as error:
            self._refuse(error)
            return
        if items:
            self.cells[self.shape.port].extend(items)
        if problem := self._short():
            self.fail(ModuleError(self.prepared.place, problem, "item"))
            return
        values = {self.shape.port: self.shape.value, "text": self.cells["text"].text}
        if self.weighing is not None and isinstance(self.shape, ChoiceShape):
            found = self.shape.probabilities
            if not found.told:
                problem = "the engine told no probabilities of its tokens"
                self.fail(ModuleError(self.prepared.place, problem, "item"))
                return
            values[PROBABILITIES] = found.end(name_of(self.shape.value))
        self.finish(values)

    def _refuse(self, error: MalformedError, rest: str = "") -> None:
        """The answer is not what was asked for."""
        said = self.cells["text"].text + rest
        shown = repr(said[:SHOWN]) + ("…" if len(said) > SHOWN else "")
        problem = f"malformed-output: {self.shape.port}: {error}; the model said {shown}"
        self.fail(ModuleError(self.prepared.place, problem, "item"))

    def _short(self) -> str | None:
        count, found = self.shape.wanted, self.shape.found
        if count is None or found >= count or self.output.get("on_short") != "error":
            return None
        what = "lines" if self.shape.port == "lines" else "items"
        return f"asked for {count} {what}, the model gave {found}: {self.cells['text'].text!r}"
