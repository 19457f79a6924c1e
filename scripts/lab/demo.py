"""Three agents talk at once through a real mitmdump; prints the session tree that comes out."""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from callerid.archive.sessions import sessions
from callerid.commands.tree import draw
from callerid.traces import database as traces
from lab import Answer, Asked, FakeProvider, Proxy, ToolCall, newest_text, tool_results
from lab.chats import Anthropic, Chat, Gemini, Line, OpenAIChat

CHECKOUT = Path(__file__).parents[2]
ADDON = CHECKOUT / "addon" / "main.py"
ROUNDS = 3
TICKET = "ticket-4711"
ERRAND = (
    "Read the almanac of 2026 and report the highest spring tide at Saint-Malo in metres, "
    "with its date and hour."
)
WORDS = ("petrichor", "ombre", "serein", "alpenglow", "virga", "brumous")


_REPLIES = """
select text from messages join call_messages on call_messages.message_id = messages.id
join calls on calls.id = call_id where is_reply = 1 and session_id = ?
"""


class Model:
    """What the fake provider's model says; no two openings get the same answer."""

    def __init__(self) -> None:
        self._words = itertools.cycle(WORDS)

    def __call__(self, asked: Asked) -> Answer:
        text = newest_text(asked)
        if results := tool_results(asked):
            return Answer(f"I was told: {results[0]}")
        if "highest tide" in text:
            return Answer("I will have it looked up.", (ToolCall("delegate", {"task": ERRAND}),))
        if text == ERRAND:
            return Answer("I look at page 112.", (ToolCall("read_page", {"task": "page 112"}),))
        if "a word" in text:
            return Answer(f"Here is one: {next(self._words)}.")
        return Answer(f"About that ({text.lower().rstrip('?.!')}) I can say: it depends.")


@dataclass
class Talk:
    """One conversation of the demo: what was held, and what callerid called it."""

    who: str
    chat: Chat
    parent: Talk | None = None
    texts: list[str] = field(default_factory=list)

    def ids(self, header: str = "x-callerid-session-id") -> set[str]:
        return {heard.get(header, "") for heard in self.chat.heard}


class Cast:
    """The agents, and their talks as they come about."""

    def __init__(self, line: Callable[..., Line]) -> None:
        self._line = line
        self._together = threading.Barrier(4)
        self.talks: list[Talk] = []

    def play(self) -> None:
        """Let everybody talk at once: no one begins a round before all have ended the last."""
        parts = (self.researcher, self.support, self.tutor, self.tutor)
        with ThreadPoolExecutor(len(parts)) as pool:
            for done in [pool.submit(self._part, part) for part in parts]:
                done.result()

    def _part(self, part: Callable[[], None]) -> None:
        try:
            part()
        except BaseException:
            self._together.abort()
            raise

    def _talk(self, who: str, chat: Chat, parent: Talk | None = None) -> Talk:
        talk = Talk(who, chat, parent)
        self.talks.append(talk)
        return talk

    def researcher(self) -> None:
        """Declares nothing, streams, and sends a helper."""
        system = "You are a tide researcher. Delegate reading."
        chat = Anthropic(self._line(), system, ("delegate",), streams=True)
        talk = self._talk("the researcher", chat)
        self._together.wait()
        said = chat.ask("What is the highest tide of the year at Saint-Malo?")
        self._together.wait()
        report = self._helper(talk, str(said.wishes[0].arguments["task"]))
        talk.texts.append(chat.give(said.wishes, [report]).text)
        self._together.wait()
        talk.texts.append(chat.ask("And is it safe to walk there?").text)

    def _helper(self, parent: Talk, errand: str) -> str:
        system = "You are a careful reader of almanacs."
        chat = Anthropic(self._line(), system, ("read_page",), streams=False)
        talk = self._talk("its helper", chat, parent)
        said = chat.ask(errand)
        talk.texts.append(chat.give(said.wishes, ["13.2 m on 2026-03-21 at 20:12"]).text)
        return talk.texts[-1]

    def support(self) -> None:
        """Names its session in a header."""
        line = self._line({"x-session-id": TICKET})
        chat = OpenAIChat(line, "You are a support agent.", (), streams=False)
        talk = self._talk("the support agent", chat)
        for question in ("My parcel is late.", "Who can help me?", "Can I have my money back?"):
            self._together.wait()
            talk.texts.append(chat.ask(question).text)

    def tutor(self) -> None:
        """Declares nothing, and has two pupils at once who open with the same words."""
        chat = Gemini(self._line(), "You are a patient tutor of words.", (), streams=True)
        talk = self._talk("the tutor", chat)
        for question in ("Good morning! Teach me a word.", "What does it mean?", "Thank you!"):
            self._together.wait()
            talk.texts.append(chat.ask(question).text)


