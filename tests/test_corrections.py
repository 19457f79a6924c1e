"""Corrections by a person: the record follows, and so does everything that identifies."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlite_utils import Database

from callerid.archive import corrections
from callerid.archive.corrections import BadCorrection
from callerid.archive.sessions import NotFound, sessions
from callerid.commands.cli import cli
from callerid.proxy import corrected
from callerid.proxy.replies import OpenCall
from callerid.recordings import calls as recordings
from callerid.recordings.reidentify import reidentify
from callerid.settings.load import load
from callerid.traces.database import open_database
from callerid.turn import Because, Identity, Relation
from office import Office, anthropic_reply, office, text

NOW = 1_790_000_100.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with closing(open_database(path)) as opened:
        yield opened


def talk(
    at: Office,
    topic: str,
    turns: int,
    said: list[Any] | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> tuple[list[tuple[str, Identity]], list[Any]]:
    """Some turns about a topic; the calls, and what was said in the end."""
    said, taken = list(said or []), []
    for number in range(turns):
        said.append({"role": "user", "content": f"Tell me more of {topic}, part {number}, please."})
        reply = f"Of {topic} there is this to say, in part {number}: it is deep."
        body = {"model": "m", "messages": said}
        answer = anthropic_reply(text(reply))
        taken.append(at.call("/v1/messages", body, answer, headers=headers))
        said.append({"role": "assistant", "content": reply})
    return taken, said


def run(path: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--db", str(path)])


def sessions_of(database: Database) -> dict[str, str]:
    return {row["id"]: row["session_id"] for row in database.query("select * from calls")}


def test_a_session_is_linked_to_its_parent_with_all_that_came_from_it(path: Path) -> None:
    with office(path) as at:
        (_, lead), *_ = talk(at, "rivers", 1)[0]
        (_, helper), *_ = talk(at, "bridges", 1)[0]
        (_, scout), *_ = talk(at, "ferries", 1)[0]

    assert run(path, "link", scout.session_id, helper.session_id).exit_code == 0
    assert (
        run(path, "link", helper.session_id, lead.session_id, "--relation", "fork").exit_code == 0
    )

    with closing(open_database(path)) as database:
        found = {each.id: each for each in sessions(database)}
    assert found[helper.session_id].parent_session_id == lead.session_id
    assert found[helper.session_id].relation == "fork"
    assert {each.root_session_id for each in found.values()} == {lead.session_id}
    assert "a person linked it" in found[scout.session_id].evidence


def test_nobody_comes_from_himself(path: Path) -> None:
    with office(path) as at:
        (_, lead), *_ = talk(at, "rivers", 1)[0]
        (_, helper), *_ = talk(at, "bridges", 1)[0]
    with closing(open_database(path)) as database:
        corrections.link(database, helper.session_id, lead.session_id, Relation.SUBAGENT, NOW)
        with pytest.raises(BadCorrection, match=f"{helper.session_id} came from {lead.session_id}"):
            corrections.link(database, lead.session_id, helper.session_id, Relation.FORK, NOW)
        with pytest.raises(BadCorrection, match="cannot be merged with itself"):
            corrections.merge(database, lead.session_id, lead.session_id, NOW)


def test_a_session_is_split_in_two(path: Path) -> None:
    with office(path) as at:
        taken, _ = talk(at, "rivers", 4)

    result = run(path, "split", taken[2][0])
    assert result.exit_code == 0, result.output

    with closing(open_database(path)) as database:
        found = sessions_of(database)
        whole = {each.id: each for each in sessions(database)}
        (row,) = database.query("select * from corrections")
    old, new = found[taken[0][0]], found[taken[3][0]]
    assert [found[id] for id, _ in taken] == [old, old, new, new]
    assert whole[new].because == "correction"
    assert whole[new].parent_session_id == ""
    assert whole[new].first_seen > whole[old].last_seen
    assert (row["kind"], row["call_id"]) == ("split", taken[2][0])
    assert json.loads(row["was"])["id"] == old


def test_the_first_call_cannot_be_split_off(path: Path) -> None:
    with office(path) as at:
        taken, _ = talk(at, "rivers", 2)

    assert "nothing would be left" in run(path, "split", taken[0][0]).output
    assert "there is no call" in run(path, "split", "call_nothing").output


def test_what_began_after_a_split_goes_along_with_the_second_half(path: Path) -> None:
    with office(path) as at:
        taken, said = talk(at, "rivers", 4)
        early, _ = talk(at, "lakes", 1, said[:2])
        late, _ = talk(at, "boats", 1, said[:6])
        helper, _ = talk(at, "ferries", 1)
    with closing(open_database(path)) as database:
        old = taken[0][1].session_id
        ids = [calls[0][1].session_id for calls in (early, late, helper)]
        corrections.link(database, ids[2], old, Relation.SUBAGENT, NOW)
        relations = {each.id: each.relation for each in sessions(database)}
        assert [relations[id] for id in ids] == ["fork", "fork", "subagent"]
        corrections.split(database, taken[2][0], "sess_new", NOW)
        found = {each.id: each for each in sessions(database)}

    assert [found[id].parent_session_id for id in ids] == [old, "sess_new", "sess_new"]
    assert [found[id].root_session_id for id in ids] == [old, "sess_new", "sess_new"]


def test_a_merge_is_told_in_the_tree(path: Path) -> None:
    with office(path) as at:
        kept, _ = talk(at, "rivers", 1)
        gone, _ = talk(at, "bridges", 1)
    ids = kept[0][1].session_id, gone[0][1].session_id

    run(path, "merge", *ids)

    assert f"a person merged {ids[1]} into it" in run(path, "tree").output


def test_two_sessions_are_merged_and_children_follow(path: Path) -> None:
    with office(path) as at:
        kept, _ = talk(at, "rivers", 2)
        gone, _ = talk(at, "bridges", 2)
        child, _ = talk(at, "ferries", 1)
    ids = [calls[0][1].session_id for calls in (kept, gone, child)]
    with closing(open_database(path)) as database:
        corrections.link(database, ids[2], ids[1], Relation.SUBAGENT, NOW)

    assert run(path, "merge", ids[0], ids[1]).exit_code == 0

    with closing(open_database(path)) as database:
        whole = {each.id: each for each in sessions(database)}
    assert set(whole) == {ids[0], ids[2]}
    assert whole[ids[0]].calls == 4
    assert whole[ids[2]].parent_session_id == ids[0]
    assert whole[ids[2]].root_session_id == ids[0]


def test_two_customers_are_not_merged_nor_linked(path: Path, database: Database) -> None:
    with office(path) as at:
        taken, _ = talk(at, "rivers", 1)
        other, _ = talk(at, "bridges", 1)
    ids = taken[0][1].session_id, other[0][1].session_id
    with database.conn:
        database.execute("update sessions set client_scope = 'another' where id = ?", [ids[1]])

    assert "two customers" in run(path, "merge", *ids).output
    assert "two customers" in run(path, "link", *ids).output
    with pytest.raises(NotFound):
        corrections.merge(database, ids[0], "sess_nothing", NOW)


def test_a_proxy_that_starts_afterwards_goes_on_from_the_correction(path: Path) -> None:
    with office(path, now=time.time() - 60) as at:
        kept, _ = talk(at, "rivers", 2)
        _gone, said = talk(at, "bridges", 2)
    ids = kept[0][1].session_id, _gone[0][1].session_id
    with closing(open_database(path)) as database:
        corrections.merge(database, *ids, NOW)

    with office(path, now=time.time()) as after:
        ((_, identity),) = talk(after, "bridges", 1, said)[0]
    assert identity.session_id == ids[0]


def test_a_proxy_that_runs_takes_it_in(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrected, "LOOK_SECONDS", 0.02)

    async def correct(at: Office) -> list[str]:
        watch = at.setup._corrected
        assert watch is not None
        watch.start()
        taken, said = talk(at, "rivers", 4)
        recorder = at.setup._recorder
        assert recorder is not None
        while recorder.depth or len(await asyncio.to_thread(_recorded, path)) < 4:
            await asyncio.sleep(0.02)
        with closing(open_database(path)) as database:
            corrections.split(database, taken[2][0], "sess_new", NOW)
        for _ in range(200):
            await asyncio.sleep(0.02)
            if at.setup.desk.switchboard.memory.get("sess_new"):
                break
        ((_, new),) = talk(at, "rivers", 1, said)[0]
        old_said = said[: 2 * 2]
        ((_, old),) = talk(at, "lakes", 1, old_said)[0]
        watch.stop()
        return [taken[0][1].session_id, old.session_id, new.session_id]

    with office(path) as at:
        before, old, new = asyncio.run(correct(at))

    assert new == "sess_new"
    assert old == before


def _recorded(path: Path) -> dict[str, str]:
    with closing(open_database(path)) as database:
        query = "select * from calls where state = 'ok'"
        return {row["id"]: row["session_id"] for row in database.query(query)}


def test_it_is_known_which_sessions_have_a_call_under_way(path: Path) -> None:
    with office(path) as at:
        seen: list[bool] = []
        replies = at.setup.desk.replies
        opened = replies.opened

        def opened_and_asked(call: OpenCall) -> None:
            opened(call)
            assert call.entry.identity is not None
            seen.append(replies.has_open(call.entry.identity.session_id))

        replies.opened = opened_and_asked  # type: ignore[method-assign]
        taken, _ = talk(at, "rivers", 2)

        assert seen == [True, True]
        assert not replies.has_open(taken[0][1].session_id)


def test_identifying_again_leaves_what_a_person_corrected(path: Path) -> None:
    with office(path) as at:
        taken, _ = talk(at, "rivers", 4)
    with closing(open_database(path)) as database:
        corrections.split(database, taken[2][0], "sess_new", NOW)

    lines = recordings.read(path, lambda file: iter(()))
    found = [line.call for line in lines if line.call]
    again = {each.call.id: each.identity for each in reidentify(found, load())}

    moved = [again[id] for id, _ in taken[2:]]
    assert [identity.session_id for identity in moved if identity] == ["sess_new", "sess_new"]
    assert all(identity and identity.because is Because.CORRECTION for identity in moved)


def settled(path: Path, calls: int) -> None:
    """Wait until so many calls are on record with their replies."""
    until = time.monotonic() + 10
    while len(_recorded(path)) < calls:
        assert time.monotonic() < until, "not recorded"
        time.sleep(0.02)


def look(at: Office, times: int = 1) -> None:
    watch = at.setup._corrected
    assert watch is not None
    for _ in range(times):
        asyncio.run(watch.look())


def correct(path: Path, kind: str, kept: list[Any], other: list[Any]) -> str:
    """Merge two conversations, or split the other one at its second call; whose it then is."""
    with closing(open_database(path)) as database:
        if kind == "merge":
            corrections.merge(database, kept[0][1].session_id, other[0][1].session_id, NOW)
            return str(kept[0][1].session_id)
        corrections.split(database, other[1][0], "sess_new", NOW)
        return "sess_new"


@pytest.mark.parametrize("kind", ["merge", "split"])
@pytest.mark.parametrize("looks", [0, 1], ids=["before it is taken in", "between"])
def test_who_speaks_before_it_is_taken_in_does_not_undo_it(
    path: Path, kind: str, looks: int
) -> None:
    with office(path) as at:
        kept, _ = talk(at, "rivers", 2)
        other, said = talk(at, "bridges", 3)
        settled(path, 5)
        wanted = correct(path, kind, kept, other)
        early, said = talk(at, "boats", 2, said)
        if looks:
            look(at)  # before they are on record, perhaps
        settled(path, 7)
        look(at, 2)
        ((_, late),) = talk(at, "ferries", 1, said)[0]
    assert late.session_id == wanted

    with closing(open_database(path)) as database:
        found = sessions_of(database)
        whole = {each.id: each for each in sessions(database)}
    assert {found[id] for id, _ in [*other[1:], *early]} == {wanted}
    left = {wanted, kept[0][1].session_id, *([found[other[0][0]]] if kind == "split" else [])}
    assert set(whole) == left
    assert found[other[0][0]] == (wanted if kind == "merge" else other[0][1].session_id)


def test_who_goes_on_from_before_a_split_stays(path: Path) -> None:
    with office(path) as at:
        declared = (("x-callerid-session-id", "ours"),)  # or it would be a fork
        taken, said = talk(at, "rivers", 4, headers=declared)
        settled(path, 4)
        correct(path, "split", taken, [taken[1], taken[2]])
        ((early, _),), _ = talk(at, "lakes", 1, said[:4], declared)
        settled(path, 5)
        look(at, 2)
    with closing(open_database(path)) as database:
        assert sessions_of(database)[early] == "ours"


def test_a_call_that_hangs_holds_up_only_what_corrects_its_session(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with office(path) as at:
        ids = [
            talk(at, topic, 1)[0][0][1].session_id
            for topic in ("rivers", "bridges", "boats", "lakes")
        ]
        settled(path, 4)
        replies, memory = at.setup.desk.replies, at.setup.desk.switchboard.memory
        replies._under_way[ids[0]] = 1
        with closing(open_database(path)) as database:
            corrections.link(database, ids[0], ids[1], Relation.FORK, NOW)
            corrections.link(database, ids[2], ids[3], Relation.FORK, NOW)

        def parents() -> list[str]:
            return [found.parent_id if (found := memory.get(id)) else "" for id in ids]

        look(at, 3)
        assert parents() == ["", "", ids[3], ""]
        monkeypatch.setattr(corrected, "MOST_SECONDS", 0.0)
        look(at, 3)
        assert parents() == [ids[1], "", ids[3], ""]
        watch = at.setup._corrected
        assert watch is not None
        assert [one.made.session_id for one in watch._waiting] == [ids[0]]
        replies._under_way.clear()
        look(at)
        assert not watch._waiting


def test_a_call_that_hung_is_of_the_corrected_session_when_it_ends(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrected, "MOST_SECONDS", 0.0)
    with office(path) as at:
        taken, said = talk(at, "rivers", 3)
        settled(path, 3)
        replies = at.setup.desk.replies
        watch = replies.watch

        def hang(*args: Any) -> Any:
            replies.watch = watch  # type: ignore[method-assign]
            correct(path, "split", taken, taken)
            look(at)
            return watch(*args)

        replies.watch = hang  # type: ignore[method-assign]
        (hung, *_), said = talk(at, "boats", 1, said)
        settled(path, 4)
        old = at.setup.desk.switchboard.memory.get(taken[0][1].session_id)
        assert old is not None
        assert old.calls == 1  # as the record has it: nothing that was forgotten came back
        look(at)
        ((_, late),) = talk(at, "ferries", 1, said)[0]
    with closing(open_database(path)) as database:
        assert sessions_of(database)[hung[0]] == "sess_new"
    assert late.session_id == "sess_new"


def test_a_call_that_comes_while_it_is_taken_in_finds_its_session(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    during: list[Identity] = []
    with office(path) as at:
        lead, _ = talk(at, "rivers", 1)
        taken, said = talk(at, "bridges", 5)
        settled(path, 6)
        with closing(open_database(path)) as database:
            ids = taken[0][1].session_id, lead[0][1].session_id
            corrections.link(database, *ids, Relation.SUBAGENT, NOW)
        restore = corrected.restore_sessions

        async def take_in() -> None:
            watch, loop = at.setup._corrected, asyncio.get_running_loop()
            assert watch is not None

            async def speak() -> None:
                nonlocal said
                more, said = talk(at, "boats", 1, said)
                during.append(more[0][1])

            def restore_and_hear(*args: Any) -> None:
                if not during:
                    asyncio.run_coroutine_threadsafe(speak(), loop).result(10)
                restore(*args)

            monkeypatch.setattr(corrected, "restore_sessions", restore_and_hear)
            await watch.look()
            assert not watch._waiting[0].is_taken_in  # what was read lacks the call
            for _ in range(3):
                await watch.look()
                await asyncio.to_thread(settled, path, 7)

        asyncio.run(take_in())
        ((_, late),) = talk(at, "ferries", 1, said)[0]
    assert during[0].session_id == ids[0]
    assert (late.session_id, late.parent_session_id) == ids


def test_a_session_is_merged_with_one_far_above_it(path: Path) -> None:
    with office(path) as at:
        above, between, kept, other = (
            talk(at, topic, 1)[0][0][1].session_id
            for topic in ("rivers", "bridges", "boats", "lakes")
        )
    with closing(open_database(path)) as database:
        corrections.link(database, between, above, Relation.SUBAGENT, NOW)
        corrections.link(database, kept, between, Relation.SUBAGENT, NOW)
        corrections.merge(database, kept, above, NOW)
        whole = {each.id: each for each in sessions(database)}
        assert whole[between].parent_session_id == ""
        assert whole[kept].parent_session_id == between
        assert {whole[between].root_session_id, whole[kept].root_session_id} == {between}
        corrections.link(database, other, kept, Relation.SUBAGENT, NOW)


def test_a_circle_on_record_ends_a_link_all_the_same(path: Path, database: Database) -> None:
    with office(path) as at:
        ids = [talk(at, topic, 1)[0][0][1].session_id for topic in ("rivers", "boats", "lakes")]
    with database.conn:
        for id, parent in ((ids[0], ids[1]), (ids[1], ids[0])):
            query = "update sessions set parent_session_id = ? where id = ?"
            database.execute(query, [parent, id])
    corrections.link(database, ids[2], ids[0], Relation.SUBAGENT, NOW)
