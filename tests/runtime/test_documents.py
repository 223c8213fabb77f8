"""Documents are read as their authors meant them, or every problem is named."""

import os
import subprocess
import sys

import pytest

from teola.runtime.documents.api import DocumentError, content_key, read_documents
from teola.runtime.documents.text import html_text, markdown_text
from teola.runtime.errors import InputError

LEFT_OUT = "left out, neither text, Markdown, HTML, PDF nor Word"


@pytest.fixture
def folder(tmp_path):
    """Three documents in a tree, and hidden files."""
    write(tmp_path, "docs/b.txt", "plain\r\ntext")
    write(tmp_path, "docs/a.md", "# Title\n\nSome *words*.")
    write(tmp_path, "docs/deep/c.html", "<title>Page</title><p>Some <b>words</b>.")
    write(tmp_path, "docs/.hidden.txt", "hidden")
    write(tmp_path, "docs/.git/config.txt", "hidden")
    return tmp_path


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(value, base=None):
    return read_documents(value, base).texts


def names(documents):
    return [document["name"] for document in documents]


def problems(value, base, **options):
    with pytest.raises(DocumentError) as caught:
        read_documents(value, base, **options)
    return caught.value.problems


# What is read


def test_a_folder_is_read_whole_in_order_of_names(folder):
    """Names are relative to the folder, with slashes; hidden files and folders are left out."""
    assert read("docs", folder) == [
        {
            "name": "a.md",
            "text": "# Title\n\nSome words.",
            "meta": {"type": "markdown", "path": "docs/a.md", "title": "Title"},
        },
        {"name": "b.txt", "text": "plain\ntext", "meta": {"type": "text", "path": "docs/b.txt"}},
        {
            "name": "deep/c.html",
            "text": "Some words.",
            "meta": {"type": "html", "path": "docs/deep/c.html", "title": "Page"},
        },
    ]


def test_names_do_not_depend_on_where_one_stands(folder):
    """A folder named from anywhere gives the same document names, and so the same chunk ids."""
    assert names(read(folder / "docs")) == names(read("docs", folder))
    assert names(read(".", folder / "docs")) == names(read("docs", folder))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("docs/*.md", ["a.md"]),
        ("docs/*", ["a.md", "b.txt"]),
        ("docs/**/*.html", ["deep/c.html"]),
        ("docs/**", ["a.md", "b.txt", "deep/c.html"]),
        ("docs/**/*", ["a.md", "b.txt", "deep/c.html"]),
        ("docs/[ab].*", ["a.md", "b.txt"]),
        ("docs/[!a].*", ["b.txt"]),
        ("docs/*/?.html", ["deep/c.html"]),
        ("**/*.txt", ["docs/b.txt"]),
    ],
)
def test_globs(folder, pattern, found):
    """A star stays within one name, two stars cross folders; names begin at the fixed part."""
    assert names(read(pattern, folder)) == found


def test_a_file_is_named_from_the_base(folder, tmp_path_factory):
    """Outside the base only the file's own name is left."""
    assert names(read("docs/a.md", folder)) == ["docs/a.md"]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert names(read(folder / "docs" / "a.md", elsewhere)) == ["a.md"]


def test_an_existing_name_with_wildcard_characters_is_a_file(tmp_path):
    """Brackets in a file's or folder's name do not make it a pattern."""
    write(tmp_path, "notes[1].txt", "one")
    write(tmp_path, "[x]/a.txt", "two")
    assert names(read("notes[1].txt", tmp_path)) == ["notes[1].txt"]
    assert names(read("*.txt", tmp_path / "[x]")) == ["a.txt"]


def test_lists_mix_paths_and_texts(folder):
    given = ["docs/b.txt", {"name": "note", "text": "said"}, folder / "docs" / "a.md"]
    assert names(read(given, folder)) == ["docs/b.txt", "note", "docs/a.md"]


def test_a_text_keeps_its_meta(tmp_path):
    (document,) = read({"name": "n", "text": "t", "meta": {"year": 1}}, tmp_path)
    assert document == {"name": "n", "text": "t", "meta": {"type": "text", "year": 1}}
    assert read([document], tmp_path) == [document]


def test_a_file_reached_twice_is_read_once(folder):
    (folder / "docs" / "link.txt").symlink_to("b.txt")
    assert names(read(["docs/a.md", "docs"], folder)) == [
        "docs/a.md",
        "b.txt",
        "deep/c.html",
    ]


def test_loops_of_links_end(folder):
    """A folder that links to its own parent is entered once."""
    (folder / "docs" / "deep" / "up").symlink_to(folder / "docs")
    (folder / "docs" / "deep" / "here").symlink_to(".")
    assert names(read("docs", folder)) == ["a.md", "b.txt", "deep/c.html"]
    assert names(read("docs/**/*.html", folder)) == ["deep/c.html"]


