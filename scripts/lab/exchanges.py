"""Measures how recorded exchanges with providers are read, against what a plain parse says."""

from __future__ import annotations

import base64
import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from callerid.settings.load import load
from callerid.turn import Call, Reply, Role, Text, ToolCall
from callerid.wire import canonical
from callerid.wire.messages import MessageReader
from callerid.wire.parse import ReplyReader, parse_call

PART = "corpora/exchanges"
SHOWN = 60  # characters of a value; the text's beginning is compared in full
# What the recording calls our counts; several names where providers differ.
COUNTED = {
    "cached_tokens": "cached tokens",
    "cache_read_input_tokens": "cached tokens",
    "cache_creation_input_tokens": "written tokens",
    "reasoning_tokens": "reasoning tokens",
}

# Why we read some exchanges otherwise, by a part of their source and of the field.
_CUT = "the recording cuts the model's name (an ARN) at the slash within it"
_OWN_SHAPE = "the recording does not look for the text where this model puts it"
_SERVER_TOOL = "the provider ran this tool itself; nothing was asked of the client"
REASONS = {
    ("test_anthropic_cross_region.yaml", "request model"): _CUT,
    ("test_imported_model_completion.yaml", "request model"): _CUT,
    ("test_bedrock_inference_profile_converse.yaml", "request model"): _CUT,
    ("test_imported_model_completion.yaml", "text"): _OWN_SHAPE,
    ("test_nova_invoke_stream.yaml", "text"): _OWN_SHAPE,
    ("test_bedrock_model_code_execution_tool_stream.yaml", "tool calls"): _SERVER_TOOL,
    ("test_bedrock_model_with_code_execution_tool.yaml", "tool calls"): _SERVER_TOOL,
    ("test_google_model_armor_prompt_template_text_gets_blocked.yaml", "stop reason"): (
        "no candidate came; the reason for which the prompt was blocked is the stop reason"
    ),
    ("test_openrouter_stream_error.yaml", "fails"): (
        "a chunk of the stream holds an error, for which the recording does not look"
    ),
}

Exchange = dict[str, Any]
Said = dict[str, object]


class Difference(NamedTuple):
    source: str
    field: str
    expected: object
    got: object


class Tally(NamedTuple):
    """How many exchanges of a wire format there are, differ, and hold counts that are not told."""

    exchanges: Counter[str]
    differing: Counter[str]
    untold: Counter[str]


def main(folder: Path) -> int:
    files = files_in(folder)
    if not files:
        print(f"scripts/eval: {folder} has no {PART}: nothing to measure with")
        return 1
    console = Console(width=None if sys.stdout.isatty() else 140)
    tally = Tally(Counter(), Counter(), Counter())
    differences: list[Difference] = []
    reader = new_reader()
    for exchange in exchanges(files):
        read = what_is_read(exchange, reader)
        found = compare(exchange, read)
        wire = exchange["wire"]
        tally.exchanges[wire] += 1
        tally.differing[wire] += bool(found)
        tally.untold[wire] += any(read.get(name) for name in untold(exchange))
        differences += found
    console.print(_table(tally))
    console.print("untold: exchanges whose reply counts tokens that the recording does not tell of")
    for difference in differences:
        expected, got = (_shown(value) for value in difference[2:])
        where = f"{difference.source}  {difference.field}"
        why = reason(difference) or "WHY IS NOT KNOWN"
        line = f"{where}: expected {expected}, got {got}; {why}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 0


def new_reader() -> MessageReader:
    tags = [block.tag for block in load().clients.injected_blocks]
    return MessageReader(canonical.injected_pattern(tags))


def files_in(folder: Path) -> list[Path]:
    """The recordings; none where the folder has none."""
    return sorted((folder / PART).glob("*.jsonl.gz"))


def exchanges(files: list[Path]) -> Iterator[Exchange]:
    """The exchanges that have an expectation; without a request nobody knows who is asked."""
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                exchange = json.loads(line)
                if exchange["expected"] is not None and exchange["request_body"] is not None:
                    yield exchange


