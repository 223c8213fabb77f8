"""`make bench-gpu`: run the benchmarks on a GPU, or those that are named, with weights made on the
spot. ``--device cpu`` runs the same code on tiny models, and keeps no results.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
from pathlib import Path

from benchmarks.gpu.bench import Bench

NAMES = ("llm", "passes", "policies")
SECONDS = 360.0
"""The longest takes three minutes: all are over within nine."""


def main() -> None:
    """Run them; none begins when the time is over."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, …; cpu: a dry run")
    parser.add_argument(
        "--folder", type=Path, help="where weights are made (20 GB) while this runs"
    )
    parser.add_argument("--commit", help="what the results name, outside a repository")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="no benchmark begins later")
    given = parser.parse_args()
    for name in given.names:
        if name not in NAMES:
            parser.error(f"there is no benchmark {name!r}; there are: {', '.join(NAMES)}")
    if given.device != "cpu":
        from teola.runtime.engines.torch_settings import torch_settings

        torch_settings({"device": given.device})  # says so at once where there is none
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        bench = Bench(Path(folder), given.device, given.commit)
        for name in given.names or NAMES:
            if time.perf_counter() - begin > given.seconds:
                raise SystemExit(f"{name} was left out: {given.seconds:.0f} s are over")
            print(f"{name}:", flush=True)
            importlib.import_module(f"benchmarks.gpu.{name}").main(bench)
            print(f"  {time.perf_counter() - begin:.0f} s since the start", flush=True)


if __name__ == "__main__":
    main()
