"""What stands below the answer: the other outputs, cut-off texts, and the cost of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from teola.runtime.cli.outputs import format_value

if TYPE_CHECKING:
    from teola.compiler.plan import Plan
    from teola.runtime.cli.display import RunDisplay
    from teola.runtime.result import RunResult

READING_WIDTH = 100


def report(
    display: RunDisplay, plan: Plan, result: RunResult, *, outputs: bool, summary: bool
) -> None:
    """Write to standard error what follows the answer.

    A text that was cut off by its token limit is always told.
    """
    if outputs:
        for port in plan.graph.outputs[1:]:
            _write_output(display, port.name, port.type, result)
    for module in result.truncated:
        display.warn(
            f"a text of module {module!r} was cut off at its token limit; "
            "raise sampling.max_tokens for more"
        )
    if summary:
        display.say(f"\n{_summary(display, result)}", style="dim")


def _write_output(display: RunDisplay, name: str, kind: str, result: RunResult) -> None:
    width = min(display.console.width, READING_WIDTH)
    text = format_value(result[name], kind, width)
    display.say("")
    display.say(f"{name}:", style="bold")
    display.say(text or "  (none)")


def _summary(display: RunDisplay, result: RunResult) -> str:
    facts = [f"done in {display.state.elapsed():.1f} s"]
    if display.first_piece_s is not None and display.answer.grows:
        facts.append(f"the answer began after {display.first_piece_s:.1f} s")
    usage = result.usage
    if usage.requests:
        facts.append(
            f"{usage.requests} LLM requests, {usage.prompt_tokens} tokens in, "
            f"{usage.completion_tokens} out"
        )
    return "; ".join(facts)
