"""``teola run`` and ``teola-run``: run a workflow or a plan."""

from __future__ import annotations

from typing import Annotated

import typer

from teola.runtime.cli.ending import CommandError, ending
from teola.runtime.cli.options import (
    AcceptChanges,
    Answers,
    BatchFile,
    Concurrency,
    Debug,
    Disable,
    File,
    IgnoreExtra,
    Optimization,
    Passes,
    Profile,
    Quiet,
    RetryErrors,
    Seed,
    Sets,
    ShowTimeline,
    Trace,
    examples,
)
from teola.runtime.cli.sources import read_plan
from teola.runtime.cli.values import read_inputs
from teola.runtime.cli.words import refuse_words

EXAMPLES = examples(
    'teola run naive_rag -i question="How is a transaction kept atomic?"',
    "teola run rag.yaml -i question=@question.txt -i documents=docs/ > answer.txt",
    "teola run rag.yaml -i documents=a.md -i documents='notes/*.html' -i question=Why?",
    "teola run rag.plan.json -i question=Why? --json | jq .outputs.answer",
    "teola run rag.yaml -i question=Why? --set engines.llm.dtype=float32 -O0",
    "teola run rag.yaml -i question=Why? --timeline --trace run.json",
    "teola run rag.yaml --batch questions.jsonl --out answers.jsonl -i documents=docs/",
)


OTHER_WORDS = {"ignore_unknown_options": True, "allow_extra_args": True}
"""Settings that let ``run`` see what is no option of its own: it may be an input's name."""


def run(
    context: typer.Context,
    file: File,
    *,
    inputs: Annotated[
        list[str],
        typer.Option(
            "-i",
            "--input",
            metavar="NAME=VALUE",
            help="An input. NAME=@FILE reads it from a file, @- from standard input, @@ is a "
            "plain @. Documents are paths, folders or globs. Repeat it to append to a list.",
            default_factory=list,
            show_default=False,
        ),
    ],
    level: Optimization = None,
    passes: Passes = None,
    disable: Disable,
    profile: Profile = None,
    sets: Sets,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Write one JSON object: outputs, run_id, plan, timeline, usage, warnings, and the "
            "prediction beside what was measured.",
            show_default=False,
        ),
    ] = False,
    no_share: Annotated[
        bool,
        typer.Option("--no-share", help="Share no work between equal inputs.", show_default=False),
    ] = False,
    batch: BatchFile = None,
    out: Answers = None,
    concurrency: Concurrency = None,
    ignore_extra: IgnoreExtra = False,
    retry_errors: RetryErrors = False,
    accept_changes: AcceptChanges = False,
    seed: Seed = None,
    timeline: ShowTimeline = False,
    trace: Trace = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a workflow and print its answer.

    Without a required input, the message lists the workflow's inputs.

    The main (first) output goes to standard output, the other outputs and the progress to
    standard error, which may be closed at any time. Exit codes: 0 done, 1 the run failed, 2 bad
    input, 3 rows of a batch failed, 130 interrupted (Ctrl-C), 141 nobody reads standard output any
    more, 143 terminated.
    """
    with ending(debug=debug):
        if context.args:
            refuse_words(context, file)
        plan = read_plan(
            file, level=level, passes=passes, disable=disable, sets=sets, profile=profile
        )
        from teola.runtime.cli.watching import check_trace

        check_trace(trace)
        if batch is not None:
            if seed is not None:
                raise CommandError(
                    "--seed is for one run: the rows of --batch draw with the seed 0, and with "
                    "sampling.seed where a module has one"
                )
            from teola.runtime.batch import CONCURRENCY, Policy
            from teola.runtime.cli.batch import BatchWishes, check_words, run_rows

            wishes = BatchWishes(
                batch,
                out or "",
                concurrency or CONCURRENCY,
                Policy(retry_errors=retry_errors, accept_changes=accept_changes),
                ignore_extra=ignore_extra,
                share=not no_share,
                as_json=as_json,
                quiet=quiet,
                timeline=timeline,
                trace=trace,
                profile=profile,
            )
            check_words(wishes, inputs)
            run_rows(plan, read_inputs(inputs, plan.graph.inputs, whole=False), wishes)
            return
        if out or concurrency or ignore_extra or retry_errors or accept_changes:
            raise CommandError(
                "--out, --concurrency, --ignore-extra, --retry-errors and --accept-changes are "
                "options of --batch: give it a file of rows"
            )
        values = read_inputs(inputs, plan.graph.inputs)
        from teola.runtime.cli.execution import Wishes, run_plan

        wants = Wishes(
            share=not no_share,
            seed=seed or 0,
            as_json=as_json,
            quiet=quiet,
            timeline=timeline,
            trace=trace,
            profile=profile,
        )
        run_plan(plan, values, wants)
