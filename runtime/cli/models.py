"""``teola models``: the weights that workflows use, in the local cache."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from teola.runtime.cli.ending import FAILED, ending, say
from teola.runtime.cli.options import Debug, Quiet, examples
from teola.runtime.cli.sources import refuse_unknown
from teola.runtime.cli.terminal import write_now

if TYPE_CHECKING:
    from teola.runtime.models import ModelInfo

models = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="List, fetch, remove and verify the weights of models.",
    epilog=examples(
        "teola models list",
        "teola models fetch rag.yaml",
        "teola models verify",
        "teola models remove all-minilm-l6-v2",
    ),
)

FETCH_EXAMPLES = examples(
    "teola models fetch all-minilm-l6-v2",
    "teola models fetch rag.yaml",
    "teola models fetch hub:sentence-transformers/all-mpnet-base-v2",
)
MEGABYTE = 1e6


@models.command(
    "list", epilog=examples("teola models list", "teola models list --json | jq '.[].name'")
)
def list_models(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write a JSON list.", show_default=False)
    ] = False,
    debug: Debug = False,
) -> None:
    """List the models known by name, and whether they are here.

    Others are used as `model: hub:organisation/name` or `path: FOLDER`.
    """
    with ending(debug=debug):
        from teola.runtime import models as cache

        found = cache.list_models()
        if as_json:
            write_now(json.dumps([_plain(info) for info in found], indent=2) + "\n")
            return
        width = max(len(info.name) for info in found)
        for info in found:
            facts = f"{info.kind:<8}  {info.state:<7}  {_size(info):>15}  {info.source}"
            write_now(f"{info.name:<{width}}  {facts}\n")
        say(f"cache: {cache.cache_folder()}")


@models.command("fetch", no_args_is_help=True, epilog=FETCH_EXAMPLES)
def fetch(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL|FILE...", help="Models, or workflows and plans for all that they use."
        ),
    ],
    *,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fetch models into the cache, unless they are there."""
    with ending(debug=debug):
        from teola.runtime.cli.fetching import fetch_all, wanted_by

        wanted = [model for name in names for model in wanted_by(name)]
        fetch_all(list(dict.fromkeys(wanted)), quiet=quiet)


@models.command(
    "remove", no_args_is_help=True, epilog=examples("teola models remove all-minilm-l6-v2")
)
def remove(
    names: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Names that `teola models list` shows.")
    ],
    *,
    debug: Debug = False,
) -> None:
    """Delete models from the cache; they can be fetched again."""
    with ending(debug=debug):
        from teola.runtime import models as cache

        refuse_unknown(names)
        for name in names:
            say(f"{name}: {'removed' if cache.remove(name) else 'is not here'}")


@models.command(
    "verify", epilog=examples("teola models verify", "teola models verify all-minilm-l6-v2")
)
def verify(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Default: all that are here.",
            default_factory=list,
            show_default=False,
        ),
    ],
    *,
    debug: Debug = False,
) -> None:
    """Compare every file of cached models with its hash.

    The exit code is 1 where a model is damaged or, if named, absent.
    """
    with ending(debug=debug):
        from teola.runtime import models as cache

        refuse_unknown(names)
        here = [info.name for info in cache.list_models() if info.state != "absent"]
        checked = [cache.verify(name) for name in names or here]
        for info in checked:
            what = ": ".join([info.state, "; ".join(info.problems)]).rstrip(": ")
            write_now(f"{info.name}: {what}\n")
        if not checked:
            say("no model is here")
        if any(info.state != "ready" for info in checked):
            raise typer.Exit(FAILED)


def _size(info: ModelInfo) -> str:
    if info.disk_bytes:
        return f"{info.disk_bytes / MEGABYTE:.0f} MB on disk"
    return f"{info.download_bytes / MEGABYTE:.0f} MB to fetch"


def _plain(info: ModelInfo) -> dict[str, object]:
    return {
        "name": info.name,
        "kind": info.kind,
        "state": info.state,
        "source": info.source,
        "download_bytes": info.download_bytes,
        "disk_bytes": info.disk_bytes,
        "folder": str(info.folder),
        "problems": list(info.problems),
    }
