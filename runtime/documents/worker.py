"""Reads PDF and Word files for another process: ``python -m teola.runtime.documents.worker FD``.

On the descriptor come a file's kind and its content; one answer in JSON goes back for each. Time
and memory are limited by the system, whatever a reader does with a broken file.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from teola.runtime.documents.errors import UnreadableError
from teola.runtime.documents.pdf import pdf_text
from teola.runtime.documents.word import word_text

MEMORY_BYTES = 2 * 2**30
MAX_CHARACTERS = 32 * 2**20
COMPUTING_S = 150
"""Longer than whoever asked waits: it ends what nobody can end any more."""

READERS: Mapping[str, Callable[[bytes, int], tuple[str, str | None]]] = {
    "pdf": pdf_text,
    "word": word_text,
}


def main() -> None:
    """Answer until the other end is closed."""
    pipe: Connection[Any, Any] = Connection(int(sys.argv[1]))
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    while True:
        try:
            kind, content = pipe.recv_bytes().decode(), pipe.recv_bytes()
        except EOFError:
            return
        _limit(resource.RLIMIT_CPU, int(time.process_time()) + COMPUTING_S)
        pipe.send_bytes(json.dumps(answer(kind, content)).encode())


def answer(kind: str, content: bytes) -> dict[str, str | None]:
    """``text`` and ``title`` of a file, or the ``problem`` with it."""
    try:
        text, title = READERS[kind](content, MAX_CHARACTERS)
    except UnreadableError as error:
        return {"problem": str(error)}
    except ImportError as error:
        return {"problem": f"reading it needs {error.name}: pip install 'teola[local]'"}
    except MemoryError:
        return {"problem": f"reading it takes more than {MEMORY_BYTES >> 30} GiB of memory"}
    except Exception as error:  # noqa: BLE001 - of a broken file a library raises anything
        return {"problem": f"damaged ({type(error).__name__}: {error})"}
    return {"text": text, "title": title}


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    main()
