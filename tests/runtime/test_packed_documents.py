"""PDF and Word files: their text as a reader sees it, or what is wrong with them and what to do."""

import zipfile
from io import BytesIO

import docx
import pytest
from docx.oxml import OxmlElement
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from teola.runtime.documents.api import DocumentError, read_documents
from teola.runtime.documents.errors import UnreadableError
from teola.runtime.documents.pdf import pdf_text
from teola.runtime.documents.process import DocumentProcess
from teola.runtime.documents.word import COMPOUND_FILE, ENCRYPTED, word_text
from teola.runtime.documents.worker import answer

MOST = 10_000


def pdf(*pages, title=None, encrypt=None, picture=False):
    """A PDF with so many pages of lines."""
    target = BytesIO()
    canvas = Canvas(target, encrypt=encrypt)
    if title is not None:
        canvas.setTitle(title)
    for lines in pages:
        if picture:
            canvas.drawImage(ImageReader(Image.new("L", (20, 20))), 100, 100)
        for number, line in enumerate(lines):
            canvas.drawString(72, 720 - 14 * number, line)
        canvas.showPage()
    canvas.save()
    return target.getvalue()


def word(fill=None, title=""):
    """A Word file that ``fill`` writes."""
    document = docx.Document()
    document.core_properties.title = title
    if fill is not None:
        fill(document)
    target = BytesIO()
    document.save(target)
    return target.getvalue()


def letter(document):
    document.add_heading("Storage", 0)
    document.add_heading("Pages", 1)
    document.add_paragraph("A page has ").add_run("4096").bold = True
    document.add_paragraph("first", style="List Bullet")
    document.add_paragraph("second", style="List Bullet")
    table = document.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "size", "4 KiB"


def changed(name, content):
    """A Word file, one of its parts replaced."""
    target = BytesIO()
    with zipfile.ZipFile(BytesIO(word(letter))) as old, zipfile.ZipFile(target, "w") as new:
        for part in old.namelist():
            new.writestr(part, content if part == name else old.read(part), zipfile.ZIP_DEFLATED)
    return target.getvalue()


PDF, WORD = pdf(["One line,", "and another."], ["Page two."]), word(letter)
TEXT = "# Storage\n\n# Pages\n\nA page has 4096\n\n- first\n- second\n\nsize | 4 KiB"


def problem(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DocumentError) as caught:
        read_documents(name, tmp_path)
    (found,) = caught.value.problems
    return found.removeprefix(f"{name}: ")


def test_they_are_documents_like_others(tmp_path):
    """By themselves and in folders, with type, path and title; their endings in any case."""
    (tmp_path / "a.PDF").write_bytes(pdf(["Text."], title=" A\n title "))
    (tmp_path / "b.docx").write_bytes(WORD)
    (tmp_path / "c.txt").write_text("plain")
    found = read_documents(".", tmp_path)
    assert found.texts == [
        {"name": "a.PDF", "text": "Text.", "meta": {
            "type": "pdf", "path": "a.PDF", "title": "A title"}},
        {"name": "b.docx", "text": TEXT, "meta": {
            "type": "word", "path": "b.docx", "title": "Storage"}},
        {"name": "c.txt", "text": "plain", "meta": {"type": "text", "path": "c.txt"}},
    ]  # fmt: skip
    assert found.warnings == ()


# PDF


def test_pages_come_in_order_with_a_blank_line_between():
    assert pdf_text(PDF, MOST) == ("One line,\nand another.\n\nPage two.", "untitled")


def test_a_title_that_is_no_text_is_none():
    broken = pdf(["text"], title="broken").replace(b"(broken)", b"<FEFFD800>")
    assert pdf_text(broken, MOST) == ("text", None)


def test_a_page_without_text_is_passed_over():
    assert pdf_text(pdf(["before"], [], ["after"]), MOST)[0] == "before\n\nafter"


def test_a_word_that_goes_on_in_the_next_line_is_one_word():
    assert pdf_text(pdf(["a data-", "base is"]), MOST)[0] == "a database is"


def test_a_pdf_that_only_may_not_be_changed_is_read():
    """A password for its owner alone keeps nobody from reading."""
    mine = StandardEncryption("", ownerPassword="mine", canModify=0)
    assert pdf_text(pdf(["open"], encrypt=mine), MOST)[0] == "open"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (pdf(["secret"], encrypt="key"), "encrypted with a password; give a copy without one"),
        (pdf([], [], picture=True), "no text in it: its pages are pictures (a scan?) or empty"),
        (b"", "damaged, or no PDF"),
        (b"<html>no PDF</html>", "damaged, or no PDF"),
        (PDF[: len(PDF) // 2], "damaged"),
    ],
    ids=["encrypted", "scanned", "empty", "another format", "cut off"],
)
def test_what_is_wrong_with_a_pdf_is_said(tmp_path, content, expected):
    assert expected in problem(tmp_path, "a.pdf", content)


# Word


def test_word_has_the_shape_of_other_texts():
    """Headings, lists and tables as in Markdown and HTML; a title style is a heading, too."""
    assert word_text(WORD, MOST) == (TEXT, "Storage")


def test_the_title_among_the_properties_comes_first():
    assert word_text(word(letter, title=" Own\n title "), MOST)[1] == "Own title"
    assert word_text(word(), MOST) == ("", None)


def test_pictures_are_their_descriptions():
    """What they show is not unpacked."""

    def fill(document):
        picture = BytesIO()
        Image.new("L", (20, 20)).save(picture, "PNG")
        picture.seek(0)
        document.add_picture(picture)
        (shape,) = document.inline_shapes
        shape._inline.docPr.set("descr", "a curve")

    assert word_text(word(fill), MOST)[0] == "a curve"


