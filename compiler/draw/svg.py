"""SVG through Graphviz's ``dot``."""

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
    dot = shutil.which("dot")
    if dot is None:
        raise CompileError(
            "SVG needs Graphviz's program 'dot', which is not installed: install the package "
            "graphviz of your system, or draw text or DOT instead"
        )
    try:
        done = subprocess.run(
            [dot, "-Tsvg"],
            input=draw_dot(view),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise CompileError(f"Graphviz failed: {error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise CompileError(f"Graphviz gave no picture within {TIMEOUT_S} s") from error
    return done.stdout
