"""What operations cost on the engines of the workloads, each pinned to its core: a profile, usable
with ``--profile``, measured as ``teola profile`` does."""

from __future__ import annotations

from benchmarks.report import RESULTS
from benchmarks.workloads import WORKLOADS
from teola.compiler.api import compile_workflow
from teola.runtime.cli.profiling import measure_plan, show
from teola.runtime.profiling import to_json

PROFILE = RESULTS / "pinned_profile.json"


def main() -> None:
    """Measure and write the profile."""
    plan = compile_workflow("advanced_rag", sets=WORKLOADS[0].sets("advanced_rag"))
    found = measure_plan(plan, [], quick=False, quiet=True)
    if found.unmeasured:
        raise SystemExit(f"could not be measured: {found.unmeasured}")
    PROFILE.write_text(to_json(found.file()), encoding="utf-8")
    show(found, as_json=False)


if __name__ == "__main__":
    main()