def compare(exchange: Exchange, read: Said) -> list[Difference]:
    """What we read otherwise than the recording says."""
    return [
        Difference(exchange["source"], field, expected, read.get(field))
        for field, expected in told(exchange).items()
        if read.get(field) != expected
    ]


def reason(difference: Difference) -> str:
    """Why we read it otherwise; "" where nobody has found out."""
    for (source, field), words in REASONS.items():
        if source in difference.source and field in difference.field:
            return f"because {words}"
    return ""


def told(exchange: Exchange) -> Said:
    """What the recording says."""
    expected = exchange["expected"]
    if expected.get("error"):
        return {"error": str(expected["error_type"] or f"http_{expected['status']}")}
    extra = expected.get("extra") or {}
    counted = {name: extra[member] for member, name in COUNTED.items() if member in extra}
    return {
        "request model": expected["request_model"] or "",
        "model": expected["model"] or "",
        "stop reason": str(expected["stop_reason"] or ""),  # Vertex may send its number
        **{name: count for name, count in _tokens(exchange).items() if count is not None},
        "tool calls": expected["tool_calls"],
        "text": expected["text_prefix"],
        "text length": expected["text_len"],
        "fails": "error_event" in extra,
        **counted,
    }


def untold(exchange: Exchange) -> list[str]:
    """The counts that the recording leaves out: its parse did not look for all there are."""
    if exchange["expected"].get("error"):
        return []
    return [name for name, count in _tokens(exchange).items() if count is None]


def _tokens(exchange: Exchange) -> dict[str, int | None]:
    expected = exchange["expected"]
    return {
        "input tokens": expected["input_tokens"],
        "output tokens": expected["output_tokens"],
    }


def what_is_read(exchange: Exchange, reader: MessageReader) -> Said:
    """What we read in an exchange; nothing where it is no call to us."""
    path, body = exchange["path"], json.dumps(exchange["request_body"]).encode()
    call = parse_call(path, body, reader)
    if call is None:
        return {}
    headers = tuple(
        (name, value)
        for name, value in exchange["response_headers"].items()
        if name.lower() != "content-encoding"  # the recording has unpacked them
    )
    reading = ReplyReader(call.dialect, headers, reader)
    is_packed = exchange["response_encoding"] == "base64"
    text = exchange["response_body"]
    reading.feed(base64.b64decode(text) if is_packed else text.encode())
    return said(call, reading.finish(exchange["status"]))


def said(call: Call, reply: Reply) -> Said:
    """What we read."""
    spoken = [message for message in reply.messages if message.role is Role.ASSISTANT]
    parts = [part for message in spoken for part in message.parts]
    text = "".join(part.text for part in parts if isinstance(part, Text))
    return {
        "request model": call.model,
        "model": reply.model,
        "stop reason": reply.stop_reason,
        "input tokens": reply.usage.input_tokens,
        "output tokens": reply.usage.output_tokens,
        "cached tokens": reply.usage.cache_read_input_tokens,
        "written tokens": reply.usage.cache_creation_input_tokens,
        "reasoning tokens": reply.usage.reasoning_tokens,
        "tool calls": [part.name for part in parts if isinstance(part, ToolCall)],
        "text": text[:200],
        "text length": len(text),
        "error": reply.error,
        "fails": bool(reply.error),
    }


def _table(tally: Tally) -> Table:
    table = Table()
    table.add_column("wire format")
    for column in ("exchanges", "agree", "share", "untold"):
        table.add_column(column, justify="right")
    for wire, total in sorted(tally.exchanges.items()):
        _add(table, wire, total, tally.differing[wire], tally.untold[wire])
    table.add_section()
    _add(table, "all", *(count.total() for count in tally))
    return table


def _add(table: Table, name: str, total: int, differing: int, untold: int) -> None:
    agree = total - differing
    table.add_row(name, f"{total:,}", f"{agree:,}", f"{agree / total:.2%}", f"{untold or '-'}")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= SHOWN else shown[:SHOWN] + "..."


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
