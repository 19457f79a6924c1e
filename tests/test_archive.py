"""What is on record can be read: sessions, transcripts, what changed, what it came to, words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result
from sqlite_utils import Database

from callerid.archive import sessions as archive
from callerid.archive.compare import compare
from callerid.archive.search import search, wanted
from callerid.archive.sessions import BadTime, Filter, NotFound, moment, sessions
from callerid.archive.stats import stats
from callerid.archive.transcript import Answered, Asked, Reader, Thought
from callerid.commands.cli import cli
from callerid.exports import openai_chat
from callerid.traces.database import open_database
from office import Office, anthropic_reply, office, text

CLERK = "You are a clerk who knows the tide tables of Saint-Malo by heart."
READ = {"name": "read_page", "description": "Reads a page.", "input_schema": {"type": "object"}}
ASK = {"name": "ask", "description": "Asks a person.", "input_schema": {"type": "object"}}
ERRAND = "Read page 112 of the almanac and report the highest spring tide with its hour."


class Day(NamedTuple):
    path: Path
    main: str
    helper: str
    calls: list[str]


def body(messages: list[Any], **more: Any) -> dict[str, Any]:
    settings = {"model": "claude-sonnet-4-6", "max_tokens": 9, "system": CLERK, "tools": [READ]}
    return settings | {"messages": messages} | more


def ask(at: Office, messages: list[Any], *content: dict[str, Any], **more: Any) -> tuple[str, str]:
    """A call that asks Anthropic; its id, and its session's."""
    reply = anthropic_reply(*content, cached=more.pop("cached", 0))
    headers = (("user-agent", "tide-bot/1.0"),)
    id, identity = at.call(
        "/v1/messages", body(messages, **more), reply, headers=headers, host="api.anthropic.com"
    )
    return id, identity.session_id


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """A conversation with a tool and a helper, and one with another provider that fails."""
    path = tmp_path_factory.mktemp("archive") / "traces.db"
    with office(path) as at:
        said: list[Any] = [{"role": "user", "content": "When is the highest tide this year?"}]
        call = {"type": "tool_use", "id": "t1", "name": "delegate", "input": {"task": ERRAND}}
        first, main = ask(at, said, {"type": "thinking", "thinking": "I do not know."}, call)
        _, helper = ask(
            at, [{"role": "user", "content": ERRAND}], text("14.1 metres, on the 30th of March."),
            system="You are a careful reader.", tools=[],
        )  # fmt: skip
        result = {
            "type": "tool_result",
            "tool_use_id": "t1",
            "content": "14.1 m\nMarch 30\n8 h\nx\ny",
        }
        said += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
        second, _ = ask(at, said, text("On the 30th of March."), cached=90)
        said += [
            {"role": "assistant", "content": [text("On the 30th of March.")]},
            {"role": "user", "content": "Thank you. And the <b>lowest</b>?"},
        ]
        third, _ = ask(
            at, said, text("On the 3rd of August."), tools=[ASK, READ], system=CLERK + " Be brief.",
            temperature=0.5,
        )  # fmt: skip
        chat = {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": "Bonjour, ça va?"}],
        }
        wrong = {"error": {"message": "no such key", "type": "invalid_request_error"}}
        failed, _ = at.call("/v1/chat/completions", chat, wrong, status=401)
    return Day(path, main, helper, [first, second, third, failed])


@pytest.fixture
def database(day: Day) -> Iterator[Database]:
    with closing(open_database(day.path)) as opened:
        yield opened


def run(day: Day, *words: str, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, [*words, "--db", str(day.path)])
    assert result.exit_code == status, result.output
    return result


def said_by(day: Day, *words: str) -> Any:
    return json.loads(run(day, *words, "--json").output)


