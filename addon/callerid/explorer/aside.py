"""Makes pages in a process of its own, so that traffic does not wait for the making of one.

A page of a large run takes some tenths of a second of the interpreter, of which a proxy has one.
The process is started with the first page that is asked for, and ends with its standard input.
It is told the settings by a line of JSON, and asked by one for each page, an Asked; what comes back
is a length in eight bytes, and a Made in msgpack.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import msgspec

from callerid import processes
from callerid.settings.load import Configuration

SECONDS = 60.0  # that a page may take; then its process is ended
MOST_WAITING = 16  # pages that may be asked for at once
NICENESS = 5  # where processors are few, calls go first
FORM = "callerid.form"  # in the environment of a request: what forms shall carry
_LENGTH = 8
_FORM_TYPE = "application/x-www-form-urlencoded"


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """A page that is asked for; `said` is what a form says, None where none was sent."""

    path: str
    query: str
    form: str = ""
    said: str | None = None


class Made(msgspec.Struct, frozen=True):
    """A page as it was made."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class NoAside(Exception):
    """The process cannot be had; the message says why."""


class Aside:
    """Asks the process for pages over one traces.db, one after the other."""

    def __init__(self, path: Path, configuration: Configuration) -> None:
        self._path = path
        self._configuration = configuration
        self._untold = b""  # what the process must be told before it is asked
        self._one = threading.Lock()
        self._places = threading.BoundedSemaphore(MOST_WAITING)
        self._process: subprocess.Popen[bytes] | None = None

    def get(self, asked: Asked) -> Made:
        """The page that is asked for; raises NoAside."""
        if not self._places.acquire(blocking=False):
            return _refusal("too many pages are asked for at once")
        try:
            with self._one:
                return self._get(asked)
        finally:
            self._places.release()

    def close(self) -> None:
        """End the process, without waiting for a page that it makes."""
        if self._process is not None:
            _end(self._process)

    def _get(self, asked: Asked) -> Made:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        is_given_up = threading.Event()

        def give_up() -> None:
            is_given_up.set()
            process.kill()

        bound = threading.Timer(SECONDS, give_up)
        bound.daemon = True
        bound.start()
        try:
            process.stdin.write(self._untold + msgspec.json.encode(asked) + b"\n")
            self._untold = b""
            process.stdin.flush()
            return _read(process.stdout)
        except (OSError, EOFError, msgspec.DecodeError) as error:
            _end(process)
            if is_given_up.is_set():
                return _refusal(f"it took more than {SECONDS:.0f} s")
            raise NoAside(f"the process that makes pages ended: {error!r}") from None
        finally:
            bound.cancel()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            _end(self._process)
            self._process = None
        if self._process is None:
            try:
                self._process = processes.start(
                    "callerid.explorer.aside", str(self._path), stderr=subprocess.DEVNULL
                )
                self._untold = msgspec.json.encode(self._configuration) + b"\n"
            except OSError as error:
                raise NoAside(f"{sys.executable}: {error}") from None
        return self._process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    try:
        process.communicate()  # closes the pipes
    except (OSError, ValueError):
        pass  # somebody waits for a page: he sees that it ended


def _refusal(words: str) -> Made:
    said = [("content-type", "text/plain; charset=utf-8"), ("retry-after", "2")]
    return Made(503, said, f"{words}\n".encode())


def _read(stream: IO[bytes]) -> Made:
    """What is written next; raises EOFError and msgspec.DecodeError."""
    head = stream.read(_LENGTH)
    body = stream.read(int.from_bytes(head))
    if len(head) < _LENGTH or len(body) < int.from_bytes(head):
        raise EOFError("in the middle of a page")
    return msgspec.msgpack.decode(body, type=Made)


def main(path: Path) -> None:
    """Make the pages that standard input asks for."""
    from flask import Flask

    from callerid.explorer.app import Explorer

    os.nice(NICENESS)
    app = Flask("callerid", static_folder=None)
    said = sys.stdin.buffer
    configuration = msgspec.json.decode(said.readline(), type=Configuration)
    app.register_blueprint(Explorer(path, configuration).blueprint())
    client = app.test_client()
    for line in said:
        asked = msgspec.json.decode(line, type=Asked)
        page = client.open(
            asked.path, method="GET" if asked.said is None else "POST", data=asked.said,
            content_type=None if asked.said is None else _FORM_TYPE,
            environ_overrides={"QUERY_STRING": asked.query, FORM: asked.form},
        )  # fmt: skip
        made = msgspec.msgpack.encode(Made(page.status_code, list(page.headers), page.data))
        sys.stdout.buffer.write(len(made).to_bytes(_LENGTH) + made)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
