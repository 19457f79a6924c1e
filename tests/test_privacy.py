"""What may not be written down is found nowhere: in no file, no log, on no page."""

from __future__ import annotations

import itertools
import json
import re
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

import make
import story
from callerid.guard import Guard
from callerid.identity.switchboard import Switchboard
from callerid.settings.checked import BadSetting
from callerid.settings.load import load
from callerid.settings.tables import SecretRow
from callerid.traces import bodies
from callerid.traces.hook import PATIENCE, limited
from callerid.traces.redaction import Redaction
from callerid.traces.restore import restore
from callerid.turn import Because, Dialect
from lab import Answer, Asked, FakeProvider, Proxy, ToolCall
from office import anthropic_reply, office, text
from test_websocket import ask, connected, create, message

WORD = "marzipan"  # what mode none may not hold either
DEADLINE_SECONDS = 10.0
REDACTION = Redaction(load().secrets.secrets, None, Guard())
# Everything here is made up, and looks like what it is called.
SECRETS = {
    "openai": "sk-proj-CANARYabcdefgh0123456789",
    "anthropic": "sk-ant-api03-CANARYabcdefgh0123456789",
    "google": "AIzaSyCANARYabcdefgh0123456789abcdefg",
    "google-oauth": "GOCSPX-CANARYabcdefghijklmno",
    "aws": "AKIACANARY0123456789",
    "aws-secret": "aws_secret_access_key = wJalrCANARYabcdefgh0123456789abcdefghijkl",
    "github": "github_pat_11CANARY0abcdefghij_KLMNOPQRSTUV",
    "github-app": "ghu_CANARYabcdefgh0123456789",
    "gitlab": "glpat-CANARYabcdefgh012345",
    "slack": "xoxb-CANARY-0123456789-abcdef",
    "slack-hook": "https://hooks.slack.com/services/TCANARY01/B0123456/abcdefghijklmnop",
    "stripe": "sk_live_CANARYabcdefgh0123456789",
    "sendgrid": "SG.CANARYabcdefghijklmn.CANARYabcdefghijklmnopqrstuvwxyz0123456789abc",
    "npm": "npm_CANARYabcdefghijklmnopqrstuvwxyz0123",
    "jwt": "eyJDQU5BUlkiOiJIUzI1NiJ9.eyJDQU5BUlkiOiIxIn0.c2lDQU5BUlluYXR1cmU",
    "private-key": "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEICANARYabcdefgh0123456789\n"
    "-----END EC PRIVATE KEY-----",
    "card": "4929 4212 3460 0821",
    "env": "DB_PASSWORD=CANARYhunter2",
    "yaml": 'client_secret: "CANARY-0123-abcd"',
    "url": "postgres://me:CANARYpass0123@db.example/x",
    "basic": "Authorization: Basic Q0FOQVJZOnBhc3N3b3Jk",
    "azure": "AccountKey=CANARYabcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ==",
    "telegram": "1234567890:AACANARYabcdefghijklmnopqrstuvwxyz01",
}
_CORES = {
    "aws-secret": "wJalrCANARY", "slack-hook": "TCANARY01", "private-key": "MHcCAQEEICANARY",
    "env": "CANARYhunter2", "yaml": "CANARY-0123", "url": "CANARYpass0123",
    "basic": "Q0FOQVJZOnBhc3N3b3Jk", "azure": "CANARYabcdefghijklmnopqrstuvwxyz0123456789ABC",
}  # fmt: skip


def core(name: str) -> str:
    """What of a secret must not be found."""
    return _CORES.get(name, SECRETS[name])


ALL = f"{WORD} and then\n" + "\n".join(SECRETS.values())
ONE_LINE = " ".join(secret.replace("\n", " ") for secret in SECRETS.values())


# Patterns


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_masked_wherever_it_stands_in_a_text(name: str) -> None:
    for around in ("{}", "it is {}.", '"{}"', "a\n{}\nb", "({})", "x = {}; y"):
        shown = REDACTION.text(around.format(SECRETS[name]))
        assert core(name) not in shown
        assert "***" in shown


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_masked_however_json_writes_it(name: str) -> None:
    secret = SECRETS[name]
    inner = json.dumps({"command": f"echo {secret}"})
    escaped = "".join(f"\\u{ord(sign):04x}" for sign in secret)
    for raw in (
        json.dumps({"a": [{"b": secret}]}).encode(),
        json.dumps({"arguments": inner}).encode(),
        json.dumps({"arguments": json.dumps({"more": inner})}).encode(),
        f'{{"a": "{escaped}"}}'.encode(),
        json.dumps({secret: 1}).encode(),
    ):
        shown = REDACTION.json(raw)
        value = json.dumps(json.loads(shown), ensure_ascii=False)
        assert core(name) not in shown.decode() + value


