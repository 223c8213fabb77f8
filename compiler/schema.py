"""JSON Schemas of workflow and plan files, generated from the models (draft-07, language rule 25).

``python -m teola.compiler.schema`` writes them into ``schemas/``; with ``--check`` it only says
which are stale (exit status 1).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from teola.compiler.engines import BACKENDS, KINDS, default_backend
from teola.compiler.modules import MODULES, ModuleDefinition
from teola.compiler.names import BOUND_NAMES, ID_PATTERN, JINJA_WORDS
from teola.compiler.plan import plan_schema
from teola.compiler.schema_draft import as_draft_07
from teola.compiler.schema_types import constant_schema
from teola.compiler.spec import InputSpec, ReferenceSpec, WorkflowSpec

if TYPE_CHECKING:
    from pydantic import BaseModel

Schema = dict[str, Any]

FOLDER = Path(__file__).resolve().parent.parent / "schemas"
"""Where the schemas are, in the repository and in an installed package."""

SHORT_FORMS: tuple[type[BaseModel], ...] = (InputSpec, ReferenceSpec)
"""Models of entries that may be written as the one key they call ``short``."""


def workflow_schema() -> Schema:
    """Return the JSON Schema of workflow files."""
    models: list[type[BaseModel]] = [
        WorkflowSpec,
        *BACKENDS.values(),
        *(each.settings for each in MODULES.values()),
    ]
    mode: JsonSchemaMode = "validation"
    references, generated = models_json_schema(
        [(model, mode) for model in dict.fromkeys(models)],
        by_alias=True,
        ref_template="#/definitions/{model}",
    )
    definitions = cast("Schema", generated["$defs"])
    names = {model: _name(references[model, mode]) for model in dict.fromkeys(models)}
    for model in SHORT_FORMS:
        definitions[model.__name__] = _short_or_full(model, definitions[model.__name__])
    definitions["EngineSettings"] = _engine(names)
    definitions["ModuleSpec"] = _module(definitions, names)
    workflow = definitions.pop("WorkflowSpec")
    for map_of_ids in ("inputs", "engines", "modules", "outputs"):
        workflow["properties"][map_of_ids]["additionalProperties"] = False
    modules = workflow["properties"]["modules"]
    modules["propertyNames"] = {"pattern": ID_PATTERN, "not": {"enum": _reserved()}}
    schema = {**workflow, "title": "Teola workflow", "definitions": definitions}
    return as_draft_07(schema)


def schemas() -> Mapping[str, Schema]:
    """Return every published schema by its file name."""
    return {
        "workflow.schema.json": workflow_schema(),
        "plan.schema.json": as_draft_07(plan_schema()),
    }


def text_of(schema: Schema) -> str:
    """Return a schema as the file holds it: the same models always give the same bytes."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _reserved() -> list[str]:
    return [*BOUND_NAMES, *JINJA_WORDS]


def _short_or_full(model: type[BaseModel], full: Schema) -> Schema:
    """Accept the short form of an entry beside the map."""
    key = str(getattr(model, "short", ""))
    return {"anyOf": [full["properties"][key], full], "description": full.get("description", "")}


def _engine(names: Mapping[type[BaseModel], str]) -> Schema:
    """One branch a backend; the kind alone means its default backend."""
    branches = []
    for (kind, backend), model in BACKENDS.items():
        condition: Schema = {"properties": {"kind": {"const": kind}}, "required": ["kind"]}
        condition["properties"]["backend"] = {"const": backend}
        if backend != default_backend(kind):
            condition["required"].append("backend")
        branches.append({"if": condition, "then": {"$ref": f"#/definitions/{names[model]}"}})
    return {
        "type": "object",
        "description": "An engine: what does the work.",
        "properties": {
            "kind": {"enum": list(KINDS), "description": "What the engine does"},
            "backend": {"type": "string", "description": "What does it"},
        },
        "required": ["kind"],
        "allOf": branches,
    }


def _module(definitions: Schema, names: Mapping[type[BaseModel], str]) -> Schema:
    """A module; what stands under ``inputs`` and ``with`` follows from what it uses."""
    module: Schema = definitions["ModuleSpec"]
    words = {name: definition.doc for name, definition in MODULES.items()}
    module["properties"]["uses"] = {
        "description": "Which module of the vocabulary it is",
        "anyOf": [
            *({"const": name, "description": doc} for name, doc in words.items()),
            {"type": "string"},
        ],
    }
    module["allOf"] = [
        {
            "if": {"properties": {"uses": {"const": name}}, "required": ["uses"]},
            "then": {"properties": _parameters(definition, definitions, names)},
        }
        for name, definition in MODULES.items()
    ]
    return module


def _parameters(
    definition: ModuleDefinition, definitions: Schema, names: Mapping[type[BaseModel], str]
) -> Schema:
    """What one module of the vocabulary takes under ``inputs`` and ``with``."""
    reference = {"$ref": "#/definitions/ReferenceSpec"}
    inputs: Schema = {
        "type": "object",
        "properties": {
            name: {**reference, "description": value.doc}
            for name, value in definition.values.items()
        },
        "additionalProperties": reference if definition.open_inputs else False,
    }
    settings: Schema = definitions[names[definition.settings]]
    constants = {
        name: {**constant_schema(value.types), "description": value.doc}
        for name, value in definition.values.items()
    }
    return {
        "inputs": inputs,
        "with": {
            "type": "object",
            "properties": {**settings.get("properties", {}), **constants},
            "additionalProperties": False,
        },
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the schemas, or say which are stale."""
    parser = argparse.ArgumentParser(prog="python -m teola.compiler.schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 where stale")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the schemas are")
    options = parser.parse_args(arguments)
    stale = []
    for name, schema in schemas().items():
        path: Path = options.folder / name
        text = text_of(schema)
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not options.check:
            path.write_text(text, encoding="utf-8")
    for name in stale:
        sys.stdout.write(f"{'stale' if options.check else 'written'}: {options.folder / name}\n")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
