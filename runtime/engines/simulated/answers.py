"""The answers of a simulated language model: nothing about them counts but their lengths."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from zlib import crc32

from teola.runtime.draw import log_normal
from teola.runtime.engines.made_up import in_parts, likely
from teola.runtime.engines.protocol import Chances, Generate, Grammar
from teola.runtime.engines.tokenizer.estimate import CHARACTERS, FRAME, FourBytes

MEAN_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """``points`` are the counts of tokens at which something is complete: the first token, each
    line, all."""

    tokens: Sequence[int]
    points: Sequence[int]
    finish_reason: str
    chances: Sequence[Chances] = ()


class Answers:
    """Draws answers. The same seed, primitive, prompt and sampling give the same answer, whatever
    the order in which calls come: schedules can be compared on equal work."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._tokens: Mapping[str, int] = config.get("answer_tokens") or {}
        self._lines: Mapping[str, int] = config.get("answer_lines") or {}
        self._spread = float(config.get("spread", 0.5))
        self._seed = config.get("seed", 0)
        self._tokenizer = FourBytes()

    def of(self, request: Generate) -> Answer:
        """The answer to a call; where its prompt ends with the beginning of one, the rest of it."""
        prompt = _prompt(request.tokens)
        begun = len(request.tokens) - len(prompt)
        if not begun:
            return self._whole(request)
        whole = self._whole(request._replace(tokens=prompt, max_tokens=request.max_tokens + begun))
        tokens = whole.tokens[begun:]
        points = sorted({1, *(point - begun for point in whole.points if point > begun)})
        return Answer(tokens, points if tokens else (), whole.finish_reason)

    def _whole(self, request: Generate) -> Answer:
        mark = crc32((request.adapter or "").encode(), crc32(array("Q", request.tokens).tobytes()))
        if request.sampling.temperature:
            mark = crc32(repr(request.sampling).encode(), mark)
        wanted, mean = request.max_tokens, _of(self._tokens, request, MEAN_TOKENS)
        if not request.ignore_eos:
            random = Random(f"{self._seed}:{request.primitive}:{mark}")  # noqa: S311 - no secret
            wanted = max(1, round(mean * log_normal(random, self._spread)))
        given = min(wanted, request.max_tokens)
        lines = max(1, _of(self._lines, request, 0))
        if request.grammar is not None:
            return self._shaped(request, request.grammar, mark, given, lines)
        written = min(mean, wanted) if request.ignore_eos and lines > 1 else wanted
        ends = sorted({(line + 1) * written // lines for line in range(lines)} - {0} | {wanted})
        text = "".join(_line(mark, line, *cut) for line, cut in enumerate(_cuts(ends)))
        tokens = self._tokenizer.encode(text)[:given]
        points = sorted({1, given, *(end for end in ends if end <= given)})
        cut = request.ignore_eos or given < wanted
        return Answer(tokens, points, "length" if cut else "stop")

    def _shaped(
        self, request: Generate, grammar: Grammar, mark: int, wanted: int, lines: int
    ) -> Answer:
        """A value that the grammar allows, each part of a list filled up with blanks."""
        parts = in_parts(grammar, str(mark).encode(), lines)
        chances = likely(grammar, parts[0]) if request.sampling.logprobs else ()
        ends = _cuts([(part + 1) * wanted // len(parts) for part in range(len(parts))])
        tokens: list[int] = []
        points = {1}
        for part, (begin, end) in zip(parts, ends, strict=True):
            tokens += self._tokenizer.encode(_filled(part, CHARACTERS * (end - begin)))
            points.add(len(tokens))
        given = tokens[: request.max_tokens]
        cut = request.ignore_eos or len(given) < len(tokens)
        told = sorted({point for point in points if point <= len(given)} | {len(given)})
        return Answer(given, told, "length" if cut else "stop", chances)


def _filled(part: str, size: int) -> str:
    """JSON of some size: blanks may stand before what ends a value."""
    if part[-1] in "]},":
        return part[:-1].ljust(size - 1) + part[-1]
    return part.ljust(size)


def _prompt(tokens: Sequence[int]) -> Sequence[int]:
    """What of a prompt is no answer: the chat template ends with a frame."""
    end = next((end for end in range(len(tokens), 0, -1) if tokens[end - 1] == FRAME), None)
    return tokens[:end]


def _of(sizes: Mapping[str, int], request: Generate, default: int) -> int:
    """What is said of the workflow's primitive, or of the primitive in any workflow."""
    own = sizes.get(f"{request.workflow}:{request.primitive}")
    return sizes.get(request.primitive, default) if own is None else own


def _cuts(ends: Sequence[int]) -> Sequence[tuple[int, int]]:
    return list(zip([0, *ends], ends, strict=False))


def _line(mark: int, line: int, begin: int, end: int) -> str:
    """A line that fills its tokens and is like no other."""
    room = CHARACTERS * (end - begin) - 1
    return f"{line:x}{mark:08x}".ljust(room, "x")[:room] + "\n"
