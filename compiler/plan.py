"""The plan: one portable file that holds a compiled workflow (``teola.plan/1``)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from teola.compiler.engines import portable
from teola.compiler.errors import PlanError
from teola.compiler.graph.pgraph import PGraph
from teola.compiler.graph.text import print_graph
from teola.compiler.graph.verify import verify
from teola.compiler.locations import rebase_defaults
from teola.compiler.passes.report import PassReport
from teola.compiler.plan_file import (
    SCHEMA,
    PlanFile,
    decode_graph,
    decode_reports,
    encode_graph,
    encode_reports,
    plan_schema,
    without_defaults,
)
from teola.compiler.plan_problems import plan_problem
from teola.compiler.version import VERSION

__all__ = ["Plan", "load_plan", "plan_schema"]


@dataclass(frozen=True)
class Plan:
    """A compiled workflow.

    ``options`` ask for the passes that made it (``-O2``, ``-p prune-order``).
    ``base`` is the folder that relative document defaults start from; it never enters a file.
    ``profile`` is the hash of the profiles it was compiled with.
    """

    graph: PGraph
    options: str
    reports: tuple[PassReport, ...] = ()
    deadline_s: float | None = None
    base: Path | None = None
    profile: str = ""
    compiler: str = field(default=VERSION)

    @property
    def name(self) -> str:
        """The workflow's name."""
        return self.graph.name

    @property
    def fingerprint(self) -> str:
        """Equal for plans that run alike: a hash of primitives, edges, outputs and engines. Source
        lines, model folders and the inputs' defaults do not count."""
        engines = {name: portable(config) for name, config in self.graph.engines.items()}
        text = print_graph(replace(self.graph, engines=engines, inputs=()))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def identity(self) -> dict[str, str]:
        """What the result of a run says of its plan: name, options and fingerprint."""
        return {"name": self.name, "options": self.options, "fingerprint": self.fingerprint}

    def to_json(self, folder: Path | None = None) -> str:
        """The plan as a file's text; defaults that are paths become relative to ``folder``."""
        inputs = rebase_defaults(self.graph.inputs, self.base, folder)
        body: dict[str, Any] = {
            "schema": SCHEMA,
            "compiler": self.compiler,
            "name": self.name,
            "options": self.options,
            **without_defaults(profile=self.profile, deadline_s=self.deadline_s),
            **encode_graph(self.graph, inputs),
            "passes": encode_reports(self.reports),
        }
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        return json.dumps({**body, "content_hash": digest}, indent=1, ensure_ascii=False) + "\n"

    def save(self, path: Path) -> None:
        """Write the plan file."""
        path.write_text(self.to_json(path.resolve().parent), encoding="utf-8")

    @staticmethod
    def load(path: Path) -> Plan:
        """Read and verify a plan file.

        Raises:
            PlanError: not a plan, damaged, or of a newer schema; the message says which.
            GraphError: its graph breaks the operation table.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PlanError(f"{path}: the plan cannot be read: {reason}") from error
        return load_plan(text, str(path), path.resolve().parent)


def load_plan(text: str, name: str, base: Path | None) -> Plan:
    """Read a plan from its text; ``name`` stands in messages."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{name}: not a plan file: {error}") from error
    if not isinstance(data, dict) or not str(data.get("schema", "")).startswith("teola.plan/"):
        raise PlanError(f'{name}: not a plan file: it has no "schema": "{SCHEMA}"')
    if data["schema"] != SCHEMA:
        raise PlanError(
            f"{name}: the plan is of schema {data['schema']}, this Teola ({VERSION}) reads "
            f"{SCHEMA}: update Teola, or compile the workflow again"
        )
    try:
        file = PlanFile.model_validate(data)
    except ValidationError as error:
        problem = plan_problem(error.errors(include_url=False)[0])
        raise PlanError(f"{name}: {problem}: compile the workflow again") from error
    body = {key: value for key, value in data.items() if key != "content_hash"}
    if hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest() != file.content_hash:
        raise PlanError(
            f"{name}: the plan was changed after it was compiled (its content hash does not "
            "match): compile the workflow again"
        )
    graph = decode_graph(file)
    verify(graph)
    reports = decode_reports(file)
    return Plan(graph, file.options, reports, file.deadline_s, base, file.profile, file.compiler)
