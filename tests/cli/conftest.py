"""A scripted runner and a command line to call: what the tests of the commands share."""

import io
from collections.abc import AsyncIterator

import pytest
from rich.console import Console
from typer.testing import CliRunner

from teola.compiler.graph.pgraph import InputPort, OutputPort, PGraph, Primitive, Ref
from teola.compiler.plan import Plan
from teola.runtime.cli import execution, run
from teola.runtime.cli.answer import Answer
from teola.runtime.cli.application import teola
from teola.runtime.cli.display import RunDisplay
from teola.runtime.cli.live import LiveProgress
from teola.runtime.cli.plain import PlainProgress
from teola.runtime.cli.state import RunState
from teola.runtime.events import Event, RunFinished
from teola.runtime.pool import EnginePool
from teola.runtime.result import RunResult, Usage


@pytest.fixture
def teola_command():
    """Call ``teola`` as a shell would; standard output and standard error stay apart."""

    def call(*words, stdin=None):
        return CliRunner().invoke(teola, [str(word) for word in words], input=stdin)

    return call


def plan_of(*outputs: tuple[str, str]) -> Plan:
    """A plan with the modules best and answer, and these (name, type) outputs."""
    graph = PGraph(
        "rag",
        inputs=(
            InputPort("documents", "list<document>", (["docs"],), "Files to search"),
            InputPort("question", "text"),
        ),
        outputs=tuple(OutputPort(name, kind, Ref("answer.x", name)) for name, kind in outputs),
        nodes=(
            Primitive("best.x", "take", module="best"),
            Primitive("answer.x", "take", module="answer"),
        ),
    )
    return Plan(graph, "-O1")


class ScriptedRunner:
    """Stands in for the runner: tells the events of a script; an exception in it is raised."""

    def __init__(self, script: list[Event | BaseException]) -> None:
        self.script = script
        self.inputs: dict[str, object] = {}
        self.share: bool | None = None
        self.seed: int | None = None
        self.pool = EnginePool()

    def __call__(self, plan, *, share, seed, on_engine):
        self.share, self.seed = share, seed
        self.on_engine = on_engine
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def stream(self, **inputs) -> AsyncIterator[Event]:
        self.inputs = inputs
        for step in self.script:
            if isinstance(step, BaseException):
                raise step
            yield step


@pytest.fixture
def finished():
    """Make the last event of a run with these outputs."""

    def make(truncated=(), **outputs):
        usage = Usage(requests=2, prompt_tokens=812, completion_tokens=40)
        return RunFinished(RunResult(outputs, "run-7f3a", (), usage, tuple(truncated)))

    return make


@pytest.fixture
def scripted(monkeypatch):
    """Let ``teola run`` meet a scripted runner and a plan with the given outputs."""

    def install(script, *outputs):
        runner = ScriptedRunner(script)
        monkeypatch.setattr(execution, "Runner", runner)
        monkeypatch.setattr(
            run, "read_plan", lambda *_, **__: plan_of(*(outputs or [("answer", "text")]))
        )
        return runner

    return install


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Screen:
    """A run display whose two streams are strings; ``shared``: both are one terminal."""

    def __init__(self, *, terminal: bool, kind: str = "text") -> None:
        self.out = ""
        self.clock = Clock()
        self.err = io.StringIO()
        self.console = Console(
            file=self.err, force_terminal=terminal, color_system=None, width=66, height=20
        )
        self.state = RunState(("best", "answer"), self.clock)
        progress = LiveProgress if terminal else PlainProgress
        self.display = RunDisplay(
            self.state,
            progress(self.state, self.console),
            Answer("answer", kind, self._write, grows=terminal),
            self.console,
            shared=terminal,
        )

    def _write(self, text: str) -> None:
        self.out += text

    def feed(self, *events: Event) -> None:
        for event in events:
            self.display.feed(event)

    def table(self) -> list[str]:
        """What the live table shows now, line by line."""
        paper = Console(file=io.StringIO(), width=self.console.width, color_system=None)
        paper.print(self.display.progress.render())
        return [line.rstrip() for line in paper.file.getvalue().rstrip().split("\n")]


@pytest.fixture
def screen():
    """Make a display to feed with events."""
    return Screen
