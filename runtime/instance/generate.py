"""Runs of LLM units: one prefill and its decode as one task; text and items leave as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from teola.runtime.errors import ModuleError
from teola.runtime.instance.run import Run
from teola.runtime.shapes import LinesShape, TextShape


class Detokenizer(Protocol):
    """Tokens to text, incrementally."""

    def push(self, tokens: Sequence[int]) -> str:
        """The text that these tokens complete."""
        ...

    def finish(self) -> str:
        """What is left."""
        ...


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
    )

    detokenizer: Detokenizer

    def begin(self) -> None:
        self.prompt_tokens = self.completion_tokens = self.delivered = 0
        self.finish_reason = ""
        self.text_tokens: dict[str, int] = {}
        self.stop: Callable[[], None] | None = None
        self.shape: TextShape | LinesShape = TextShape()
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

    def open(self, detokenizer: Detokenizer, inputs: dict[str, Any]) -> None:
        """A (new) attempt begins."""
        self.detokenizer = detokenizer
        self.completion_tokens = 0
        if self.output.get("shape") == "lines":
            count = inputs.get("count", self.output.get("count"))
            exclude = inputs.get("exclude") or ()
            excluded = [exclude] if isinstance(exclude, str) else list(exclude)
            self.shape = LinesShape(None if count is None else int(count), excluded)
            if self.shape.full:
                self.close("stop")
        else:
            self.shape = TextShape()

    def tokens(self, tokens: Sequence[int], finish_reason: str | None) -> None:
        """New tokens, and the reason where they are the last."""
        if self.over:
            return
        self.completion_tokens += len(tokens)
        self._text(self.detokenizer.push(tokens) if tokens else "")
        if finish_reason is not None and not self.over:
            self._text(self.detokenizer.finish())
        if finish_reason is not None and not self.over:
            self.close(finish_reason)

    def _text(self, text: str) -> None:
        if not text:
            return
        text, items = self.shape.push(text)
        self.delivered += len(text)
        self.cells["text"].add_text(text)
        self.cells["lines"].extend(items)
        if self.shape.full and not self.over:
            if self.stop is not None:
                self.stop()
            self.close("stop")

    def close(self, finish_reason: str) -> None:
        """The call is complete: the last item leaves and the ports end."""
        self.finish_reason = finish_reason
        self.cells["lines"].extend(self.shape.finish(finish_reason == "length"))
        if problem := self._short():
            self.fail(ModuleError(self.prepared.place, problem, "item"))
            return
        self.finish({"text": self.cells["text"].text})

    def _short(self) -> str | None:
        count = getattr(self.shape, "count", None)
        found = getattr(self.shape, "found", 0)
        if count is None or found >= count or self.output.get("on_short") != "error":
            return None
        text = self.cells["text"].text
        return f"asked for {count} lines, the model gave {found}: {text!r}"