def test_folders_and_globs_leave_out_other_formats_and_say_so(folder):
    """One drawing does not stand in the way of the rest; a warning names what is missing, once."""
    write(folder, "docs/deep/plan.dwg", b"AC1032")
    write(folder, "docs/picture.PNG", b"\x89PNG\0")
    write(folder, "docs/program", b"\x7fELF\0")
    for value in ("docs", "docs/**", ["docs", "docs/**", "docs"]):
        found = read_documents(value, folder)
        assert names(found.texts) == ["a.md", "b.txt", "deep/c.html"]
        assert found.warnings == (
            f"{LEFT_OUT}: docs/deep/plan.dwg, docs/picture.PNG, docs/program",
        )


def test_what_is_named_itself_is_never_left_out(folder):
    """Not even where a folder has left it out already."""
    write(folder, "docs/plan.dwg", b"AC1032")
    (found,) = problems(["docs", "docs/plan.dwg"], folder)
    assert found.startswith("docs/plan.dwg: unknown ending '.dwg'; files ending in .docx .htm ")


def test_a_warning_counts_what_it_does_not_name(folder):
    """Thousands of pictures make no message of thousands of lines."""
    for number in range(23):
        write(folder, f"docs/{number:02}.png", b"")
    (warning,) = read_documents("docs", folder).warnings
    assert warning.startswith(f"{LEFT_OUT}: docs/00.png, ")
    assert warning.endswith("docs/19.png, and 3 more")


def test_a_folder_with_nothing_to_read_is_refused(folder):
    """The error names what was left out; other documents do not hide it."""
    write(folder, "scans/a.tiff", b"II")
    write(folder, "scans/b.djvu", b"AT&T")
    for spec in ("scans", "scans/*"):
        none = f"{spec}: none of its files is text, Markdown, HTML, PDF or Word"
        assert problems([spec, "docs"], folder) == (f"{none}: scans/a.tiff, scans/b.djvu",)


def test_a_file_without_an_ending_is_text_if_it_reads_as_text(tmp_path):
    """README and LICENSE, by name and in a folder."""
    write(tmp_path, "README", "Read me: naïve")
    for spec in ("README", ".", "*"):
        (document,) = read(spec, tmp_path)
        assert (document["name"], document["text"]) == ("README", "Read me: naïve")
        assert document["meta"]["type"] == "text"


def test_documents_without_text_are_legal_and_named(tmp_path):
    """An empty file may be an oversight; no documents at all were asked for."""
    write(tmp_path, "empty.txt", "")
    write(tmp_path, "blank.html", "<title>x</title> \n")
    found = read_documents([".", {"name": "note", "text": " "}], tmp_path)
    assert [document["text"] for document in found.texts] == ["", "", " "]
    assert found.warnings == ("without any text: blank.html, empty.txt, note",)
    assert read_documents([], tmp_path).warnings == ()


def test_packaged_documents_are_named_like_the_same_folder(root):
    """The default gives the same documents from a workflow file and from a plan."""
    packaged = read("teola.workflows:data/sqlite")
    assert packaged == read("data/sqlite", root / "workflows")


def test_a_byte_order_mark_is_no_text(tmp_path):
    write(tmp_path, "a.txt", b"\xef\xbb\xbfnaive")
    assert read("a.txt", tmp_path)[0]["text"] == "naive"


def test_html_may_declare_its_encoding(tmp_path):
    """What the page declares is no guess; Latin-1 means Windows-1252, as in every browser."""
    write(tmp_path, "a.html", b'<meta charset="iso-8859-1"><p>na\xefve \x93x\x94')
    assert read("a.html", tmp_path)[0]["text"] == "naïve “x”"


def test_equal_content_has_equal_keys(folder):
    """Name, text, meta and order count; where the documents came from does not."""
    documents = read("docs", folder)
    assert content_key(documents) == content_key(read("docs", folder))
    assert content_key(documents) != content_key(documents[::-1])
    assert content_key(documents) != content_key(documents[:-1])


