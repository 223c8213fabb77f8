"""SVG and PNG through Graphviz's ``dot``."""

from __future__ import annotations

import shutil
import subprocess

from teola.compiler.draw.dot import draw_dot
from teola.compiler.draw.view import View
from teola.compiler.errors import CompileError

TIMEOUT_S = 60


def draw_svg(view: View) -> str:
    """The view as SVG.

    Raises:
        CompileError: Graphviz is not installed, or failed.
    """
    return _dot(view, "svg").decode()


def draw_png(view: View) -> bytes:
    """The view as PNG.

    Raises:
        CompileError: Graphviz is not installed, or failed.
    """
    return _dot(view, "png")


def _dot(view: View, form: str) -> bytes:
    dot = shutil.which("dot")
    if dot is None:
        raise CompileError(
            f"{form.upper()} needs Graphviz's program 'dot', which is not installed: install the "
            "package graphviz of your system, or draw text, DOT or HTML instead"
        )
    try:
        done = subprocess.run(
            [dot, f"-T{form}"],
            input=draw_dot(view).encode(),
            capture_output=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        why = error.stderr.decode(errors="replace").strip()
        raise CompileError(f"Graphviz failed: {why}") from error
    except subprocess.TimeoutExpired as error:
        raise CompileError(f"Graphviz gave no picture within {TIMEOUT_S} s") from error
    return done.stdout