ORDINARY = (
    "max_tokens: 4096, token_count = 12, tokens=many",
    "password: required, secret: see the vault",
    "call 4929 4212 3460 0822 or 1234567890123456 at 1790000000.123",
    "commit 0123456789abcdef0123456789abcdef01234567",
    "sess_0190abcdef0123456789abcdef0123456 and toolu_01ABCDEFGHIJKLMNOPQRSTUV",
    "https://docs.example/a:b/c?x=1@2 and git@github.com:me/mine.git",
    "def token(self) -> Token: return self._token",
    "the task-oriented risk-averse desk-lamp",
)


@pytest.mark.parametrize("said", ORDINARY)
def test_what_is_no_secret_is_shown(said: str) -> None:
    raw = json.dumps({"role": "user", "content": [{"type": "text", "text": said}]}).encode()

    assert REDACTION.text(said) == said
    assert REDACTION.json(raw) is raw


@make.QUICK
@given(value=make.JSON)
def test_json_is_still_json_afterwards(value: object) -> None:
    json.loads(REDACTION.json(make.encoded(value)))


HOSTILE = (
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY", "eyJaaaaaaaa-", "eyJaaaaaaaa.", "sk-",
    "4929 ", "4", "password=", "password = \t", "secrettoken", "://a:b", "://", "authorization: ",
    "authorization: basic ", "SG.aaaaaaaaaaaaaaaa", "pypi-Ag", "npm_", ":AA", "1234567890:AA",
    "xoxe-", "accountkey=", "a" * 40, "hooks.slack.com/services/", "Bearer ", '"token":"', "dapi",
    " ", "-", "github_pat_", '{"a":', "[", "aws_secret_access_key=a",
)  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_text_takes_long(piece: str) -> None:
    """Each pattern takes linear time: not sixteen times as long for four times the text."""

    def seconds(size: int) -> float:
        said = piece * (size // len(piece))
        began = time.process_time()
        REDACTION.text(said)
        return time.process_time() - began

    assert seconds(400_000) < 12 * max(min(seconds(100_000), seconds(100_000)), 0.005)
    assert seconds(400_000) < 2


def test_each_row_of_secrets_says_where_the_fact_is_from() -> None:
    assert all(row.source and row.holds == tuple(map(str.lower, row.holds))
               for row in load().secrets.secrets)  # fmt: skip


# A function of one's own


def shouting(said: str) -> str:
    return said.replace("Alice", "A.")


def broken(said: str) -> str:
    raise RuntimeError(said)


def silent(said: str) -> str:
    return None  # type: ignore[return-value]


def test_a_function_of_ones_own_is_asked_after_the_rows(tmp_path: Path) -> None:
    with office(tmp_path / "t.db", record=redacting("shouting")) as at:
        id, _ = at.call("/v1/messages", asking(f"I am Alice, {SECRETS['openai']}"), HELLO)

    assert said_in(tmp_path / "t.db", id) == ["I am A., ***"]


@pytest.mark.parametrize("name", ["broken", "silent"])
def test_a_function_that_fails_costs_the_text_and_is_counted(tmp_path: Path, name: str) -> None:
    guard = Guard()
    hook = {"broken": broken, "silent": silent}[name]
    redaction = Redaction(load().secrets.secrets, hook, guard)

    shown = redaction.json(b'{"role":"user","content":[{"type":"text","text":"Hello"}]}')

    assert json.loads(shown) == {"role": "user", "content": [{"type": "text", "text": "***"}]}
    assert guard.counts == {"failed.redact": 1}


def hanging(said: str) -> str:
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            pass


def slow_pattern(said: str) -> str:
    return re.sub(r"(a+)+$", "", "a" * 40 + "!")


@pytest.mark.parametrize("hook", [hanging, slow_pattern])
def test_a_function_that_hangs_is_stopped_and_costs_the_text(hook: Callable[[str], str]) -> None:
    began = time.monotonic()

    with pytest.raises(TimeoutError, match=r"it took more than 0.1 s"):
        limited(hook, seconds=0.1)("Hello")

    assert time.monotonic() - began < 2
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def swallowing(said: str) -> str:
    try:
        return hanging(said)
    except BaseException:
        return hanging(said)


def test_a_function_that_swallows_what_stops_it_is_stopped_again() -> None:
    with pytest.raises(TimeoutError):
        limited(swallowing, seconds=0.1)("Hello")


def test_a_function_that_hangs_again_and_again_is_not_asked_for_a_while() -> None:
    now, asked = 0.0, 0

    def hook(said: str) -> str:
        nonlocal asked
        asked += 1
        return hanging(said) if now < 100 else said

    function = limited(hook, seconds=0.02, clock=lambda: now)
    for _ in range(10):
        with pytest.raises(TimeoutError):
            function("Hello")
    assert asked == PATIENCE
    now = 101.0
    assert [function("Hello"), function("Hello")] == ["Hello"] * 2
    assert asked == PATIENCE + 2


def test_a_function_is_asked_as_it_is_where_it_cannot_be_stopped() -> None:
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(limited(shouting)("I am Alice")))
    thread.start()
    thread.join()

    assert said == ["I am A."]


