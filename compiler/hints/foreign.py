"""Keys that people bring from other tools, and what they are called here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from teola.compiler.modules import MODULES
from teola.compiler.names import as_id

if TYPE_CHECKING:
    from pydantic import BaseModel

_MODULES = "modules are listed under 'modules:', a map from ids to modules"
_ENGINES = "engines are declared under 'engines:', as llm: {kind: llm, model: …}"
_INPUTS = "inputs are declared under 'inputs:', as question: text"
_OUTPUTS = "write 'outputs:', as answer: answer.text"
_NEEDS = "order follows from references; only hidden effects need 'needs: [id]'"
_USES = "what a module is stands after 'uses:'"
_WITH = "settings and constants stand under 'with:'"

_WORKFLOW = {
    **dict.fromkeys(
        ("steps", "nodes", "jobs", "tasks", "stages", "components", "pipeline", "chain", "flow",
         "workflow", "module", "blocks", "graph"), _MODULES,
    ),
    **dict.fromkeys(("models", "llms", "model", "llm", "providers", "services"), _ENGINES),
    **dict.fromkeys(
        ("params", "parameters", "variables", "vars", "args", "arguments", "env"), _INPUTS
    ),
    **dict.fromkeys(("result", "results", "return", "returns"), _OUTPUTS),
    **dict.fromkeys(("edges", "connections", "links", "dependencies"), _NEEDS),
    "version": "the version of the language stands after 'teola:', as teola: 1",
    "timeout": "for each module: defaults: {timeout: 60s}; for a whole query: deadline: 60s",
    "retry": "for each module: defaults: {retry: {max: 2}}",
    "title": "did you mean 'name'?",
    "id": "did you mean 'name'?",
}  # fmt: skip
_MODULE = {
    **dict.fromkeys(
        ("depends_on", "dependsOn", "depends", "after", "requires", "require", "dependencies"),
        _NEEDS,
    ),
    **dict.fromkeys(
        ("type", "kind", "module", "component", "class", "use", "action", "run"), _USES
    ),
    **dict.fromkeys(("params", "parameters", "config", "settings", "options", "arguments"), _WITH),
    **dict.fromkeys(("input", "args", "from"), "values are bound under 'inputs:'"),
    **dict.fromkeys(("id", "name"), "the id of a module is its key under 'modules:'"),
    **dict.fromkeys(("output", "outputs"), "what a module gives follows from what it uses"),
    "deadline": "'deadline:' stands at the top of the file; a module has 'timeout:'",
    "retries": "write retry: {max: 2}",
}
_ENGINE = {
    "type": "did you mean 'kind'?",
    **dict.fromkeys(("provider", "engine", "library", "runtime"), "did you mean 'backend'?"),
    **dict.fromkeys(("name", "model_name", "model_id", "checkpoint"), "did you mean 'model'?"),
    **dict.fromkeys(("model_path", "folder", "dir", "directory"), "did you mean 'path'?"),
    **dict.fromkeys(("torch_dtype", "precision", "quantization"), "did you mean 'dtype'?"),
    **dict.fromkeys(("device_map", "gpu"), "did you mean 'device'?"),
    **dict.fromkeys(("num_threads", "n_threads", "workers"), "did you mean 'threads'?"),
    **dict.fromkeys(
        ("temperature", "max_tokens", "top_p", "stop", "seed", "sampling"),
        "sampling belongs to a module: with: {sampling: {max_tokens: 256}}",
    ),
}
_INPUT = {
    **dict.fromkeys(
        ("required", "optional"), "an input with 'default:' is optional, any other must be given"
    ),
    **dict.fromkeys(("value", "values"), "did you mean 'default'?"),
    **dict.fromkeys(("doc", "help", "title"), "did you mean 'description'?"),
}
_RETRY = {
    **dict.fromkeys(("max_attempts", "attempts", "times", "count", "retries", "max_retries"),
                    "did you mean 'max'? (tries after the first)"),
    **dict.fromkeys(("delay", "wait", "interval", "base"), "did you mean 'initial'?"),
    **dict.fromkeys(("strategy", "policy"), "did you mean 'backoff'?"),
}  # fmt: skip
_REFERENCE = {
    **dict.fromkeys(("value", "ref", "source", "reference"), "did you mean 'from'?"),
    **dict.fromkeys(("fallback", "else", "or"), "did you mean 'default'?"),
}
_BY_NOUN: Mapping[str, Mapping[str, str]] = {
    "a workflow": _WORKFLOW,
    "a module": _MODULE,
    "an input": _INPUT,
    "retry": _RETRY,
    "a reference": _REFERENCE,
}


def hint(model: type[BaseModel], key: str) -> str | None:
    """Return what to write instead of ``key`` in the map that ``model`` describes."""
    noun = str(getattr(model, "noun", ""))
    if "engine" in noun:
        return _ENGINE.get(key)
    found = _BY_NOUN.get(noun, {}).get(key)
    if found is None and noun == "a module" and _is_parameter(key):
        return f"{_WITH}: with: {{{key}: …}}"
    return found


def list_form(key: str, items: Sequence[object]) -> str:
    """Return the beginning of a list written as the map that it should be."""
    first = next((item for item in items if isinstance(item, Mapping)), {})
    name = next((str(first[word]) for word in ("id", "name") if word in first), f"my_{key[:-1]}")
    value = {"modules": "\n    uses: …", "inputs": " text", "outputs": " module.port"}.get(
        key, " {kind: llm, model: …}"
    )
    return f"{key}:\n  {as_id(name) or 'my_id'}:{value}"


def _is_parameter(key: str) -> bool:
    return any(key in definition.parameters for definition in MODULES.values())
