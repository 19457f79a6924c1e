"""What was said, without how it was sent: the form in which histories are compared.

Dropped, because real clients change them between two sendings of the same history: cache markers,
tool ids (clients invent them), thinking and signatures (never part of a message here), blocks that
the client injects (`injected_blocks` of config/clients.yaml), string-or-list shape, whitespace,
unicode forms and typographic quotes, the order and spacing of tool arguments, where a model's text
is cut, system messages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from hashlib import sha256

from callerid.turn import Message, Opaque, Part, Reference, Role, Text, ToolCall, ToolResult, Unit
from callerid.wire import wirejson

DIGEST_BYTES = 16  # 128 bits: collisions by chance are out of the question

# Typographic signs that editors and clients write for plain ones.
_PLAIN = {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "\u00ad": ""}
_TYPOGRAPHY = re.compile(f"[{''.join(_PLAIN)}]")  # str.translate takes six times as long
_SPACES = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"  # of ASCII, as str.split has them

Injected = re.Pattern[str]  # finds where an injected block begins; its group is the tag


def injected_pattern(tags: Iterable[str]) -> Injected:
    """A pattern for the beginnings of blocks (`<tag ...>...</tag>`) that clients inject."""
    names = "|".join(re.escape(tag) for tag in tags)
    return re.compile(rf"<({names})(?:\s[^<>]*)?>" if names else r"(?!)")


NOTHING_INJECTED = injected_pattern([])


def plain(text: str, injected: Injected) -> str:
    """The words of a text: no injected blocks, one kind of quote, one space between words."""
    return " ".join(_plainly(text, injected).split())


def letters(text: str, injected: Injected) -> str:
    """The words of a text as `plain` has them, with no space between them.

    For what is only compared: it takes a tenth of the time, and clients wrap lines as they like.
    """
    text = _plainly(text, injected)
    if text.isascii():
        return text.encode().translate(None, _SPACES).decode()
    return "".join(text.split())


def _plainly(text: str, injected: Injected) -> str:
    if "<" in text:
        text = _without_blocks(text, injected)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        text = _TYPOGRAPHY.sub(lambda sign: _PLAIN[sign[0]], text)
    return text


def _without_blocks(text: str, injected: Injected) -> str:
    """The text without injected blocks, in one pass, however many begin and never end."""
    kept: list[str] = []
    endless: set[str] = set()
    at = 0
    for beginning in injected.finditer(text):
        tag = beginning[1]
        if beginning.start() < at or tag in endless:
            continue
        end = text.find(f"</{tag}>", beginning.end())
        if end < 0:
            endless.add(tag)
            continue
        kept.append(text[at : beginning.start()])
        at = end + len(f"</{tag}>")
    return " ".join([*kept, text[at:]])


def units_of(role: Role, parts: Iterable[Part], injected: Injected) -> tuple[Unit, ...]:
    """The units of one message; () for system messages and for messages that say nothing."""
    if role is Role.SYSTEM:
        return ()
    units = [unit for part in parts if (unit := _unit(role, part, injected)) is not None]
    return tuple(joined(units))


def joined(units: list[Unit]) -> list[Unit]:
    """The units with a model's words that follow one another as one.

    Where a text is cut is the provider's and the client's affair: citations cut it, and clients
    of Gemini keep the chunks of a stream.
    """
    if len(units) < 2:
        return units
    whole: list[Unit] = []
    goes_on: dict[int, list[str]] = {}  # hashed once, however often a text is cut
    for unit in units:
        if unit.letters and whole and whole[-1].letters:
            goes_on.setdefault(len(whole) - 1, []).append(unit.letters)
        else:
            whole.append(unit)
    for at, letters in goes_on.items():
        whole[at] = words("".join([whole[at].letters, *letters]))
    return whole


def in_order(messages: Iterable[Message]) -> list[Unit]:
    """The units of a history: results of parallel tools in one order, each of them once.

    Clients differ in the order in which they send the results of parallel calls back, and one
    (Gemini CLI after a resume) sends results twice.
    """
    units: list[Unit] = []
    results: list[Unit] = []
    for message in messages:
        for unit in message.units:
            if unit.is_tool_result:
                results.append(unit)
                continue
            if results:
                units += _settled(results)
                results = []
            units.append(unit)
    return units + _settled(results)


def _settled(results: list[Unit]) -> list[Unit]:
    if len(results) < 2:
        return results
    return sorted({unit.digest: unit for unit in results}.values(), key=lambda unit: unit.digest)


def _unit(role: Role, part: Part, injected: Injected) -> Unit | None:
    if isinstance(part, Text):
        is_models = role is Role.ASSISTANT
        said = letters(_without_thinking(part.text) if is_models else part.text, injected)
        if is_models and said:
            return words(said)
        return Unit(role, digest(role, said), len(said)) if said else None
    if isinstance(part, ToolCall):
        asked = arguments_text(part.arguments, injected)
        return Unit(Role.ASSISTANT, digest("call", part.name, asked), len(part.name) + len(asked))
    if isinstance(part, ToolResult):
        said = letters(part.text, injected)
        return Unit(Role.TOOL, digest("result", said), len(said), is_tool_result=True)
    if isinstance(part, Reference):
        return None  # what it stands for is known by its id
    content = part.content.hex()
    return Unit(role, digest(role, part.type, content), len(content))


def _without_thinking(text: str) -> str:
    """A model's text from where it has done thinking; templates often hold the opening tag."""
    thought, end, said = text.partition("</think>")
    return said if end and "<think>" not in thought else text


def words(said: str) -> Unit:
    """The unit that a model's words make, given without spaces."""
    return Unit(Role.ASSISTANT, digest(Role.ASSISTANT, said), len(said), letters=said)


def arguments_text(arguments: object, injected: Injected) -> str:
    """Tool arguments as text in which equal arguments are equal: parsed, keys sorted."""
    if isinstance(arguments, str):
        return letters(arguments, injected)
    return wirejson.encode_sorted(arguments or {}).decode("utf-8", "replace")


def digest(*said: str) -> bytes:
    """Sixteen bytes that stand for some texts, in their order."""
    return sha256("\0".join(said).encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


def opaque(type: str, value: object) -> Opaque:
    """Something that is not text, by the digest of its JSON without cache markers and ids."""
    kept = {
        name: item
        for name, item in wirejson.mapping(value).items()
        if name not in ("cache_control", "id", "status")
    }
    return Opaque(type, sha256(wirejson.encode_sorted(kept)).digest()[:DIGEST_BYTES])
