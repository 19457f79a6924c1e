"""What the pages link to as it is: bodies, long texts, images."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from sqlite_utils import Database

from callerid.archive import sessions as archive
from callerid.archive.sessions import NotFound
from callerid.archive.transcript import Line, Reader
from callerid.explorer import talk, words
from callerid.explorer.images import images
from callerid.traces import bodies

_TEXT = "text/plain; charset=utf-8"
_ODD = re.compile(r"[^A-Za-z0-9_.-]")


class Content(NamedTuple):
    """What is given; a browser saves it where there is a file name."""

    content_type: str
    content: bytes
    file_name: str = ""


Asked = Mapping[str, str]
Read = Callable[[Database, Asked], Content]


def body(database: Database, asked: Asked) -> Content:
    """The body of a request or a reply, to be saved; raises NotFound, NotJSON, NotPacked."""
    id = archive.call_id(database, asked.get("id", ""))
    is_reply = asked.get("reply") == "1"
    found = bodies.reply_body(database, id) if is_reply else bodies.request_body(database, id)
    if found.content is None:
        raise NotFound(f"the body of this {'reply' if is_reply else 'request'} is not on record")
    return Content("application/octet-stream", found.content, file_name(id, is_reply=is_reply))


def file_name(call_id: str, *, is_reply: bool) -> str:
    """What the file of a body is called."""
    return f"{_ODD.sub('_', call_id)}.{'reply.txt' if is_reply else 'request.json'}"


def text(database: Database, asked: Asked) -> Content:
    """All of a text that was cut on its page; raises NotFound."""
    line, pieces = _line(database, asked), _number(asked, "piece")
    if pieces >= len(line.pieces):
        raise NotFound(f"message {line.position} has no piece {pieces}")
    said = words.seen(talk.text_of(line.pieces[pieces]))
    return Content(_TEXT, said.encode("utf-8", "replace"))


def image(database: Database, asked: Asked) -> Content:
    """An image that was said; raises NotFound, NotJSON."""
    line = _line(database, asked)
    read = bodies.reply_messages_of if line.is_reply else bodies.messages_of
    found = images(read(database, line.call_id)[line.position])
    number = _number(asked, "number")
    if number >= len(found):
        raise NotFound("this image is not on record in a form that browsers show")
    return Content(found[number].content_type, found[number].content)


def _line(database: Database, asked: Asked) -> Line:
    id = archive.call_id(database, asked.get("call", ""))
    is_reply, at = asked.get("reply") == "1", _number(asked, "at")
    for line in Reader(database).call(id):
        if (line.is_reply, line.position) == (is_reply, at):
            return line
    raise NotFound(f"{id} has no message {at}")


def _number(asked: Asked, name: str) -> int:
    said = asked.get(name, "0")
    return int(said) if said.isdecimal() and len(said) < 9 else 0


ADDRESSES: tuple[tuple[str, Read], ...] = (("/body", body), ("/text", text), ("/image", image))
