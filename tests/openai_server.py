"""A server on loopback that speaks OpenAI's protocol as far as Teola does: its answers are those of
the fakes, and it does wrong what it is told to."""

from __future__ import annotations

import base64
import json
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle

from teola.runtime.engines.fakes.embedder import embed
from teola.runtime.engines.tokenizer.fake import ByteTokenizer
from tests.openai_model import PART, choices, no_object, refusal

PATIENCE_S = 60


@dataclass
class Fault:
    """What is wrong with one answer: a ``status`` with ``headers`` and what is ``said``; no byte
    before ``hold`` is set; after so many ``parts``, ``garbage`` in place of the next, and the end
    of the connection; ``endless``: its parts again and again, until nobody listens."""

    status: int = 0
    headers: dict = field(default_factory=dict)
    said: object = None
    hold: threading.Event | None = None
    parts: int | None = None
    garbage: str = ""
    endless: bool = False


class OpenAIServer(ThreadingHTTPServer):
    """``requests`` are the path and the body of all that came, ``faults`` are for those that come
    next; ``left`` is set when a client has gone before the end. ``tokens``: it takes prompts that
    are tokens, and ``tells_tokens`` where asked to; ``objects``: its schemas are those of objects;
    ``pace_s`` lies between parts of a stream."""

    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def __init__(self, port=0, **settings):
        super().__init__(("127.0.0.1", port), _Handler)
        self.model, self.context = "tiny", 4096
        self.key = None
        self.tokens = self.tells_tokens = True
        self.lists, self.objects = 200, False
        self.longest = None
        self.requests, self.faults = [], deque()
        self.left, self.dead, self.pace_s = threading.Event(), threading.Event(), 0
        self.prompts = []
        vars(self).update(settings)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def die(self):
        """Break off what runs and answer nobody any more."""
        self.dead.set()
        self.shutdown()
        self.server_close()

    def fault(self, **settings):
        """Do one answer wrong."""
        self.faults.append(Fault(**settings))

    def bodies(self, path):
        """What came to a path."""
        return [body for at, body in self.requests if at == path]

    def cached(self, prompt):
        """How many tokens of a prompt came before, in whole blocks."""
        most = max((_common(prompt, one) for one in self.prompts), default=0)
        self.prompts.append(prompt)
        return most // PART * PART

    def handle_error(self, request, client_address):
        """A client that has gone is no news."""


@contextmanager
def serving(**settings):
    """A server as long as the block lasts."""
    with OpenAIServer(**settings) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def do_GET(self):
        if self._refused():
            return
        model = {"id": self.server.model, "object": "model", "max_model_len": self.server.context}
        if self.server.lists == 200 and self.path == "/v1/models":
            self._reply(200, {"object": "list", "data": [model]})
        else:
            self._error(self.server.lists, "no list")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path = self.path.removeprefix("/v1")
        if self.server.dead.is_set():
            self.close_connection = True
            return
        if self._refused():
            return
        self.server.requests.append((path, body))
        fault = self.server.faults.popleft() if self.server.faults else Fault()
        if fault.hold is not None:
            fault.hold.wait(PATIENCE_S)
        if fault.status:
            said = fault.said or {"error": {"message": "told to"}}
            self._reply(fault.status, said, fault.headers)
        elif path == "/embeddings":
            self._embed(body)
        elif path == "/chat/completions":
            self._generate(body, ByteTokenizer().encode_chat(body["messages"]), fault)
        elif path == "/completions" and self.server.tokens and isinstance(body["prompt"], list):
            self._generate(body, body["prompt"], fault)
        else:
            self._error(400, "the prompt must be a text")

    def _refused(self):
        sent = self.headers.get("authorization", "")
        wrong = self.server.key is not None and sent != f"Bearer {self.server.key}"
        if wrong:
            self._error(401, f"not the key: {sent}")
        return wrong

    def _error(self, status, message, **more):
        self._reply(status, {"error": {"message": message, **more}})

    def _reply(self, status, data, headers=None):
        written = data.encode() if isinstance(data, str) else json.dumps(data).encode()
        self.send_response(status)
        kind = "text/html" if isinstance(data, str) else "application/json"
        for name, value in {"content-type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def _embed(self, body):
        texts = body["input"]
        if self.server.longest is not None and max(map(len, texts)) > self.server.longest:
            self._error(400, f"a text is longer than {self.server.longest}")
            return
        rows = embed(texts, body.get("dimensions") or 32)
        plain = body["encoding_format"] == "float"
        data = [
            {"index": at, "embedding": row.tolist() if plain else base64.b64encode(row).decode()}
            for at, row in enumerate(rows)
        ]
        self._reply(200, {"data": data[::-1], "usage": {"prompt_tokens": sum(map(len, texts))}})

    def _generate(self, body, prompt, fault):
        wrong = refusal(body, prompt, self.server.context)
        if wrong is None and self.server.objects:
            wrong = no_object(body)
        if wrong is not None:
            self._error(400, wrong)
            return
        said, count = choices(body, prompt, tells_tokens=self.server.tells_tokens)
        usage = {
            "prompt_tokens": len(prompt),
            "completion_tokens": count,
            "prompt_tokens_details": {"cached_tokens": self.server.cached(prompt)},
        }
        if body.get("stream"):
            parts = [{"choices": [one]} for one in said]
            self._stream([*parts, {"choices": [], "usage": usage}], fault)
        else:
            self._reply(200, {"choices": said[-1:], "usage": usage})

    def _stream(self, parts, fault):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for part in cycle(parts[:-2]) if fault.endless else ():
                self._part(json.dumps(part))
                self.server.left.wait(0.001)
            for part in parts[: fault.parts]:
                self._part(json.dumps(part))
                if self.server.dead.wait(self.server.pace_s):
                    self.close_connection = True
                    return
            if fault.garbage:
                self._part(fault.garbage)
            if fault.parts is not None:
                self.close_connection = True
                return
            self._part("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.server.left.set()
            raise

    def _part(self, said):
        data = f"data: {said}\n\n".encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def _common(one, other):
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
