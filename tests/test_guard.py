"""The guard: trouble is counted each time, said once, and let no further."""

from __future__ import annotations

import asyncio
import logging
from typing import NoReturn

import pytest

from callerid import guard as guards
from callerid.guard import Guard

SECRET = "sk-planted-in-an-exception"


@pytest.fixture
def guard() -> Guard:
    return Guard()


def fail(error: BaseException) -> NoReturn:
    raise error


def fail_elsewhere(error: BaseException) -> NoReturn:
    raise error


def catch(guard: Guard, stage: str, error: BaseException) -> None:
    with guard(stage):
        fail(error)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_what_goes_well_is_not_counted(guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    with guard("stamp"):
        pass

    assert guard.counts == {}
    assert said(caplog) == []


@pytest.mark.parametrize("error", [ValueError(), KeyError("x"), RecursionError(), MemoryError()])
def test_an_exception_goes_no_further_than_its_stage(guard: Guard, error: Exception) -> None:
    catch(guard, "stamp", error)

    assert guard.counts == {"failed.stamp": 1}


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(), GeneratorExit(), asyncio.CancelledError()]
)
def test_what_ends_the_program_passes(guard: Guard, error: BaseException) -> None:
    with pytest.raises(type(error)):
        catch(guard, "stamp", error)

    assert guard.counts == {}


def test_trouble_is_counted_each_time_and_said_once(
    guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        catch(guard, "stamp", ValueError())

    assert guard.counts == {"failed.stamp": 3}
    assert len(said(caplog)) == 1
    assert "stamp failed with ValueError" in said(caplog)[0]
    assert "in fail\n" in said(caplog)[0]


def test_each_kind_of_trouble_is_said(guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    catch(guard, "stamp", ValueError())
    catch(guard, "stamp", KeyError())
    catch(guard, "record", ValueError())
    with guard("stamp"):
        fail_elsewhere(ValueError())

    assert len(said(caplog)) == 4
    assert guard.counts == {"failed.stamp": 3, "failed.record": 1}


def test_it_warns_and_never_quotes_the_exception(
    guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        fail(ValueError(SECRET))
    except ValueError as cause:
        error = RuntimeError(SECRET)
        error.__cause__ = cause
    catch(guard, "stamp", error)

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert SECRET not in caplog.text


def test_a_note_is_counted_each_time_and_said_once(
    guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    guard.note("dropped", "the queue is full")
    guard.note("dropped", "the queue is full", times=5)
    guard.note("not_json", "a body is no JSON")

    assert guard.counts == {"dropped": 6, "not_json": 1}
    assert len(said(caplog)) == 2
    assert "the queue is full (counted as dropped; this is said once)" in said(caplog)[0]


def test_after_many_kinds_trouble_is_counted_in_silence(
    guard: Guard, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "MAX_KINDS", 3)

    for number in range(10):
        guard.note(f"kind_{number}", "words")

    assert len(said(caplog)) == 3
    assert len(guard.counts) == 10