def hanging_at_hello(said: str) -> str:
    return hanging(said) if said == "Hello" else said


def test_what_hangs_does_not_stop_what_is_written_after_it(tmp_path: Path) -> None:
    settings = redacting("hanging_at_hello") | {"own_process": True}
    with office(tmp_path / "t.db", record=settings) as at:
        first, _ = at.call("/v1/messages", asking("Hello"), HELLO)
        second, _ = at.call("/v1/messages", asking("Good evening"), HELLO)
        at.setup.close()
        assert at.guard.counts.pop("failed.redact") >= 1

    assert said_in(tmp_path / "t.db", first) == ["***"]
    assert said_in(tmp_path / "t.db", second) == ["Good evening"]


def test_json_that_cannot_be_read_is_masked_whole_and_counted() -> None:
    guard = Guard()

    assert Redaction((), None, guard).json(b"[" * 100_000) == b'"***"'
    assert guard.counts == {"redacted_whole": 1}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"content": "redacted", "redact": "no_such:f"}, "record.redact = 'no_such:f', but it"),
        ({"content": "redacted", "redact": "json:no_such"}, "it cannot be had"),
        ({"redact": "json:loads"}, "it is asked only where record.content is redacted"),
    ],
)  # fmt: skip
def test_a_function_that_cannot_be_had_stops_the_start(
    tmp_path: Path, record: dict[str, str], said: str
) -> None:
    with pytest.raises(BadSetting, match=said), office(tmp_path / "t.db", record=record):
        pass


def test_rows_of_ones_own_take_the_place_of_those_shipped() -> None:
    row = SecretRow("badge", r"badge (\d+)", "ours", ("badge",))

    assert Redaction([row], None, Guard()).text("Badge badge 12") == "Badge badge ***"


# What is on record

HELLO = anthropic_reply(text("Hello to you."))


def redacting(hook: str = "") -> dict[str, Any]:
    return {"content": "redacted", "redact": f"{__name__}:{hook}" if hook else ""}


