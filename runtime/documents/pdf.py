"""The text of a PDF, on PDFium: page after page, each in the order in which it was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from teola.runtime.documents.errors import UnreadableError

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

WRONG_PASSWORD, UNKNOWN_ENCRYPTION = 4, 5
"""PDFium's ``FPDF_ERR_PASSWORD`` and ``FPDF_ERR_SECURITY``."""

_CONTROLS = dict.fromkeys(set(range(32)) - {ord("\n"), ord("\t")})
"""One of them is PDFium's mark for the hyphen of a word that goes on in the next line."""


def pdf_text(content: bytes, most: int) -> tuple[str, str | None]:
    """Read a PDF: its text, at most ``most`` characters, and the title that it says it has.

    Raises:
        UnreadableError: it is damaged or encrypted, has no text at all, or too much.
    """
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        raise UnreadableError(_refusal(error.err_code)) from None
    with pdf:
        pages, size = [], 0
        for page in _pages(pdf):
            pages.append(page)
            size += len(page)
            if size > most:
                raise UnreadableError(f"its text has more than {most} characters: split it")
        title = _title(pdf)
    if not size:
        raise UnreadableError(
            "no text in it: its pages are pictures (a scan?) or empty; recognise their text "
            "first, for example: ocrmypdf scan.pdf text.pdf"
        )
    return "\n\n".join(filter(None, pages)), title


def _pages(pdf: PdfDocument) -> Iterator[str]:
    """The text of each page."""
    import pypdfium2

    for number in range(len(pdf)):
        try:
            page = pdf[number]
            written = page.get_textpage()
        except pypdfium2.PdfiumError:
            raise UnreadableError(
                f"damaged: page {number + 1} of {len(pdf)} cannot be read; repair it, for example: "
                "qpdf broken.pdf repaired.pdf"
            ) from None
        text = written.get_text_bounded().replace("\r\n", "\n").translate(_CONTROLS)
        written.close()
        page.close()
        yield text.strip()


def _title(pdf: PdfDocument) -> str | None:
    try:
        return " ".join(pdf.get_metadata_value("Title").split()) or None
    except UnicodeDecodeError:  # half a character: what the pages say is none the worse for it
        return None


def _refusal(code: int | None) -> str:
    if code == WRONG_PASSWORD:
        return (
            "encrypted with a password; give a copy without one, for example: "
            "qpdf --decrypt --password=… locked.pdf open.pdf"
        )
    if code == UNKNOWN_ENCRYPTION:
        return "encrypted in a way that is not known here; give a copy that is not"
    return "damaged, or no PDF"
