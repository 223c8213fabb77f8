"""``teola compile`` and ``teola viz``: plans, text and pictures in the right places."""

import json
import re
import shutil

import pytest

GRAPH = """graph tiny
input queries: list<text>
%a.distinct = distinct items=%inputs:queries @a
%b.take = take items=%a.distinct:items {count = 2} @b
%c.take = take items=%a.distinct:items {count = 1} @c
order %b.take -> %c.take
output found: list<text> = %b.take:items
"""


@pytest.fixture
def graph(tmp_path):
    """A graph in text form, in a file."""
    path = tmp_path / "tiny.pgraph"
    path.write_text(GRAPH, encoding="utf-8")
    return path


def test_a_plan_goes_to_the_file_and_its_summary_to_standard_error(teola_command, graph, tmp_path):
    """Standard output stays empty with -o."""
    target = tmp_path / "tiny.plan.json"
    done = teola_command("compile", graph, "-o", target)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == (
        f"wrote {target}: 2 modules, 2 primitives (-O2, rewritten by prune-order, remove-dead)\n"
    )
    assert json.loads(target.read_text(encoding="utf-8"))["schema"] == "teola.plan/1"


def test_without_a_file_the_plan_goes_to_standard_output(teola_command, graph):
    """So that it can be piped."""
    done = teola_command("compile", graph)
    assert (json.loads(done.stdout)["name"], done.stderr) == ("tiny", "")


def test_levels_and_passes_are_obeyed(teola_command, graph):
    """-O0 keeps everything; -p runs exactly what it lists."""
    assert "order %b.take" in teola_command("compile", graph, "-O0", "--emit", "text").stdout
    pruned = teola_command("compile", graph, "-p", "prune-order", "--emit", "text").stdout
    assert "order" not in pruned
    assert "%c.take" in pruned
    assert "%c.take" not in teola_command("compile", graph, "--emit", "text").stdout


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["-O1"], "-O1"),
        (["-p", ""], "-O0"),
        (["-p", "prune-order"], "-p prune-order"),
        (["-p", "prune-order,split-prefill{ahead=2}"], "-p prune-order,split-prefill{ahead=2}"),
        (["--disable", "split-prefill"], "-O2 --disable split-prefill"),
        (["-O0", "-p", "prune-order,deduplicate,remove-dead"], "-O1"),
    ],
)
def test_a_plan_says_which_passes_ran(teola_command, graph, tmp_path, words, options):
    """As the shortest options that ask for them; so does the summary."""
    done = teola_command("compile", graph, *words, "-o", tmp_path / "tiny.plan.json")
    assert re.search(r" \((.*?)(, rewritten by .*)?\)$", done.stderr)[1] == options
    assert json.loads((tmp_path / "tiny.plan.json").read_text("utf-8"))["options"] == options


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["viz", "--level", "foo"], "'--level': there is no 'foo'; there are: module, pgraph"),
        (["compile", "--emit", "xml"], "'--emit': there is no 'xml'; there are: plan, text, dot"),
        (["check", "--format", "xml"], "'--format': there is no 'xml'; there are: text, json"),
    ],
)
def test_a_word_that_an_option_does_not_know_is_named(teola_command, graph, words, said):
    """With those that there are, and exit status 2."""
    done = teola_command(*words, graph)
    assert done.exit_code == 2
    assert said in done.stderr


def test_the_text_form_compiles_again(teola_command, graph, tmp_path):
    """What compile emits as text it reads."""
    again = tmp_path / "again.pgraph"
    assert teola_command("compile", graph, "-O0", "-o", again).exit_code == 0
    first = teola_command("compile", graph, "--emit", "text").stdout
    assert teola_command("compile", again, "--emit", "text").stdout == first


@pytest.mark.parametrize(("ending", "start"), [(".dot", "digraph"), (".txt", "tiny")])
def test_viz_draws_by_the_files_ending(teola_command, graph, tmp_path, ending, start):
    """Modules by default, primitives on demand."""
    target = tmp_path / f"tiny{ending}"
    done = teola_command("viz", graph, "-o", target)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"wrote {target}\n")
    assert target.read_text(encoding="utf-8").startswith(start)


def test_viz_draws_text_on_standard_output(teola_command, graph):
    """The two levels differ."""
    modules = teola_command("viz", graph).stdout
    primitives = teola_command("viz", graph, "--level", "pgraph").stdout
    assert "distinct" not in modules
    assert "distinct" in primitives


def test_viz_draws_svg_where_graphviz_is(teola_command, graph, tmp_path):
    """A picture for a browser."""
    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    target = tmp_path / "tiny.svg"
    assert teola_command("viz", graph, "-o", target).exit_code == 0
    assert "<svg" in target.read_text(encoding="utf-8")


def test_viz_says_what_svg_needs(teola_command, graph, tmp_path, monkeypatch):
    """Without Graphviz the message says what to install, and nothing is written."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    target = tmp_path / "tiny.svg"
    done = teola_command("viz", graph, "-o", target)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: SVG needs Graphviz's program 'dot'")
    assert "Traceback" not in done.stderr
    assert not target.exists()


def test_viz_names_the_endings_it_knows(teola_command, graph):
    """An ending that means no format is refused before anything is compiled."""
    done = teola_command("viz", graph, "-o", "x.gif")
    assert (done.exit_code, done.stderr) == (
        2,
        "error: -o x.gif ends in '.gif'; it can end in .html, .htm, .txt, .dot, .gv, .svg, .png\n",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compile", "missing.yaml"], "error: missing.yaml: no such file"),
        (["compile", "{graph}", "-p", "polish"], "error: there is no pass 'polish'"),
        (["compile", "{graph}", "-o", "no/such/x.json"], "error: no/such/x.json: cannot be writ"),
        (["viz", "{plan}", "-O0"], "error: {plan}: a plan is compiled already"),
        (["compile", "{plan}", "--set", "a=1"], "error: {plan}: --set a=1: compiled already"),
        (["compile", "{graph}", "-o", "x.svg"], "error: -o x.svg: give --emit, or one of the end"),
        (["compile", "{graph}", "-o", "{graph}"], "error: -o {graph}: would overwrite what is co"),
        (["compile", "{broken}"], "{broken}:2:"),
    ],
)
def test_bad_input_ends_with_2_and_a_message(teola_command, graph, tmp_path, words, message):
    """Missing files, unknown passes, places that cannot be written."""
    names = {"graph": graph, "plan": tmp_path / "t.plan.json", "broken": tmp_path / "b.pgraph"}
    teola_command("compile", graph, "-o", names["plan"])
    names["broken"].write_text("graph b\n%a =\n", encoding="utf-8")
    done = teola_command(*(word.format(**names) for word in words))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(message.format(**names))