def test_sessions_are_told_with_what_they_came_to(day: Day, database: Database) -> None:
    found = {each.id: each for each in sessions(database)}
    main = found[day.main]

    assert (main.calls, main.failures, main.status) == (3, 0, "ok")
    assert main.title == "When is the highest tide this year?"
    assert (main.input_tokens, main.output_tokens) == (390, 60)
    assert main.models == ("claude-sonnet-4-6",)
    assert main.cost.usd == pytest.approx((300 * 3 + 90 * 0.3 + 60 * 15) / 1e6)
    assert main.seconds == pytest.approx(7.0)
    assert found[day.helper].parent_session_id == day.main
    assert [each.status for each in found.values()].count("failed") == 1


@pytest.mark.parametrize(
    ("which", "count"),
    [
        (Filter(), 3),
        (Filter(agent="clerk"), 1),
        (Filter(model="GPT"), 1),
        (Filter(status="ok"), 2),
        (Filter(status="failed"), 1),
        (Filter(status="in_flight"), 0),
        (Filter(usd=0.001), 1),
        (Filter(since=1_790_000_006.0), 2),
        (Filter(client="no such client"), 0),
        (Filter(agent="clerk", model="gpt"), 0),
    ],
)
def test_sessions_are_filtered(database: Database, which: Filter, count: int) -> None:
    assert len(list(sessions(database, which))) == count


def test_a_run_is_its_root_with_all_that_came_from_it(day: Day, database: Database) -> None:
    ordered = archive.parents_first(sessions(database, Filter(root=day.main)))
    whole = archive.costs_with_children(ordered)

    assert [each.id for each in ordered] == [day.main, day.helper]
    assert whole[day.main].priced == 4
    assert whole[day.main].usd > ordered[0].cost.usd


def test_a_transcript_has_each_message_once(day: Day, database: Database) -> None:
    lines = Reader(database).session(day.main)

    assert [line.role for line in lines] == [
        "user", "assistant", "user", "assistant", "user", "assistant",
    ]  # fmt: skip
    assert [line.call_id for line in lines] == [
        day.calls[0], day.calls[0], day.calls[1], day.calls[1], day.calls[2], day.calls[2],
    ]  # fmt: skip
    thought, called = lines[1].pieces
    assert isinstance(thought, Thought)
    assert isinstance(called, Asked)
    assert called.arguments == {"task": ERRAND}
    assert isinstance(lines[2].pieces[0], Answered)


def test_a_call_is_shown_with_all_that_it_sent(day: Day, database: Database) -> None:
    lines = Reader(database).call(day.calls[2])

    assert [line.is_reply for line in lines] == [False] * 5 + [True]
    assert lines[-1].text == "On the 3rd of August."


def test_what_was_said_twice_stands_twice(tmp_path: Path) -> None:
    with office(tmp_path / "t.db") as at:
        said: list[Any] = [{"role": "user", "content": "Go on"}]
        for number in range(3):
            _, session = ask(at, said, text(f"Part {number}"))
            said += [
                {"role": "assistant", "content": f"Part {number}"},
                {"role": "user", "content": "Go on"},
            ]
    with closing(open_database(tmp_path / "t.db")) as database:
        texts = [line.text for line in Reader(database).session(session)]

    assert texts == ["Go on", "Part 0", "Go on", "Part 1", "Go on", "Part 2"]


def test_a_summary_is_new_and_what_it_sums_up_stays(tmp_path: Path) -> None:
    with office(tmp_path / "t.db") as at:
        said: list[Any] = [{"role": "user", "content": "Tell me of rivers, please, at length"}]
        for number in range(4):
            _, session = ask(at, said, text(f"River number {number} flows to the sea"))
            said += [
                {"role": "assistant", "content": f"River number {number} flows to the sea"},
                {"role": "user", "content": f"And the next one after {number}?"},
            ]
        _, after = ask(at, said[4:], text("The last one is dry"))
    with closing(open_database(tmp_path / "t.db")) as database:
        texts = [line.text for line in Reader(database).session(session)]

    assert after == session
    assert len(texts) == len(set(texts)) == 10