def test_changes_that_are_tracked_count_as_accepted():
    def fill(document):
        paragraph = document.add_paragraph("kept ")
        for tag, kind, text in (("w:del", "w:delText", "old"), ("w:ins", "w:t", "new")):
            change, run, words = OxmlElement(tag), OxmlElement("w:r"), OxmlElement(kind)
            words.text = text
            run.append(words)
            change.append(run)
            paragraph._p.append(change)

    assert word_text(word(fill), MOST)[0] == "kept new"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (COMPOUND_FILE + b"\0" * 600 + ENCRYPTED, "encrypted with a password: save a copy"),
        (COMPOUND_FILE + b"\0" * 600, "of the old Word format: save it as .docx"),
        (b"", "damaged, or no Word file"),
        (PDF, "damaged, or no Word file"),
        (WORD[: len(WORD) // 2], "damaged"),
        (changed("word/document.xml", b"<w:document>"), "damaged (ExpatError"),
        (changed("docProps/core.xml", b"<a>"), "damaged (ParseError"),
    ],
    ids=["encrypted", "old", "empty", "another format", "cut off", "broken", "broken properties"],
)
def test_what_is_wrong_with_a_word_file_is_said(tmp_path, content, expected):
    assert expected in problem(tmp_path, "a.docx", content)


def test_the_old_word_format_is_named(tmp_path):
    """Folders leave it out like any other that is not read."""
    assert "save it as .docx" in problem(tmp_path, "a.doc", COMPOUND_FILE)
    (tmp_path / "b.txt").write_text("text")
    assert read_documents(".", tmp_path).warnings[0].endswith(": a.doc")


def test_what_would_unpack_to_too_much_is_not_unpacked(monkeypatch):
    """A few KB may be GiB; pictures do not count."""
    monkeypatch.setattr("teola.runtime.documents.word.MAX_XML_BYTES", 3 * 2**20)
    bomb = changed("word/document.xml", b"<a>" + b" " * 4 * 2**20 + b"</a>")
    assert len(bomb) < 2**16
    with pytest.raises(UnreadableError, match="4 MiB of text and styles when it is unpacked"):
        word_text(bomb, MOST)


def test_entities_do_not_grow(tmp_path):
    """A thousand million laughs are an error, not memory."""
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    laughs = f'<!DOCTYPE a [<!ENTITY l0 "ha">{entities}]><a>&l9;</a>'
    assert "damaged" in problem(tmp_path, "a.docx", changed("word/document.xml", laughs.encode()))


# Both


@pytest.mark.parametrize(("read", "content"), [(pdf_text, PDF), (word_text, WORD)])
def test_too_much_text_is_refused(read, content):
    with pytest.raises(UnreadableError, match="more than 10 characters: split it"):
        read(content, 10)


def test_large_files_are_refused(tmp_path, monkeypatch):
    """One file has a limit, and the texts of all together have one."""
    monkeypatch.setattr("teola.runtime.documents.file.MAX_PACKED_BYTES", 100)
    assert problem(tmp_path, "a.pdf", PDF).startswith("larger than")
    monkeypatch.undo()
    monkeypatch.setattr("teola.runtime.documents.reading.MAX_TOTAL_BYTES", 5)
    assert "the documents together are too large" in problem(tmp_path, "a.pdf", PDF)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ModuleNotFoundError(name="mammoth"), "reading it needs mammoth: pip install"),
        (MemoryError(), "reading it takes more than 2 GiB of memory"),
        (RecursionError("too deep"), "damaged (RecursionError: too deep)"),
    ],
)
def test_what_a_library_raises_is_the_files_problem(monkeypatch, error, expected):
    def read(content, most):
        raise error

    monkeypatch.setattr("teola.runtime.documents.worker.READERS", {"word": read})
    assert expected in answer("word", b"")["problem"]


@pytest.fixture(scope="module")
def reader():
    process = DocumentProcess()
    yield process
    process.close()


def test_a_file_that_ends_the_process_is_refused_and_the_next_one_read(reader):
    """A crash or the system's memory killer takes nobody else with it."""
    reader.read("pdf", PDF)
    reader._process.kill()
    reader._process.wait()
    with pytest.raises(UnreadableError, match="reading it ended in SIGKILL"):
        reader.read("pdf", PDF)
    assert reader.read("word", WORD)[0] == TEXT


def test_a_file_that_takes_too_long_is_refused_and_the_next_one_read(reader, monkeypatch):
    monkeypatch.setattr("teola.runtime.documents.process.LIMIT_S", 0)
    with pytest.raises(UnreadableError, match="reading it takes longer than 0 s: split it"):
        reader.read("pdf", PDF)
    monkeypatch.undo()
    assert reader.read("word", WORD)[0] == TEXT


def test_a_closed_reader_leaves_no_process(reader):
    reader.read("pdf", PDF)
    process = reader._process
    reader.close()
    assert process.poll() is not None


@st.composite
def damaged(draw):
    """A file's kind, and one that was good with parts of it lost, doubled or changed."""
    kind, content = draw(st.sampled_from([("pdf", PDF), ("word", WORD)]))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 200)))
        content = content[:start] + draw(st.binary(max_size=20)) + content[end:]
    return kind, content


@settings(max_examples=150)
@given(st.one_of(damaged(), st.tuples(st.sampled_from(["pdf", "word"]), st.binary())))
def test_no_bytes_do_harm(reader, file):
    """Whatever a file holds there is a text, or the error that says why there is none."""
    try:
        text, _ = reader.read(*file)
    except UnreadableError:
        return
    assert isinstance(text, str)
