"""Inputs to begin with: what callerid's own tests read, taken down while they run.

As a plugin of pytest: `python -m pytest -p lab.fuzz.corpus tests/dialects`, with the folder that
they go to in CALLERID_CORPUS: each in a file of its own, named by its digest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from callerid import files
from callerid.recordings import calls
from callerid.settings import checked, load
from callerid.wire import bodies, eventstream, frames, ndjson, parse, sse, wirejson
from lab.fuzz.targets import (
    BETWEEN,
    DIALECTS,
    ENCODINGS,
    PATHS,
    SHAPES,
    SUFFIXES,
    TYPES,
    choice,
)

FIXTURES = (
    "dialects", "test_parse.py", "test_sse.py", "test_eventstream.py", "test_ndjson.py",
    "test_frames.py", "test_bodies.py", "test_wirejson.py", "test_growing.py", "test_import.py",
    "test_settings.py", "test_declared.py", "test_stories.py",
)  # fmt: skip
MOST_BYTES = 4096  # of an input: coverage is found with small ones
MOST_OF_A_TEST = 40  # inputs of one kind: a property gives hundreds that are much alike


class Corpus:
    """A folder for each target."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left: dict[str, int] = {}

    def next_test(self) -> None:
        """Another test begins."""
        self._left.clear()

    def add(self, target: str, data: bytes) -> None:
        """Keep an input, should it be small enough."""
        left = self._left.get(target, MOST_OF_A_TEST)
        if len(data) <= MOST_BYTES and left:
            self._left[target] = left - 1
            (self._folder / target).mkdir(parents=True, exist_ok=True)
            name = hashlib.sha256(data).hexdigest()[:16]
            (self._folder / target / name).write_bytes(data)

    def add_call(self, path: str, body: bytes) -> None:
        """Keep the body of a call."""
        plain = path.partition("?")[0].rstrip("/")
        self.add("request", choice(PATHS, plain if plain in PATHS else PATHS[0]) + body)
        self.add("json", body)
        self.add("grown", body + BETWEEN + body)
        self.add("frames", choice(PATHS, "/v1/realtime") + body)
        self.add("headers", body[:200])

    def add_file(self, path: Path, shape: Any) -> None:
        """Keep a file of settings, or a table."""
        if shape in SHAPES and path.is_file():
            self.add("settings", choice(SHAPES, shape) + path.read_bytes())

    def add_replies_of_redis(self) -> None:
        """What a Redis says, in each of its forms."""
        for said in (b"+PONG\r\n", b":1\r\n", b"-ERR no\r\n", b"$-1\r\n", b"$2\r\nab\r\n",
                     b"*2\r\n*1\r\n$1\r\na\r\n:7\r\n", b"*0\r\n"):  # fmt: skip
            self.add("redis", b"\x03" + said)


def _before(owner: Any, name: str, tell: Callable[..., None]) -> None:
    """Let something be told what a function or method is given, before that does its work."""
    does = getattr(owner, name)

    def heard(*given: Any, **named: Any) -> Any:
        with suppress(Exception):  # a test may give it anything
            tell(*given)
        return does(*given, **named)

    setattr(owner, name, heard)


def _listen(corpus: Corpus) -> None:
    def fed(reader: parse.ReplyReader, data: bytes) -> None:
        kind = reader._content_type.partition(";")[0]
        told = choice(DIALECTS, reader._dialect)
        told += choice(TYPES, kind if kind in TYPES else "nonsense; ;")
        corpus.add("reply", told + b"\0\x07" + data)
        corpus.add("events", choice(DIALECTS, reader._dialect) + b"\x07" + data)

    def recorded(path: Path, _: object) -> None:
        corpus.add("recording", choice(SUFFIXES, _suffix(path)) + path.read_bytes())

    _before(parse, "parse_call", lambda path, body, _: corpus.add_call(path, body))
    _before(parse.ReplyReader, "feed", fed)
    for parser in (sse.Parser, ndjson.Parser, eventstream.Parser):
        _before(parser, "feed", lambda _, data: corpus.add("events", b"\0\x07" + bytes(data)))
    for name in ("decode", "members", "items"):
        _before(wirejson, name, lambda raw: corpus.add("json", raw))
    packed = lambda encoding, body: corpus.add("packed", choice(ENCODINGS, encoding) + b"\3" + body)  # noqa: E731
    _before(bodies, "unpack", packed)
    for name in ("begun_by", "ended_by"):
        told = lambda _, frame: corpus.add("frames", choice(PATHS, "/v1/realtime") + frame)  # noqa: E731
        _before(frames.Frames, name, told)
    _before(calls, "read", recorded)
    for module in (checked, load):
        _before(module, "read", corpus.add_file)


def _suffix(path: Path) -> str:
    return next((each for each in reversed(SUFFIXES) if path.name.endswith(each)), ".flows")


_corpus = Corpus(Path(os.environ.get("CALLERID_CORPUS", ".fuzz/corpus")))


def pytest_configure() -> None:
    """Begin to listen, before a test has been loaded."""
    _listen(_corpus)
    _corpus.add_replies_of_redis()
    load.load()
    load.environments()
    _corpus.add_file(files.CONFIG / "callerid.yaml", SHAPES[0])


def pytest_runtest_setup() -> None:
    """Each test has room of its own."""
    _corpus.next_test()
