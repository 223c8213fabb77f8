"""Which commands there are."""

from __future__ import annotations

from typing import Annotated

import typer

from teola.compiler.version import VERSION
from teola.runtime.cli import (
    check,
    compile,  # noqa: A004  # a command's name
    explain,
    models,
    profile,
    run,
    simulate,
    viz,
)
from teola.runtime.cli.options import examples

EXAMPLES = examples(
    'teola run naive_rag -i question="How is a transaction kept atomic?"',
    "teola check workflows/*.yaml",
    "teola compile rag.yaml -o rag.plan.json",
    "teola explain rag.yaml --assume documents=46",
    "teola viz rag.yaml -o rag.svg",
    "teola simulate rag.yaml --rate 0.05",
    "teola models list",
)


def _application() -> typer.Typer:
    """An application that shows plain help and leaves exceptions to ``ending``."""
    return typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _print_version(wanted: bool) -> None:  # typer calls it with the value
    if wanted:
        typer.echo(f"teola {VERSION}")
        raise typer.Exit


teola = _application()
teola_run = _application()


@teola.callback(epilog=EXAMPLES)
def describe(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
            show_default=False,
        ),
    ] = False,
) -> None:
    """Compile and run LLM applications that are written as workflow files."""


teola.command("check", no_args_is_help=True, epilog=check.EXAMPLES)(check.check)
teola.command("compile", no_args_is_help=True, epilog=compile.EXAMPLES)(compile.compile_file)
teola.command("explain", no_args_is_help=True, epilog=explain.EXAMPLES)(explain.explain)
teola.command("viz", no_args_is_help=True, epilog=viz.EXAMPLES)(viz.viz)
teola.command("profile", no_args_is_help=True, epilog=profile.EXAMPLES)(profile.profile)
teola.command("simulate", no_args_is_help=True, epilog=simulate.EXAMPLES)(simulate.simulate)
teola.command("run", no_args_is_help=True, epilog=run.EXAMPLES, context_settings=run.OTHER_WORDS)(
    run.run
)
teola.add_typer(models.models, name="models")
teola_run.command(
    no_args_is_help=True,
    epilog=run.EXAMPLES.replace("teola run", "teola-run"),
    context_settings=run.OTHER_WORDS,
)(run.run)