# What is refused


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.txt", b"line\nna\xefve", r"not UTF-8: byte 0xef at offset 7 (line 2); convert it"),
        ("a.html", b'<meta charset="utf-8">\xff', r"not UTF-8: byte 0xff at offset 22"),
        ("a.html", b'<meta charset="klingon">', "declares the unknown encoding 'klingon'"),
        ("a.md", b"\xff\xfea\0", "UTF-16, not UTF-8; convert it: iconv -f UTF-16 -t UTF-8"),
        ("a.txt", b"ab\0c", "binary, not text: a NUL byte at offset 2"),
        ("a.rtf", b"text", "unknown ending '.rtf'; files ending in .docx .htm .html .markdown .md"),
        (
            "program",
            b"\x7fELF\0",
            "no ending, and no text: binary, not text: a NUL",
        ),
        ("notes", b"na\xefve", "no ending, and no text: not UTF-8: byte 0xef at offset 2"),
    ],
)
def test_unreadable_files_are_named(tmp_path, name, content, problem):
    """The message names the file, the place, and what to do."""
    write(tmp_path, name, content)
    (found,) = problems(name, tmp_path)
    assert found.startswith(f"{name}: ")
    assert problem in found


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("missing.md", "missing.md: no such file or folder (relative paths start from "),
        ("*.md", "*.md: no file matches this pattern"),
        ("nowhere/*.md", "nowhere/*.md: no file matches this pattern"),
        ("empty", "empty: the folder has no files"),
        ("https://x.org/a", "https://x.org/a: URLs are not read: download the page"),
        ("", "'': not a path"),
        ("a\0b", "'a\\x00b': not a path"),
        ("x" * 5000, "File name too long"),
        ("~nobody-of-this-name/a.md", "this user has no home folder"),
        ("teola.workflows:../compiler", "not a path inside the installed package"),
        ("teola.workflows:missing", "no such file or folder"),
        (3, "document 1: expected a path or {name, text}, not int"),
        (None, "document 1: expected a path or {name, text}, not NoneType"),
        ({"name": "a"}, "document 1: 'text' of 'a' must be a text"),
        ({"text": "a"}, "document 1: 'name' must be a text that is not empty"),
        ({"name": "a", "text": "b", "url": "c"}, "document 1: unknown field 'url'"),
        ({"name": "a", "text": "b", "meta": {"x": {1}}}, "must be a mapping of JSON values"),
        ({"name": "a", "text": "\ud800"}, "not valid Unicode"),
    ],
)
def test_what_names_no_document_is_refused(tmp_path, value, problem):
    (tmp_path / "empty").mkdir()
    (found,) = problems([value], tmp_path)
    assert problem in found


def test_all_problems_come_together(folder):
    """One run tells everything that is wrong; many problems are counted."""
    write(folder, "docs/latin.txt", b"\xff")
    found = problems(["missing.md", "docs", "none/*.md"], folder)
    assert [line.split(":")[0] for line in found] == ["missing.md", "docs/latin.txt", "none/*.md"]
    with pytest.raises(DocumentError, match=r"\(30 problems\)(?s:.)*and 10 more$"):
        read([f"missing{number}.md" for number in range(30)], folder)


