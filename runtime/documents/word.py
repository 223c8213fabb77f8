"""The text of a Word file (.docx): mammoth makes HTML of headings, lists and tables, which is read
as any other page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from xml.etree import ElementTree as ET
from zipfile import BadZipFile, ZipFile

from teola.runtime.documents.errors import UnreadableError
from teola.runtime.documents.text import html_text

MAX_XML_BYTES = 32 * 2**20
"""What the file says in, unpacked; its pictures are not unpacked."""
COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How old Office files begin, and all that are encrypted."""
ENCRYPTED = "EncryptedPackage".encode("utf-16-le")

_PROPERTIES = "docProps/core.xml"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_STYLES = "p[style-name='Title'] => h1:fresh"
_BACK_LINK = re.compile(r'\s*<a href="#(?:foot|end)note-ref-[^"]*">↑</a>')


def word_text(content: bytes, most: int) -> tuple[str, str | None]:
    """Read a Word file: its text, at most ``most`` characters, and its title or first heading.

    Tracked changes count as accepted; comments, headers and footers are left out.

    Raises:
        UnreadableError: it is damaged, encrypted, of the old format, or too large.
    """
    import mammoth

    own_title = _checked_title(content)
    found = mammoth.convert_to_html(
        BytesIO(content),
        style_map=_STYLES,
        include_embedded_style_map=False,
        convert_image=mammoth.images.img_element(_without_picture),
    )
    text, heading = html_text(f"<body>{_BACK_LINK.sub('', found.value)}")
    if len(text) > most:
        raise UnreadableError(f"its text has more than {most} characters: split it")
    return text, own_title or heading


def _without_picture(_image: Any) -> Mapping[str, str]:
    """Nothing but its description is read."""
    return {}


def _checked_title(content: bytes) -> str | None:
    """The title among the file's properties, once its archive is one that can be unpacked."""
    if content.startswith(COMPOUND_FILE):
        raise UnreadableError(
            "encrypted with a password: save a copy without one"
            if ENCRYPTED in content
            else "of the old Word format: save it as .docx"
        )
    try:
        with ZipFile(BytesIO(content)) as archive:
            parts = [one for one in archive.infolist() if one.filename.endswith((".xml", ".rels"))]
            size = sum(part.file_size for part in parts)
            if size > MAX_XML_BYTES:
                raise UnreadableError(
                    f"{size >> 20} MiB of text and styles when it is unpacked, more than "
                    f"{MAX_XML_BYTES >> 20} MiB: split it"
                )
            if _PROPERTIES not in archive.namelist():
                return None
            properties = archive.read(_PROPERTIES)
    except BadZipFile:
        raise UnreadableError("damaged, or no Word file") from None
    title = ET.fromstring(properties).findtext(_TITLE)  # noqa: S314 - expat stops entities that grow, the process has limits
    return " ".join((title or "").split()) or None