def mistakes(talks: list[Talk]) -> list[str]:
    """What is wrong with the sessions that were found, in words."""
    found = []
    for talk in talks:
        if len(talk.ids()) != 1 or "" in talk.ids():
            found.append(f"{talk.who} is one conversation, but got the sessions {talk.ids()}")
        if any("x-callerid-session-id" not in heard for heard in talk.chat.heard):
            found.append(f"{talk.who} got a reply without its session")
        expected = talk.parent.ids() if talk.parent else {""}
        if talk.ids("x-callerid-parent-session-id") != expected:
            found.append(f"{talk.who} has not the parent {expected}")
    for one, other in itertools.combinations(talks, 2):
        if one.ids() & other.ids():
            found.append(f"{one.who} and {other.who} were taken for one session")
    support = next(talk for talk in talks if talk.who == "the support agent")
    if support.ids() != {TICKET}:
        found.append(f"{support.who} declared {TICKET}, but is {support.ids()}")
    if len(talks) != 5:
        found.append(f"five conversations were meant to be held, but it was {len(talks)}")
    return found


def record_mistakes(path: Path, talks: list[Talk]) -> list[str]:
    """What is wrong with traces.db, in words."""
    database = traces.open_database(path)
    found = []
    for talk in talks:
        (id,) = talk.ids()
        calls = list(database.query("select state from calls where session_id = ?", [id]))
        if [call["state"] for call in calls] != ["ok"] * len(talk.chat.heard):
            found.append(f"{talk.who} made {len(talk.chat.heard)} calls; on record are {calls}")
        texts = {row["text"] for row in database.query(_REPLIES, [id])}
        if missing := [text for text in talk.texts if text not in texts]:
            found.append(f"{talk.who} heard {missing[0]!r}, which is not on record")
    database.conn.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the traces.db, and say where")
    keeps = parser.parse_args().keep
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    with ExitStack() as stack:
        folder = Path(
            tempfile.mkdtemp(prefix="callerid-demo-")
            if keeps
            else stack.enter_context(tempfile.TemporaryDirectory(prefix="callerid-demo-"))
        )
        return play(folder / "traces.db", console, keeps=keeps)


def play(path: Path, console: Console, *, keeps: bool) -> int:
    began = time.monotonic()
    console.print("Three agents, three dialects, one fake provider, one real mitmdump:")
    with FakeProvider(Model()) as provider:
        options = {"callerid_db": str(path)}
        with Proxy(ADDON, provider=provider, options=options) as proxy:
            cast = Cast(lambda headers=None: Line(proxy.ca_file, proxy.url, headers=headers or {}))
            cast.play()
            for talk in cast.talks:
                talk.chat.close()
    wrong = mistakes(cast.talks) or record_mistakes(path, cast.talks)
    database = traces.open_database(path)
    console.print(draw(sessions(database)))
    database.conn.close()
    for mistake in wrong:
        console.print(f"WRONG: {mistake}")
    if not wrong:
        calls = sum(len(talk.chat.heard) for talk in cast.talks)
        console.print(
            f"Right: {calls} calls, {len(cast.talks)} conversations, each one session, the helper "
            f"below its sender ({time.monotonic() - began:.1f} s)."
        )
    if keeps:
        command = Path(sys.executable).with_name("callerid")
        if command.is_relative_to(CHECKOUT):
            command = command.relative_to(CHECKOUT)
        console.print(f"The traces are in {path}; look at them with: {command} tree --db {path}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