def test_what_changed_between_two_calls_and_why_the_cache_missed(
    day: Day, database: Database
) -> None:
    found = compare(database, day.calls[1], day.calls[2])

    assert found.tools.added == ("ask",)
    assert found.settings.added == ("temperature",)
    assert found.system[-2:] == (f"-{CLERK}", f"+{CLERK} Be brief.")
    assert found.same_messages == 3
    assert found.first_difference == "tools"
    assert found.why.startswith("the tools changed, which is before all messages")


def test_where_nothing_changed_the_second_call_goes_on(day: Day, database: Database) -> None:
    found = compare(database, day.calls[0], day.calls[1])

    assert found.first_difference == ""
    assert found.messages == (1, 3)
    assert "(90 of 190 tokens were cached)" in found.why


def test_a_message_that_was_changed_is_shown(tmp_path: Path) -> None:
    with office(tmp_path / "t.db") as at:
        said = [{"role": "user", "content": "One"}]
        first, _ = ask(at, said, text("Yes"))
        at.now += 900
        again, _ = ask(at, said, text("Yes"))
        other, _ = ask(at, [{"role": "user", "content": "Two"}], text("No"))
    with closing(open_database(tmp_path / "t.db")) as database:
        late, changed = compare(database, first, again), compare(database, first, other)

    assert "15 minutes passed" in late.why
    assert changed.first_difference == "messages"
    assert changed.left is not None
    assert changed.right is not None
    assert (changed.left.text, changed.right.text) == ("One", "Two")


def test_all_calls_together(database: Database) -> None:
    found = stats(database)

    assert (found.whole.calls, found.whole.sessions, found.whole.failures) == (5, 3, 1)
    assert found.whole.seconds == pytest.approx(1.0)
    assert found.whole.first_byte_seconds == pytest.approx(0.5)
    assert [share.calls for share in found.by_session] == [3, 1, 1]
    assert {share.name: share.calls for share in found.by_model} == {
        "claude-sonnet-4-6": 4, "gpt-4o-mini": 1,
    }  # fmt: skip
    assert len(found.by_day) == 1
    assert stats(database, since=2e9).whole.calls == 0


@pytest.mark.parametrize(
    ("words", "roles"),
    [
        ("highest tide", ["assistant", "user", "user"]),
        ("TIDE high", ["assistant", "user", "user"]),
        ('"30th of March"', ["assistant", "assistant"]),
        ("ca va", ["user"]),  # accents count for nothing
        ("almanac", ["assistant", "user"]),
        ("NOT AND (", []),
        ("zebra", []),
        ("lowest </b>", ["user"]),
    ],
)
def test_words_are_found_wherever_they_were_said(
    database: Database, words: str, roles: list[str]
) -> None:
    assert sorted(hit.role for hit in search(database, words)) == roles


def test_what_is_found_is_marked_and_may_be_filtered(day: Day, database: Database) -> None:
    hits = list(search(database, "highest", Filter(agent="clerk"), mark="*"))

    assert {hit.session_id for hit in hits} == {day.main}
    assert all("*highest*" in hit.snippet for hit in hits)
    assert list(search(database, "highest", Filter(agent="nobody"))) == []


@pytest.mark.parametrize("nothing", ["", "  ", '""'])
def test_there_must_be_words(nothing: str) -> None:
    with pytest.raises(NotFound, match="expected words"):
        wanted(nothing)


def test_an_id_may_be_cut_short_where_it_is_still_one(day: Day, database: Database) -> None:
    assert archive.session_id(database, day.main[:20]) == day.main
    with pytest.raises(NotFound, match="several sessions begin with 'sess_'"):
        archive.session_id(database, "sess_")
    with pytest.raises(NotFound, match="there is no call 'nothing'"):
        archive.call_id(database, "nothing")


