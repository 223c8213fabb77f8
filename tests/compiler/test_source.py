"""Reading workflow files: plain YAML 1.2 with positions, and nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teola.compiler.diagnostics import Diagnostics, render
from teola.compiler.errors import CompileError
from teola.compiler.source import MAX_BYTES, Source, load_yaml
from teola.compiler.spec import spec_from_tree

WORKFLOW = """\
teola: 1
name: example
inputs:
  documents: {type: list<document>, default: [a.md]}
  question: text
engines:
  llm: {kind: llm, model: smollm2-135m-instruct}
defaults: {timeout: 60s, retry: {max: 2, initial: 200ms}}
modules:
  cut:
    uses: chunk
    inputs: {documents: inputs.documents}
    with: {size: 256, overlap: 30}
  answer:
    uses: generate
    inputs: {q: inputs.question}
    with:
      prompt: |
        Question: {{ q }}
      messages:
        - {role: user, content: "Hi"}
outputs:
  answer: answer.text
  rest: {from: cut.chunks, default: []}
"""


def load(text):
    """The tree of a text, and the codes of its problems."""
    diagnostics = Diagnostics()
    tree = load_yaml(Source("x.yaml", text), diagnostics)
    return tree, [item.code for item in diagnostics]


def data_of(text):
    """The data of a text that has no problems."""
    tree, codes = load(text)
    assert codes == []
    assert tree is not None
    return tree.data


def places(text):
    """(code, line, column) of every problem."""
    diagnostics = Diagnostics()
    load_yaml(Source("x.yaml", text), diagnostics)
    return [(item.code, item.span.line, item.span.column) for item in diagnostics]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-12", -12),
        ("+5", 5),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-31", "2024-01-31"),
        ("3.5", 3.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("0.0.0.0", "0.0.0.0"),
        ("60s", "60s"),
        ("=", "="),
        ("-", "-"),
        ("'1'", "1"),
        ('"true"', "true"),
    ],
)
def test_plain_scalars_are_what_they_look_like(word, value):
    """YAML 1.2's core schema: no octal by a leading zero, no sexagesimals, no dates, no `no`."""
    found = data_of(f"key: {word}\n" if word != "-" else "key: '-'\n")["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("word", [".inf", "-.Inf", ".nan", "1e999", "9" * 5000, "0x" + "f" * 400])
def test_numbers_that_no_plan_holds_are_refused(word):
    """Infinities, not-a-number and absurdly long numbers are errors, not surprises later."""
    assert load(f"key: {word}\n")[1] == ["bad-number"]


def test_positions_count_characters_from_one():
    """Spans are right behind wide, combining and astral characters."""
    tree, _ = load("a: 日本\nb: {é: 😀, x: y}\n")
    assert tree is not None
    span = tree.value_span(("b", "x"))
    assert (span.line, span.column, span.end_column) == (2, 14, 15)
    key = tree.key_span(("b", "é"))
    assert (key.line, key.column, key.end_column) == (2, 5, 6)


def test_the_nearest_known_ancestor_answers():
    """A place that is not in the file is where the value around it is."""
    tree, _ = load("a:\n  b: [1, {c: 2}]\n")
    assert tree is not None
    assert tree.value_span(("a", "b", 1, "c", "d", 4)).column == 14
    assert tree.key_span(("a", "b", 7)).column == 6
    assert tree.value_span(("z",)).line == 1


def test_an_empty_value_is_where_its_key_is():
    """`key:` has no value to point at."""
    tree, _ = load("a:\n  long_key:\n")
    assert tree is not None
    span = tree.value_span(("a", "long_key"))
    assert (span.line, span.column, span.end_column) == (2, 3, 11)


def test_a_block_map_ends_with_its_last_value():
    """Not at the beginning of what follows."""
    tree, _ = load("a:\n  b: 1\n  c: 22\n\n\nd: 3\n")
    assert tree is not None
    span = tree.value_span(("a",))
    assert (span.line, span.end_line, span.end_column) == (2, 3, 8)


def test_windows_line_ends_and_byte_order_marks_are_read():
    """A file from another editor is the same file, also for columns of its first line."""
    tree, codes = load("\ufeffa: 1\r\nb: *c\r\n")
    assert codes == ["unknown-alias"]
    assert tree is not None
    assert tree.data == {"a": 1, "b": "*c"}
    assert tree.value_span(("a",)).column == 4


def test_aliases_repeat_values():
    """Plain aliases are read."""
    assert data_of("a: &x {b: 1}\nc: *x\n") == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("", ["empty-file"]),
        ("# only a comment\n", ["empty-file"]),
        ("a: 1\na: 2\n", ["duplicate-key"]),
        ("{a: 1, 'a': 2}", ["duplicate-key"]),
        ("a: &b {c: 1}\nd: {<<: *b}\n", ["no-merge-key"]),
        ("a: !!python/object:os.system ls\n", ["no-tags"]),
        ("a: !mine {b: 1}\n", ["no-tags"]),
        ("!mine a: 1\n", ["no-tags"]),
        ("a: *b\n", ["unknown-alias"]),
        ("a: &b [*b]\n", ["alias-cycle"]),
        ("1: a\n", ["key-not-text"]),
        ("true: a\n", ["key-not-text"]),
        ("null: a\n", ["key-not-text"]),
        (": a\n", ["key-not-text"]),
        ("? {a: 1}\n: b\n", ["key-not-text"]),
        ("? [a]\n: b\n", ["key-not-text"]),
        ("a: &x b\n*x : c\n", ["key-not-text"]),
        ("a: 1\n---\nb: 2\n", ["one-document"]),
        ("a: {b, c: 1}\n", ["key-without-value"]),
    ],
)
def test_what_is_no_plain_data_is_refused(text, codes):
    """Duplicate keys, tags, merge keys, cycles, other keys than texts, more than one document."""
    assert load(text)[1] == codes