def asking(words: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": words}], **more}


def said_in(path: Path, call_id: str) -> list[Any]:
    with closing(Database(path)) as database:
        return [json.loads(raw)["content"] for raw in bodies.messages_of(database, call_id)]


def test_with_redacted_what_holds_no_secret_is_on_record_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    body = json.dumps(asking("Hello", system="You are a clerk.", temperature=1.0)).encode()

    with office(path, record=redacting()) as at:
        id, _ = at.call("/v1/messages", body, HELLO)

    with closing(Database(path)) as database:
        assert bodies.request_body(database, id) == (body, "exact")
        assert bodies.reply_body(database, id) == (json.dumps(HELLO).encode(), "exact")


def test_with_none_tokens_times_and_identity_are_there_and_no_body(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with office(path, record={"content": "none"}) as at:
        asked = asking(WORD, system=f"You are a {WORD}.", temperature=0.5, user=WORD, stream=False)
        id, identity = at.call("/v1/messages", asked, HELLO)

    with closing(Database(path)) as database:
        (row,) = database.query("select * from calls")
        assert bodies.request_body(database, id) == (None, "absent")
        assert bodies.reply_body(database, id) == (None, "absent")
    assert (row["input_tokens"], row["output_tokens"], row["state"]) == (100, 20, "ok")
    assert (row["session_id"], row["ended_at"] - row["started_at"]) == (identity.session_id, 1.0)
    assert json.loads(row["members"]) == [
        ["model", '"m"'], ["messages", "<messages>"], ["temperature", "0.5"], ["stream", "false"]
    ]  # fmt: skip


@pytest.mark.parametrize("content", ["redacted", "none"])
@pytest.mark.parametrize("has_secret", [False, True])
@pytest.mark.parametrize("dialect", list(story.PATHS))
def test_a_session_goes_on_after_a_restart(
    tmp_path: Path, content: str, dialect: Dialect, *, has_secret: bool
) -> None:
    """What was masked is known no more: that the rest is alike must do."""
    path, said = tmp_path / "t.db", []
    with office(path, record={"content": content}) as at:
        for number in range(4):
            said.append({"user": f"Question {number} of {WORD}"})
            secret = SECRETS["openai"] if has_secret and number == 2 else "nothing"
            answer = {"assistant": f"Answer {number}, with {secret} in it."}
            reply = story._reply(dialect, [answer], 200, number, {})
            _, first = at.call(make.PATHS[dialect], make.body(dialect, said), reply)
            said.append(answer)
        ended = at.now
    serial = itertools.count()
    board, guard = Switchboard(load(), lambda prefix: f"{prefix}_{next(serial)}"), Guard()

    restore(path, board, guard, ended)

    def next_of(history: list[Any]) -> Any:
        asked = make.request(make.body(dialect, history), make.PATHS[dialect])
        client = type(asked.client)("scope")
        turn = board.take(make.replace(asked, client=client), ended)
        assert turn is not None
        return turn.identity

    assert not guard.counts
    goes_on = next_of([*said, {"user": "And now?"}])
    fork = next_of([*said[:4], {"user": "Or else?"}])
    assert goes_on.session_id == first.session_id
    assert has_secret or goes_on.because is Because.HISTORY
    assert (fork.parent_session_id, fork.relation) == (first.session_id, "fork")


# The whole way


def model(asked: Asked) -> Answer:
    if asked.body.startswith(b"{broken"):
        return Answer(f"Unreadable {ALL}", status=400)
    newest = json.dumps(asked.json.get("messages") or asked.json.get("input") or [])
    if "fail" in newest:
        return Answer(f"Overloaded by {ALL}", status=529)
    if "result" in newest:
        return Answer(f"So {ALL}")
    return Answer(
        f"I say {ALL}", (ToolCall("look", {"command": ALL, "n": json.dumps({"m": ALL})}),)
    )


def talk(client: httpx.Client, url: str) -> None:
    """Calls with secrets in every place that a call has."""
    headers = {
        "authorization": "Bearer sk-proj-CANARYown0123456789", "x-api-key": "CANARYown-key-0123456",
        "x-note": ONE_LINE, "user-agent": f"clerk/1 ({SECRETS['github']})",
        "cookie": "a=CANARYcookie0123456",
    }  # fmt: skip
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"command": ALL}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": f"result {ALL}"}
    history = [
        {"role": "user", "content": ALL},
        {"role": "assistant", "content": [{"type": "text", "text": f"I say {ALL}"}, call]},
        {"role": "user", "content": [result]},
    ]
    tools = [{"name": "look", "description": ALL, "input_schema": {"type": "object"}}]
    body = {"model": "m", "max_tokens": 9, "system": f"You are {ALL}", "tools": tools,
            "metadata": {"user_id": ALL}}  # fmt: skip
    query = f"?key=CANARYquery0123456&note={SECRETS['openai']}"
    for stream in (False, True):
        for messages in (history[:1], history, [{"role": "user", "content": f"fail {ALL}"}]):
            asked = body | {"messages": messages, "stream": stream}
            client.post(f"{url}/v1/messages{query}", json=asked, headers=headers)
        chat = [{"role": "system", "content": ALL}, {"role": "user", "content": ALL}]
        asked = {"model": "m", "messages": chat, "stream": stream}
        client.post(f"{url}/v1/chat/completions", json=asked, headers=headers)
        asked = {"model": "m", "instructions": ALL, "input": [message(ALL)], "stream": stream}
        client.post(f"{url}/v1/responses", json=asked, headers=headers)
        verb = "streamGenerateContent?alt=sse&" if stream else "generateContent?"
        parts = {"contents": [{"role": "user", "parts": [{"text": ALL}]}]}
        client.post(f"{url}/v1beta/models/m:{verb}key={SECRETS['google']}", json=parts)
    client.post(f"{url}/v1/messages", content=b"{broken " + ALL.encode(), headers=headers)


def free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def unpacked(path: Path) -> Iterator[bytes]:
    """What is packed in a traces.db."""
    with closing(sqlite3.connect(path)) as connection:
        queries = ("select body from reply_bodies where not is_against_messages",
                   "select body from messages where typeof(body) = 'blob'",
                   "select request_patch from calls where request_patch is not null")  # fmt: skip
        packed = [blob for query in queries for (blob,) in connection.execute(query)]
        calls = [id for (id,) in connection.execute("select id from calls")]
    for blob in packed:
        yield zstandard.ZstdDecompressor().decompressobj().decompress(blob)
    with closing(Database(path)) as database:
        for id in calls:
            yield bodies.request_body(database, id).content or b""
            yield bodies.reply_body(database, id).content or b""


@pytest.fixture(scope="module", params=["redacted", "none"])
def written(
    request: pytest.FixtureRequest, addon_script: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, bytes]]:
    """All that is to be found after these calls, by where it was found."""
    port, file = free_port(), tmp_path_factory.mktemp("privacy") / "settings.yaml"
    record = {"content": request.param, "flush_seconds": 0.05}
    file.write_text(json.dumps({"record": record, "admin": {"port": port}}))
    options: dict[str, Any] = {"callerid_config": str(file), "flow_detail": "0"}
    found: dict[str, bytes] = {}
    with (
        FakeProvider(model, tls=False, opens_sockets=True) as provider,
        Proxy(addon_script, options=options) as proxy,
    ):
        with httpx.Client(proxy=proxy.url, trust_env=False) as client:
            talk(client, provider.url)
        headers = {"authorization": "Bearer sk-proj-CANARYown0123456789"}
        with connected(proxy, provider, "/v1/responses", headers) as socket:
            ask(socket, create(input=[message(ALL)], instructions=ALL, metadata={"note": ALL}))
        for page in ("metrics", "metrics?format=prometheus", "config", "health"):
            answer = httpx.get(f"http://127.0.0.1:{port}/{page}", trust_env=False)
            assert answer.status_code == 200
            found[page] = answer.content
        _until_recorded(proxy.traces, 13)
        names = [each.name for each in proxy.traces.parent.glob("traces.db*")]
        assert {"traces.db", "traces.db-wal", "traces.db-shm"} <= set(names)
        found |= {name: (proxy.traces.parent / name).read_bytes() for name in names}
        assert proxy.stop() == 0
        found["after the end"] = proxy.traces.read_bytes()
        found["unpacked"] = b"\n".join(unpacked(proxy.traces))
        found["log"] = proxy.log.encode()
    return request.param, found


def _until_recorded(path: Path, calls: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    with closing(sqlite3.connect(path)) as connection:
        query = "select count(*) from calls where state != 'in_flight'"
        while connection.execute(query).fetchone()[0] < calls:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("name", [*SECRETS, "own"])
def test_a_canary_is_found_nowhere(written: tuple[str, dict[str, bytes]], name: str) -> None:
    cores = ["CANARYown", "CANARYcookie", "CANARYquery"] if name == "own" else [core(name)]

    for sung, (place, content) in itertools.product(cores, written[1].items()):
        assert sung.encode() not in content, place
        assert json.dumps(sung)[1:-1].encode() not in content, place


def test_with_none_no_word_that_was_said_is_found(written: tuple[str, dict[str, bytes]]) -> None:
    mode, found = written
    where = [place for place, content in found.items() if WORD.encode() in content.lower()]

    if mode == "redacted":  # so it is looked for where it would be
        assert {"after the end", "unpacked"} <= set(where)
    else:
        assert where == []


@given(st.text(max_size=30))
@make.QUICK
def test_a_text_comes_back_as_it_was_where_nothing_is_masked(said: str) -> None:
    shown = REDACTION.text(said)

    assert shown is said or "***" in shown
