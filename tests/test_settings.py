"""Settings and tables: the shipped files are true, and a mistake is named with what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from callerid import files
from callerid.settings.checked import BadSetting
from callerid.settings.load import load
from callerid.settings.values import Settings

SHIPPED = files.CONFIG / "callerid.yaml"


def complaint(folder: Path, text: str) -> str:
    """What is said of a settings file, without the path that stands first."""
    path = folder / "my.yaml"
    path.write_text(text)
    with pytest.raises(BadSetting) as raised:
        load(str(path))
    said = str(raised.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    return said.removeprefix(f"{path}: ")


def test_the_shipped_file_holds_every_setting_at_its_default() -> None:
    shipped = yaml.safe_load(SHIPPED.read_text("utf-8"))

    assert shipped == msgspec.json.decode(msgspec.json.encode(Settings()))


def test_the_shipped_file_gives_a_reason_for_every_setting() -> None:
    lines = SHIPPED.read_text("utf-8").splitlines()
    settings = [at for at, line in enumerate(lines) if line.startswith("  ") and "#" not in line]

    # settings that follow one another share the words above the first of them
    without = [lines[at] for at in settings if at - 1 not in settings and "#" not in lines[at - 1]]
    assert without == []


def test_what_is_left_out_stays_at_its_default(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("session: {max_sessions: 5}")

    settings = load(str(tmp_path / "my.yaml")).settings

    assert settings.session.max_sessions == 5
    assert settings.session.fuzzy_threshold == Settings().session.fuzzy_threshold
    assert settings.record == Settings().record


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("# nothing yet\n")

    assert load(str(tmp_path / "my.yaml")).settings == Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "session: {fuzzy_threshold: 1.4}",
            "session.fuzzy_threshold = 1.4, but it is a share between 0 and 1 (default 0.8)",
        ),
        (
            "session: {max_sessions: many}",
            'session.max_sessions = "many", but it is a whole number, 1 or more (default 10000)',
        ),
        (
            "session: {session_ttl_seconds: -1}",
            "session.session_ttl_seconds = -1, but it is a number of seconds above 0",
        ),
        ("stamp: {enabled: 1}", "stamp.enabled = 1, but it is true or false (default true)"),
        ("session: {reset_phrases: start over}", "session.reset_phrases"),
        ("session: {fuzzy_treshold: 0.8}", "session.fuzzy_treshold is not a setting; there are"),
        ("sessions: {}", "sessions is not a setting; there are session, stamp, routing, r"),
        ("proxy: {refuse_ports: [80, 99999]}", "proxy.refuse_ports"),
        (
            'rate_limiting: {storage: "memcached://box"}',
            'rate_limiting.storage = "memcached://box", but it is memory:// or redis://HOST:PORT/DB',
        ),
        ("- a list", "the file: "),
        ("session: [", "is not YAML: "),
    ],
)
def test_a_mistake_is_named_with_its_value_and_what_is_allowed(
    tmp_path: Path, text: str, said: str
) -> None:
    assert complaint(tmp_path, text).startswith(said)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("session:\n  max_sessions: 5\n  fuzzy_threshold: 1.4\n", 3),
        ("session:\n\n  fuzzy_treshold: 0.8\n", 3),
        ("stamp:\n  upstreams:\n    - {profile: none}\n    - {profile: nobody}\n", 4),
        ("proxy:\n  refuse_ports:\n    - 80\n    - 99999\n", 4),
        ("session:\n  persistence:\n    backend: redis\n", 2),  # of what is not there
        ("admin: {port: 0}\nrouting:\n  upstreams:\n  - http://a:99999\n", 4),
        ("session:\n  max_sessions: [\n", 3),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    assert f"line {line}" in complaint(tmp_path, text)


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"none\.yaml: there is no such file"):
        load(str(tmp_path / "none.yaml"))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(BadSetting, match=r"my\.yaml: cannot be read"):
        load(str(tmp_path / "my.yaml"))


def test_a_table_of_ones_own_lies_beside_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("tables: {providers: mine.yaml}")
    (tmp_path / "mine.yaml").write_text(
        "providers: [{name: home, hosts: [llm.home], source: my own}]"
    )

    assert [row.name for row in load(str(tmp_path / "my.yaml")).providers.providers] == ["home"]


def table_complaint(folder: Path, name: str, rows: Any) -> str:
    (folder / "my.yaml").write_text(f"tables: {{{name}: mine.yaml}}")
    (folder / "mine.yaml").write_text(yaml.safe_dump(rows))
    with pytest.raises(BadSetting) as raised:
        load(str(folder / "my.yaml"))
    return str(raised.value).removeprefix(f"{folder / 'mine.yaml'}: ")


def test_a_row_of_a_table_is_checked_too(tmp_path: Path) -> None:
    place = {"clients": [{"name": "x", "source": "s", "session": ["x-session-id"]}]}
    pattern = {"clients": [{"name": "x", "source": "s", "user_agent": "("}]}
    part = {"profiles": {"p": {"source": "s", "set": [{"header": "x-a", "part": "soul"}]}}}
    profile = {"profiles": {"p": {"source": "s"}}, "upstreams": [{"profile": "q"}]}

    assert "(line 2)" in table_complaint(tmp_path, "clients", place)
    assert "x has the place 'x-session-id', but a place is header:NAME, body:PATH" in (
        table_complaint(tmp_path, "clients", place)
    )
    assert "x.user_agent = '(', but it is a regular expression" in (
        table_complaint(tmp_path, "clients", pattern)
    )
    assert 'profiles.p.set[0].part = "soul", but it is one of session, parent, root, child, ' in (
        table_complaint(tmp_path, "profiles", part)
    )
    assert "upstreams[0].profile = 'q', but it is one of p" in (
        table_complaint(tmp_path, "profiles", profile)
    )


def test_every_row_of_the_shipped_tables_says_where_the_fact_is_from() -> None:
    shipped = load()

    assert all(row.source for row in shipped.clients.clients)
    assert all(row.source for row in shipped.clients.injected_blocks)
    assert all(row.source for row in shipped.providers.providers)
    assert all(profile.source for profile in shipped.profiles.profiles.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{backend: redis}", '= "", but with backend redis it is a URL as redis://HOST:PORT/DB'),
        ("{backend: file}", '= "", but with backend file it is the path of a file'),
        (
            "{backend: postgres}",
            '= "", but with backend postgres it is a URL as postgresql://HOST/DATABASE',
        ),
    ],
)
def test_a_place_for_sessions_that_is_not_named_is_asked_for(
    tmp_path: Path, text: str, said: str
) -> None:
    complained = complaint(tmp_path, f"session: {{persistence: {text}}}")

    assert complained == f"session.persistence.connection {said} (line 1)"


def test_a_place_for_sessions_that_is_unknown_is_refused(tmp_path: Path) -> None:
    said = complaint(tmp_path, "session: {persistence: {backend: mysql}}")

    assert said.startswith('session.persistence.backend = "mysql", but it is one of')
    assert "sqlite, file, redis, postgres" in said


def test_sqlite_is_the_traces_themselves_and_takes_no_connection(tmp_path: Path) -> None:
    said = complaint(tmp_path, "session: {persistence: {connection: other.db}}")

    assert "with backend sqlite" in said
    assert "backend file takes a file" in said


def test_a_file_for_sessions_lies_beside_the_settings_that_name_it(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("session: {persistence: {backend: file, connection: shared.db}}")

    kept = load(str(path)).settings.session.persistence

    assert kept.connection == str(tmp_path / "shared.db")
    assert kept.deadline == 0.05