def test_texts_that_resemble_merge_keys_are_texts():
    """`<<` is only refused where YAML 1.1 would merge."""
    assert data_of("a: <<\n'<<': 1\n") == {"a": "<<", "<<": 1}


def test_alias_bombs_are_refused():
    """Nine levels of nine aliases are named at the alias that is too many."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert places("\n".join(lines)) == [("too-many-aliases", 5, 10)]


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 50_000, "- " * 30_000 + "x"])
def test_deep_files_are_refused(text):
    """Nesting ends with a diagnostic, not with a stack."""
    assert load(text)[1] in (["too-deep"], ["bad-brackets"])


def test_large_files_are_refused(tmp_path):
    """The limit is in bytes, for files and for texts."""
    assert load("é" * (MAX_BYTES // 2 + 1))[1] == ["file-too-large"]
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(CompileError, match="larger than 1 MiB"):
        Source.read(path)


def test_a_byte_that_is_not_utf8_is_named(tmp_path):
    """With line, column and what it was meant to be."""
    path = tmp_path / "latin.yaml"
    path.write_bytes("teola: 1\nname: é".encode() + b"t\xe9\n")
    with pytest.raises(CompileError) as caught:
        Source.read(path)
    [problem] = caught.value.diagnostics
    assert (problem.code, problem.span.line, problem.span.column) == ("not-utf8", 2, 9)
    assert "0xe9" in problem.message
    assert "'é'" in problem.message


def test_utf16_is_named(tmp_path):
    """What some editors save by default."""
    path = tmp_path / "wide.yaml"
    path.write_bytes("teola: 1".encode("utf-16"))
    with pytest.raises(CompileError, match="UTF-16"):
        Source.read(path)


def test_files_that_cannot_be_read_are_named(tmp_path):
    """Missing files, folders, and names that no file has."""
    with pytest.raises(CompileError, match="no-such-file"):
        Source.read(tmp_path / "none.yaml")
    with pytest.raises(CompileError, match="not-a-file"):
        Source.read(tmp_path)
    with pytest.raises(CompileError, match="no-such-file"):
        Source.read("a\0b")


@pytest.mark.parametrize(
    ("text", "place", "name"),
    [
        ("a:\n\tb: 1\n", (2, 1), "tab (U+0009)"),
        ("a:\n  b: |\n\tc\n", (3, 1), "tab (U+0009)"),
        ("a:\n\u00a0\u00a0b: 1\n", (2, 1), "non-breaking space (U+00A0)"),
        ("a: \u00a0b\n", (1, 4), "non-breaking space (U+00A0)"),
        ("a:\u00a0b\nc: d\n", (1, 3), "non-breaking space (U+00A0)"),
        ("a: b\u200b\n", (1, 5), "zero width space (U+200B)"),
        ("a: \u201cb\u201d\n", (1, 4), "left double quotation mark (U+201C)"),
        ("a: \u201cb: c\u201d\n", (1, 4), "left double quotation mark (U+201C)"),
        ("a\uff1a b\nc: d\n", (1, 2), "fullwidth colon (U+FF1A)"),
        ("a: b\x00c\n", (1, 5), "NUL character (U+0000)"),
        ("a: b\x1b[31m\n", (1, 5), "control character (U+001B)"),
        ("a: b\ufeffc\n", (1, 5), "byte order mark (U+FEFF)"),
        ("a: b\u2028c\n", (1, 5), "line separator (U+2028)"),
        ("a: b\x85c\n", (1, 5), "next-line character (U+0085)"),
        ("a: b\ud800c\n", (1, 5), "control character (U+D800)"),
    ],
)
def test_wrong_characters_are_named(text, place, name):
    """The character, where it is, and what to write instead."""
    diagnostics = Diagnostics()
    load_yaml(Source("x.yaml", text), diagnostics)
    first = next(iter(diagnostics))
    assert (first.code, first.span.line, first.span.column) == ("wrong-character", *place)
    assert first.message.startswith(name)
    assert first.help is not None


def test_typography_inside_of_texts_is_text():
    """Quotes, dashes and non-breaking spaces belong to prose and prompts."""
    text = "a: It’s “fine” – really\u00a0!\nb: |\n  «\u00a0Bonjour\u00a0»\nc: '“x”'\n"
    found = data_of(text)
    assert found["a"] == "It’s “fine” – really\u00a0!"
    assert found["b"] == "«\u00a0Bonjour\u00a0»\n"
    assert found["c"] == "“x”"


def test_tabs_of_a_whole_file_are_one_problem():
    """Every line of a file that is indented with tabs says the same."""
    tree, codes = load("a:\n\tb:\n\t\tc: 1\n\t\td: 2\n")
    assert codes == ["wrong-character"]
    assert tree is not None
    assert tree.data == {"a": {"b": {"c": 1, "d": 2}}}


def test_what_was_meant_is_checked_on():
    """A repaired file goes on with what its writer meant, and its errors stay."""
    text = WORKFLOW.replace("inputs.question}", "{{ inputs.question }}}").replace(
        'content: "Hi"', "content: Say: hi"
    )
    tree, codes = load(text)
    assert codes == ["reference-is-plain", "quote-the-prompt"]
    assert tree is not None
    answer = tree.data["modules"]["answer"]
    assert answer["inputs"] == {"q": "inputs.question"}
    assert answer["with"]["messages"] == [{"role": "user", "content": "Say: hi"}]


@pytest.mark.parametrize("key", ["prompt", "system", "template", "when", "where", "value"])
def test_templates_are_not_cut_or_joined(key):
    """Comments, folding and joined lines change a template silently: all say `|`."""
    head = f"modules:\n  m:\n    with:\n      {key}: "
    assert load(head + "a #b\n")[1] == ["quote-the-prompt"]
    assert load(head + "a\n        b\n")[1] == ["quote-the-prompt"]
    assert load(head + ">\n        b\n")[1] == ["quote-the-prompt"]
    assert load(head + "a#b\n")[1] == []
    assert load(head + "|\n        a #b\n        c\n")[1] == []
    assert load(head + '"a #b" # c\n')[1] == []


def test_keys_that_only_share_a_templates_name_are_free():
    """An input called `prompt` may have a comment behind its type."""
    assert load("inputs:\n  prompt: text # asked\noutputs:\n  value: a.b # c\n")[1] == []


def test_a_hundred_modules_are_read_alike():
    """Positions stay right far down the file."""
    entry = "  m{n}:\n    uses: generate\n    inputs: {{q: inputs.question}}\n"
    text = "modules:\n" + "".join(entry.format(n=n) for n in range(100))
    tree, codes = load(text)
    assert codes == []
    assert tree is not None
    span = tree.value_span(("modules", "m99", "inputs", "q"))
    assert (span.line, span.column) == (301, 17)


MUTATIONS = st.sampled_from(
    (
        *("", " ", "\n", "\t", ":", ": ", "- ", "{", "}", "[", "]", "{{ x }}", "*", "&a ", "!"),
        *("|", ">", '"', "'", "#", " #", ",", "?", "%", "@", "`", "\u00a0", "“", "\x00", "\ud800"),
        *("<<: *a\n", "---\n", "a: 1\n", "true", "null", "9" * 400, "\\", "é", "😀", "  ", "\r"),
        *("\u2028", "..."),
    )
)


@st.composite
def mutated(draw):
    """The workflow with up to five pieces cut out, put in, doubled or moved."""
    text = WORKFLOW
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(st.one_of(MUTATIONS, st.text(max_size=4))) + text[end:]
    return text


@settings(max_examples=300)
@given(mutated())
def test_mutated_files_give_diagnostics_or_a_tree(text):
    """Whatever is typed: a tree, or problems in our words and inside of the file."""
    diagnostics = Diagnostics()
    source = Source("x.yaml", text)
    tree = load_yaml(source, diagnostics)
    assert tree is not None or diagnostics.errors
    if tree is not None:
        spec = spec_from_tree(tree, diagnostics)
        assert spec is not None or diagnostics.errors
    drawn = render(diagnostics)
    assert "mapping values" not in drawn
    for problem in diagnostics:
        assert 1 <= problem.span.line <= len(source.lines)
        assert problem.span.column >= 1


@given(st.text(max_size=60))
def test_any_text_gives_diagnostics_or_a_tree(text):
    """No text at all raises."""
    diagnostics = Diagnostics()
    tree = load_yaml(Source("x.yaml", text), diagnostics)
    assert tree is not None or diagnostics.errors
    assert isinstance(render(diagnostics), str)
