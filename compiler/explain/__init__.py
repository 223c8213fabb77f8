"""What the passes of a compilation did, and what they are predicted to gain."""

from teola.compiler.explain.explain import explain
from teola.compiler.explain.explanation import Explanation
from teola.compiler.explain.run_file import FinishedRun, read_run

__all__ = ["Explanation", "FinishedRun", "explain", "read_run"]