def test_a_file_that_may_not_be_read_is_named(folder, monkeypatch):
    """The system's reason stands beside the file."""

    def refuse(self, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert problems("docs/a.md", folder) == ("docs/a.md: cannot be read: Permission denied",)


def test_a_broken_link_is_named(folder):
    (folder / "docs" / "gone.md").symlink_to("nowhere.md")
    (folder / "docs" / "self.md").symlink_to("self.md")
    gone, itself = problems("docs", folder)
    assert gone == "docs/gone.md: cannot be read: No such file or directory"
    assert itself.startswith("docs/self.md: cannot be read: ")


def test_a_pipe_is_never_opened(tmp_path):
    """Opening it would wait for a writer for ever; folders leave it out."""
    write(tmp_path, "a.txt", "text")
    os.mkfifo(tmp_path / "pipe.txt")
    assert names(read(".", tmp_path)) == ["a.txt"]
    assert problems("pipe.txt", tmp_path) == ("pipe.txt: not a regular file",)


def test_large_files_are_refused(folder, monkeypatch):
    """One document has a limit, and all together have one."""
    monkeypatch.setattr("teola.runtime.documents.file.MAX_FILE_BYTES", 10)
    assert problems("docs/b.txt", folder)[0].startswith("docs/b.txt: larger than")
    monkeypatch.undo()
    monkeypatch.setattr("teola.runtime.documents.reading.MAX_TOTAL_BYTES", 30)
    assert "the documents together are too large" in problems("docs", folder)[0]
    monkeypatch.undo()
    monkeypatch.setattr("teola.runtime.documents.reading.MAX_FILES", 2)
    assert problems("docs", folder) == ("docs: 3 files, more than 2: name fewer",)


def test_two_documents_of_one_name_are_refused(folder):
    """Their chunks would replace each other in a collection."""
    write(folder, "other/a.md", "other")
    (found,) = problems(["docs", "other"], folder)
    assert "other/a.md: another document is named 'a.md' too (docs/a.md)" in found


def test_servers_take_texts_only(folder):
    """No caller over the network reads the server's files."""
    assert problems(["docs", {"name": "n", "text": "t"}], folder, allow_paths=False) == (
        "document 1: paths are not taken here: give {name, text}",
    )
    assert read_documents([{"name": "n", "text": "t"}], folder, allow_paths=False).texts


def test_document_errors_are_bad_input():
    assert issubclass(DocumentError, InputError)


# What text a format has


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One<p>two", "One\n\ntwo"),
        ("<p>One <b>bold</b><i>er</i>\n   word", "One bolder word"),
        ("one<br>two<div>three</div>four", "one\ntwo\nthree\nfour"),
        ("<h2>Head</h2>Text", "## Head\n\nText"),
        ("<ul><li>a<li>b<ul><li>c</ul></ul>d", "- a\n- b\n  - c\n\nd"),
        ("<ol start=3><li>a<li>b</ol>", "3. a\n4. b"),
        ("<ul><li><p>a</p></li><li><p>b</p></li></ul>", "- a\n\n- b"),
        ("<table><tr><th>a<th>b<tr><td>1<td><p>2</table>", "a | b\n1 | 2"),
        ("<pre>\n  x\n    y\n</pre>z", "```\n  x\n    y\n```\n\nz"),
        ("<pre>```\nx</pre>", "````\n```\nx\n````"),
        ("<pre>x<br>y</pre>", "```\nx\ny\n```"),
        ("a<script>bad()</script><style>b{}</style><!-- c -->d", "ad"),
        ("<nav>menu</nav><header>h</header>text<footer>f</footer>", "h\ntext"),
        ("<div>menu</div><main><p>text</main>", "text"),
        ("<div>menu</div><article>text<footer>by me</footer></article>", "text\nby me"),
        ("<article>one</article><article>two</article>", "one\ntwo"),
        ("<p hidden>x</p><p>y<a class=headerlink>#</a></p>", "y"),
        ("2<sup>64</sup> words<sup>1</sup>", "2^64 words1"),
        ("a&nbsp;b &lt;c&gt; <img alt='figure 1'>", "a b <c> figure 1"),
        ("<dl><dt>term<dd>meaning</dl>", "term\nmeaning"),
        ("", ""),
        ("<html><head><title>t</title></head></html>", ""),
    ],
)
def test_html_text(html, text):
    """Structure stays as light Markdown; what only concerns a browser goes."""
    assert html_text(html)[0] == text


def test_html_nests_as_deep_as_it_likes():
    assert html_text("<div>" * 20_000 + "deep")[0] == "deep"


@pytest.mark.parametrize(
    ("html", "title"),
    [
        ("<title> A\n page </title><h1>Other</h1>", "A page"),
        ("<h1>Heading</h1>", "Heading"),
        ("<p>text", None),
    ],
)
def test_html_title(html, title):
    assert html_text(html)[1] == title


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("# Head\n\nA *b* **c** `d`", "# Head\n\nA b c d"),
        ("Head\n====\n\ntext\nmore", "# Head\n\ntext more"),
        ("see [the page](https://example.org 'x') and ![figure](a.png)", "see the page and figure"),
        ("see [page]\n\n[page]: https://example.org", "see page"),
        ("- a\n- b\n  1. c", "- a\n- b\n  1. c"),
        ("```sql\nSELECT 1;\n\n  x\n```", "```\nSELECT 1;\n\n  x\n```"),
        ("| a | b |\n| - | - |\n| 1 | 2 |", "a | b\n1 | 2"),
        ("> quoted\n\nafter", "quoted\n\nafter"),
        ("text <!-- note --> more <br> line", "text more\nline"),
        ("a ~~b~~ c", "a b c"),
        ("`List<int>` and x < y", "List<int> and x < y"),
        ("---\ntitle: x\n---\ntext", "text"),
        ("---\n\ntext", "text"),
        ("", ""),
    ],
)
def test_markdown_text(markdown, text):
    """Words and structure stay; emphasis, link targets, comments and front matter go."""
    assert markdown_text(markdown)[0] == text


@pytest.mark.parametrize(
    ("markdown", "title"),
    [
        ("---\ntitle: 'Named'\nauthor: x\n---\n# Head", "Named"),
        ("text\n\n## Head", "Head"),
        ("text", None),
    ],
)
def test_markdown_title(markdown, title):
    assert markdown_text(markdown)[1] == title


def test_documents_are_read_side_by_side():
    """Several runs read at once, each in a thread; a fresh process each time, as caches are."""
    script = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from teola.runtime.documents.text import markdown_text\n"
        "page = '[a](http://x/%20é ü)' * 50 + '\\n\\n' + '[b](<http://y/ü é>)\\n\\n' * 50\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    texts = list(pool.map(markdown_text, [page] * 64))\n"
        "assert all(text == texts[0] for text in texts)\n"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", script], check=True)
