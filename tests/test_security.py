"""Attacks of SECURITY.md that no other file tests: each is tried, and comes to nothing."""

from __future__ import annotations

import gc
import gzip
import json
import pkgutil
import re
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mitmproxy import http
from sqlite_utils import Database

import callerid
import make
from callerid.door.traces import Traces
from callerid.identity.declared import MAX_ID_BYTES
from callerid.identity.trust import Trust
from callerid.settings import place as places
from callerid.settings.checked import BadSetting
from callerid.settings.load import load
from callerid.turn import Because
from callerid.wire import bodies
from lab import FakeProvider, Proxy
from office import anthropic_reply, office, text
from test_end_to_end import MESSAGES, client_of
from test_never_breaks import ALONE, EVENTS, HELLO, flow_of, proxy, stream

SPOOFED = {
    "x-callerid-session-id": "somebody-elses",
    "x-callerid-parent-session-id": "their-parent",
    "x-callerid-agent-id": "root",
}
BODY = json.dumps(HELLO["/v1/messages"]).encode()
SAID = [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "And tomorrow?"}]
GOES_ON = json.dumps(
    HELLO["/v1/messages"] | {"messages": HELLO["/v1/messages"]["messages"] + SAID}
).encode()


# Who may say whose a call is


@pytest.mark.parametrize(
    ("address", "is_taken"),
    [
        ("127.0.0.1", True), ("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("fe80::1%eth0", True),
        ("10.2.0.1", False), ("::1", False), ("", False), ("nowhere", False), ("10.1.2", False),
    ],
)  # fmt: skip
def test_a_client_is_believed_by_its_address(address: str, is_taken: bool) -> None:
    assert Trust(["127.0.0.1", "10.1.0.0/16", "fe80::/10"]).takes(address) is is_taken
    assert Trust().takes(address)
    assert not Trust([]).takes(address)


def test_a_network_that_is_none_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("session: {declare_from: [10.0.0.1/8]}")

    with pytest.raises(BadSetting, match=r"session.declare_from\[0\] = '10.0.0.1/8', but"):
        load(str(tmp_path / "my.yaml"))


def test_who_may_not_declare_is_identified_by_history_and_not_quoted(tmp_path: Path) -> None:
    config = tmp_path / "my.yaml"
    config.write_text("{admin: {enabled: false}, session: {declare_from: [10.0.0.0/8]}}")
    seen = []
    with proxy(tmp_path / "traces.db", str(config)) as addon:
        for body in (BODY, GOES_ON):
            flow = flow_of("/v1/messages", body, SPOOFED)
            addon.requestheaders(flow)
            addon.request(flow)
            stream(addon, flow, list(EVENTS))
            seen.append(dict(flow.request.headers))
        assert not addon.guard.counts

    first, second = seen
    assert first["x-callerid-session-id"] == second["x-callerid-session-id"]
    assert first["x-callerid-session-id"].startswith("sess_")
    assert not set(SPOOFED.values()) & {*first.values(), *second.values()}
    assert "x-callerid-parent-session-id" not in first
    with closing(Database(tmp_path / "traces.db")) as traces:
        rows = list(traces.query("select because, session_id from calls order by started_at"))
        assert [row["because"] for row in rows] == [Because.NEW, Because.HISTORY]
        assert {row["session_id"] for row in rows} == {first["x-callerid-session-id"]}


def test_who_may_declare_is_believed_as_before(tmp_path: Path) -> None:
    config = tmp_path / "my.yaml"
    config.write_text("{admin: {enabled: false}, session: {declare_from: [127.0.0.0/8]}}")
    with proxy(tmp_path / "traces.db", str(config)) as addon:
        flow = flow_of("/v1/messages", BODY, SPOOFED)
        addon.requestheaders(flow)
        addon.request(flow)

        assert flow.request.headers["x-callerid-session-id"] == "somebody-elses"


# What a value may hold


VALUES = st.text(max_size=20) | st.sampled_from(
    ["a\r\nx-evil: 1", "a\nb", "a\x00b", "a\x85b", "ä", "\ud800", " ", "x" * 257, "x" * 300_000]
)


@settings(max_examples=25, deadline=None)
@given(session=VALUES, run=VALUES, name=VALUES)
def test_nothing_that_is_declared_adds_a_header_or_half_of_one(
    tmp_path_factory: pytest.TempPathFactory, session: str, run: str, name: str
) -> None:
    body = HELLO["/v1/messages"] | {
        "metadata": {"session_id": session, "user_id": run},
        "litellm_session_id": run,
    }
    headers = http.Headers(
        [(b"x-callerid-session-id", session.encode("utf-8", "surrogatepass")),
         (b"x-callerid-root-session-id", run.encode("utf-8", "surrogatepass")),
         (b"user-agent", name.encode("utf-8", "surrogatepass"))]
    )  # fmt: skip
    with proxy(tmp_path_factory.mktemp("db") / "traces.db", settings=ALONE) as addon:
        flow = flow_of("/v1/messages", json.dumps(body).encode())
        flow.request.headers.fields = (*flow.request.headers.fields, *headers.fields)
        came = set(flow.request.headers.fields)
        addon.request(flow)
        stream(addon, flow, list(EVENTS))
        assert not addon.guard.counts

    written = [field for field in flow.request.headers.fields if field not in came]
    assert flow.response is not None
    written += [field for field in flow.response.headers.fields if b"callerid" in field[0]]
    assert written
    for _, value in written:
        assert value.isascii()
        assert value.decode().isprintable()
        assert len(value) <= MAX_ID_BYTES


INJECTIONS = (
    "'; drop table calls; --",
    '" or ""="',
    "../../../etc/passwd",
    "/etc/passwd",
    "C:\\Windows\\system32",
    "%2e%2e%2f",
    "$(touch owned)",
    "`touch owned`",
    "--help",
    "<script>alert(1)</script>",
    "a' union select value from facts --",
    "%",
    "_",
    "*",
)


def test_an_id_is_never_a_piece_of_sql_or_of_a_path(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    with office(path) as at:
        for id in INJECTIONS:
            body = {"model": "m", "messages": [{"role": "user", "content": f"Hello, {id}"}]}
            at.call("/v1/messages", body, anthropic_reply(text(f"Yes, {id}")),
                    headers=(("x-callerid-session-id", id),))  # fmt: skip

    traces = Traces(path)
    for id in INJECTIONS:
        session = traces.session(id)
        assert session.session_id == id
        assert [message.text for message in session.messages] == [f"Hello, {id}", f"Yes, {id}"]
    assert len(traces.sessions()) == len(INJECTIONS)
    assert {each.name for each in tmp_path.iterdir()} <= {
        "traces.db", "traces.db-wal", "traces.db-shm",
    }  # fmt: skip


def test_a_packed_bomb_as_a_request_passes_and_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY_BYTES", 1 << 20)
    bomb = gzip.compress(gzip.compress(bytes(256 << 20)))
    with proxy(tmp_path / "traces.db") as addon:
        flow = flow_of("/v1/messages", bomb, {"content-encoding": "gzip, gzip"})
        began = time.process_time()
        addon.request(flow)

        assert time.process_time() - began < 1
        assert flow.request.raw_content == bomb
        assert addon.guard.counts == {"unreadable_request": 1}


# Regular expressions


def patterns() -> dict[str, re.Pattern[Any]]:
    """Every regular expression of the package, and of the tables in config/."""
    for module in pkgutil.walk_packages(callerid.__path__, "callerid."):
        import_module(module.name)
    found = {}
    for name, module in list(__import__("sys").modules.items()):
        if name.startswith("callerid"):
            for holder in (module, *(v for v in vars(module).values() if isinstance(v, type))):
                for key, value in vars(holder).items():
                    if isinstance(value, re.Pattern):
                        found[f"{name}.{key}"] = value
    configuration = load()
    for row in configuration.clients.clients:
        found[f"{row.name}.user_agent"] = re.compile(row.user_agent)
        for written in row.places():
            if (pattern := places.place(written).pattern) is not None:
                found[f"{row.name} {written}"] = pattern
    for renewed in configuration.credentials.renewed:
        found[f"credentials {renewed.name}"] = re.compile(renewed.pattern)
    for secret in configuration.secrets.secrets:
        found[f"secrets {secret.name}"] = re.compile(secret.pattern)
    found["injected"] = make.INJECTED
    return found


PATTERNS = patterns()
PIECES = (
    "a", "a-", "A1", "0", "0.", " ", " \t", "\n", "-", "_", "/", "//", ":", ".", "=", "==", ",",
    ";", "<", "<a", "<a>", "</a>", '"', "\\", "{", "[", "(", "%20", "eyJa", "eyJa-", "eyJa.a",
    "sk-", "Bearer ", "a@", "a b", "é", "\ud800", "key=", '"a":', "session", "user_a", "a__",
    "2026-11-21 ",
)  # fmt: skip
WORDS = 6  # of an expression's own
SIZE = 4_000
BOUND = 0.015  # seconds for four times so many characters


def hostile(pattern: re.Pattern[Any]) -> Iterator[str]:
    """Texts that make expressions go back again and again: pieces repeated, and their own words."""
    written = re.sub(r"\\[A-Za-z]", " ", str(pattern.pattern))  # \b, \A, \s: no words
    own = re.findall(r"[A-Za-z0-9_:/=<-]{2,}", written)[:WORDS]
    for piece in (*PIECES, *own, *(f"{word} " for word in own), *(f"{word}a" for word in own)):
        yield piece * (SIZE // len(piece)) + "\n!"
    for word in own:
        yield word + "a" * SIZE + "\n!"
        yield word + " " * SIZE + "\n!"
        yield word + " ," * (SIZE // 2) + "\n!"


def seconds(pattern: re.Pattern[Any], said: str) -> float:
    subject: Any = said
    if isinstance(pattern.pattern, bytes):
        subject = said.encode("utf-8", "surrogatepass")
    began = time.process_time()
    for _ in pattern.finditer(subject):
        pass
    return time.process_time() - began


@pytest.mark.parametrize("name", PATTERNS)
def test_no_expression_takes_long_on_hostile_text(name: str) -> None:
    """Linear: four times the text takes some four times as long, or no time worth a word."""
    pattern = PATTERNS[name]
    gc.collect()
    for said in hostile(pattern):
        longer = said[:-2] * 4 + said[-2:]
        if seconds(pattern, longer) > BOUND:
            once, four = (min(seconds(pattern, text) for _ in range(3)) for text in (said, longer))
            assert four < max(8 * once, BOUND), f"{said[:40]!r}: {once:.3f} s, then {four:.3f} s"


# Files


def test_all_that_a_proxy_writes_is_for_its_owner_alone(addon_script: Path) -> None:
    with FakeProvider() as provider, Proxy(addon_script) as at:
        before = set(at.confdir.rglob("*"))  # mitmproxy's own: its certificates
        with client_of(at) as client:
            client.post(f"{provider.url}/v1/messages", json=MESSAGES).raise_for_status()
        at.stop()
        ours = [
            path for path in at.confdir.rglob("*") if "traces" in path.name or path not in before
        ]

        assert ours
        for path in ours:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_each_test_that_the_threat_model_names_is_there() -> None:
    root = Path(__file__).parents[1]
    named = re.findall(r"`(tests/\w+\.py)(?:::(\w+))?`", (root / "SECURITY.md").read_text())

    assert len(named) > 15
    for file, test in named:
        assert f"def {test}" in (root / file).read_text(), f"{file}::{test}"
