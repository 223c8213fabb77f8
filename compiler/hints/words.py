"""Words for a setting's value that people bring from other tools."""

from __future__ import annotations

from collections.abc import Sequence

_MEANT = {
    "fp32": "float32",
    "f32": "float32",
    "float": "float32",
    "single": "float32",
    "fp16": "float16",
    "f16": "float16",
    "half": "float16",
    "bf16": "bfloat16",
    "gpu": "cuda",
    "fixed": "constant",
    "linear": "constant",
    "none": "constant",
    "ip": "inner_product",
    "dot": "inner_product",
    "dot_product": "inner_product",
    "euclidean": "l2",
    "cos": "cosine",
    "angular": "cosine",
    "ai": "assistant",
    "human": "user",
    "simple": "one_shot",
    "stuff": "one_shot",
    "iterative": "refine",
    "map_reduce": "tree",
    "tree_summarize": "tree",
    "string": "text",
    "str": "text",
    "list": "lines",
    "boolean": "bool",
    "yes_no": "bool",
    "object": "json",
    "structured": "json",
    "array": "json_list",
}


def foreign_word(word: str, words: Sequence[str]) -> str | None:
    """Return which of ``words`` another tool's ``word`` means, or None."""
    meant = _MEANT.get(word.casefold().replace("-", "_"))
    return meant if meant in words else None
