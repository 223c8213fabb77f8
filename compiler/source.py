"""Workflow files as data with positions: YAML read safely, and where every value stands.

libyaml's parser gives plain data (dict, list, str, int, float, bool, None) and the marks of every
key and value. Only plain YAML 1.2 gets through (language rule 22); everything else is a diagnostic.
A mistake that can be understood is repaired in memory, so that the rest of the file is checked in
the same go; the diagnostic stays, and the file is never compiled.
"""

from __future__ import annotations

from yaml import YAMLError

from teola.compiler.composer import RefusedError, compose
from teola.compiler.diagnostics import Diagnostics
from teola.compiler.hints import files
from teola.compiler.hints.characters import replace_unreadable
from teola.compiler.hints.syntax import explain
from teola.compiler.located import MAX_BYTES, LocatedTree, Source, Span, TreePath

__all__ = ["MAX_BYTES", "LocatedTree", "Source", "Span", "TreePath", "load_yaml"]

MAX_REPAIRS = 20
"""Mistakes understood and repaired in one file before reading stops."""


def load_yaml(source: Source, diagnostics: Diagnostics) -> LocatedTree | None:
    """Read a source as YAML into plain data with positions.

    All problems are added to ``diagnostics``. Returns None where nothing can be made of the text;
    with errors that could be repaired the tree is returned too, so that more can be checked.
    """
    if max(len(source.text), len(source.text.encode("utf-8", "replace"))) > MAX_BYTES:
        diagnostics.add(source.problem(files.too_large(MAX_BYTES)))
        return None
    text = replace_unreadable(source, diagnostics)
    touched: set[int] = set()
    while True:
        found = Diagnostics()
        try:
            tree = compose(source, text, found)
        except RefusedError:
            diagnostics.extend(found)
            return None
        except YAMLError as error:
            problem = explain(source, text, error)
            diagnostics.add(problem.diagnostic)
            if problem.repaired is None or problem.line in touched or len(touched) >= MAX_REPAIRS:
                diagnostics.extend(found)
                return None
            touched.add(problem.line)
            text = problem.repaired
            continue
        diagnostics.extend(found)
        return tree