@pytest.mark.parametrize(
    ("text_", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5d", 129600), ("1w", 604800)],
)
def test_a_time_is_how_long_ago(text_: str, seconds: float) -> None:
    assert moment(text_, 1e9) == 1e9 - seconds


def test_a_time_is_a_date_or_it_is_refused() -> None:
    assert moment("2026-11-21T12:30", 0) - moment("2026-11-21", 0) == 12.5 * 3600
    with pytest.raises(BadTime, match="expected how long ago"):
        moment("yesterday", 0)


def test_the_commands_say_the_same_as_json(day: Day) -> None:
    listed = said_by(day, "sessions")
    assert {each["id"] for each in listed} >= {day.main, day.helper}

    (root,) = said_by(day, "tree", day.helper)
    assert root["id"] == day.main
    assert [child["id"] for child in root["children"]] == [day.helper]

    assert len(said_by(day, "show", day.main)["messages"]) == 6
    assert said_by(day, "stats")["whole"]["calls"] == 5
    assert said_by(day, "search", "highest", "tide")[0]["session_id"] == day.main
    assert said_by(day, "diff", day.calls[2])["first"] == day.calls[1]


def test_the_commands_are_readable(day: Day) -> None:
    assert "When is the highest tide this year?" in run(day, "sessions").output
    shown = run(day, "show", day.main[:24]).output
    assert "▸ delegate" in shown
    assert "more lines (--full)" in shown
    assert "(thinks) I do not know." in shown
    assert "<b>lowest</b>" in shown
    assert "more lines" not in run(day, "show", day.main, "--full").output
    assert "the tools changed" in run(day, "diff", day.calls[1], day.calls[2]).output
    assert "5 calls (1 failed) in 3 sessions" in run(day, "stats").output
    assert "\x1b" not in shown


def test_tail_shows_the_last_calls(day: Day) -> None:
    lines = run(day, "tail", "--no-follow", "-n", "2").output.splitlines()
    assert len(lines) == 2
    assert "error 401" in lines[1]

    rows = [
        json.loads(line) for line in run(day, "tail", "--no-follow", "--json").output.splitlines()
    ]
    assert [row["id"] for row in rows][-1] == day.calls[3]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "nothing"], "there is no session 'nothing', nor a call of this name"),
        (["diff", "nothing"], "there is no call 'nothing'"),
        (["tree", "nothing"], "there is no session 'nothing'"),
        (["search", " "], "expected words"),
        (["sessions", "--since", "then"], "expected how long ago"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(day: Day, words: list[str], said: str) -> None:
    result = CliRunner().invoke(cli, [*words, "--db", str(day.path)])

    assert result.exit_code != 0
    assert said in result.output


def test_without_traces_the_commands_say_so(tmp_path: Path) -> None:
    for command in (["sessions"], ["tree"], ["stats"], ["tail"], ["show", "x"], ["search", "x"]):
        result = CliRunner().invoke(cli, [*command, "--db", str(tmp_path / "none.db")])
        assert result.exit_code == 1
        assert "there is no such file; record some calls first" in result.output


def hostile(path: Path) -> str:
    """A record in which everything that strangers can write is written to do harm."""
    evil = "\x1b]52;c;ZXZpbA==\x07\x1b[2J[/INST] [red]x\x9b31m"
    with office(path) as at:
        said = [{"role": "user", "content": evil}]
        call = {"type": "tool_use", "id": "t1", "name": f"run{evil}", "input": {"x": evil}}
        ask(at, said, text(evil), call, system=f"You are {evil}", model=f"m[/b]{evil}")
        id, _ = ask(
            at, [{"role": "user", "content": evil}, {"role": "assistant", "content": "other"},
                 {"role": "user", "content": evil}], text(evil), system=f"You are not {evil}",
            tools=[{"name": f"t[/b]{evil}"}],
        )  # fmt: skip
        wrong = {"error": {"message": evil, "type": evil}}
        at.call("/v1/chat/completions", {"model": evil, "messages": said}, wrong, status=500)
    return id


def test_nothing_that_was_said_commands_the_terminal_or_is_taken_for_markup(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    call = hostile(path)
    with closing(open_database(path)) as database:
        first = next(iter(database.query("select id, session_id from calls order by started_at")))

    for words in (
        ["sessions"], ["tree"], ["stats"], ["show", first["session_id"], "--full"],
        ["show", call], ["diff", first["id"], call], ["search", "red"], ["tail", "--no-follow"],
        ["sessions", "--json"], ["tail", "--no-follow", "--json"],
    ):  # fmt: skip
        result = CliRunner().invoke(cli, [*words, "--db", str(path)])
        assert result.exit_code == 0, (words, result.output)
        assert not set(result.output) & {"\x1b", "\x07", "\x9b"}, words
    assert "[/INST] [red]x" in CliRunner().invoke(cli, ["show", call, "--db", str(path)]).output


def test_two_chains_in_one_session_are_told_once_each(tmp_path: Path) -> None:
    headers = (("x-session-id", "shared"),)
    chains: list[list[Any]] = [[], []]
    with office(tmp_path / "t.db") as at:
        for number in range(12):
            chain = chains[number % 2]
            chain.append({"role": "user", "content": f"Question {number}"})
            body_ = {"model": "m", "messages": chain}
            reply = anthropic_reply(text(f"Answer {number}"))
            at.call("/v1/messages", body_, reply, headers=headers)
            chain.append({"role": "assistant", "content": f"Answer {number}"})
    with closing(open_database(tmp_path / "t.db")) as database:
        texts = [line.text for line in Reader(database).session("shared")]

    assert sorted(texts) == sorted(
        {f"{word} {n}" for word in ("Question", "Answer") for n in range(12)}
    )


def test_what_was_not_priced_is_told_in_sums_too(tmp_path: Path) -> None:
    with office(tmp_path / "t.db") as at:
        ask(at, [{"role": "user", "content": "One"}], text("Yes"))
        at.call("/v1/messages", body([{"role": "user", "content": "Two"}], model="own-model"),
                anthropic_reply(text("No"), model="own-model"))  # fmt: skip

    result = CliRunner().invoke(cli, ["stats", "--db", str(tmp_path / "t.db")])
    assert "and 1 call unknown" in result.output


def test_what_a_model_said_in_parts_is_one_text_however_often_it_comes_back(
    tmp_path: Path,
) -> None:
    path = tmp_path / "traces.db"
    where = "/v1beta/models/gemini-2.5-flash:generateContent"
    parts = [{"text": "Here is"}, {"text": " one:"}, {"text": " petrichor."}]
    whole = {"role": "model", "parts": [{"text": "Here is one: petrichor."}]}
    said = [{"role": "user", "parts": [{"text": "Teach me a word."}]}]
    with office(path) as at:
        at.call(where, {"contents": said}, {"candidates": [{"content": whole}]})
        said += [
            {"role": "model", "parts": parts},
            {"role": "user", "parts": [{"text": "Another."}]},
        ]
        _, identity = at.call(where, {"contents": said}, {"candidates": [{"content": whole}]})

    with closing(open_database(path)) as database:
        lines = Reader(database).session(identity.session_id)
        (line,) = openai_chat.lines(database, [identity.session_id])

    words = ["Teach me a word.", "Here is one: petrichor.", "Another.", "Here is one: petrichor."]
    assert [line.text for line in lines] == words
    assert [message["content"] for message in json.loads(line)["messages"]] == words


@pytest.mark.parametrize("command", [("show", "{}"), ("fork", "{}", "Hello", "--dry-run")])
@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("sess_", "several sessions begin with 'sess_': sess_"),
        ("call_", "several calls begin with 'call_': call_"),
        ("nobody", "there is no session 'nobody', nor a call of this name"),
    ],
)
def test_an_id_that_is_cut_too_short_is_said_with_what_begins_so(
    day: Day, command: tuple[str, ...], wanted: str, why: str
) -> None:
    said = run(day, *(word.format(wanted) for word in command), status=1).output

    assert why in said
    assert said.count("nor a call") == (wanted == "nobody")
