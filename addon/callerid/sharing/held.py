"""What a proxy knows of the engine's copy of a session, and what it has not told it yet."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Iterable

from callerid.identity.session import Point, Session

REACH = 3  # points that a step may change: the newest, and the two that it comes from


class Held:
    """A session as the engine and this proxy both know it.

    `born` says which copy of it, and `version` is the engine's that was taken in or written last
    (0: none). `points` are in the order of their numbers there (None: forgotten), `said`, `tail`,
    `reply`, `errands` and `given` as they are there. `prompt` is the name that it has by its
    prompt. `counts` are how many names of each index of memory the engine has. `touched` are points
    that may have changed since. `changes` counts what this proxy has to tell, and `is_dirty` says
    that not all of it was taken yet. `busy` is what is under way about that.
    """

    __slots__ = ("born", "bound", "busy", "changes", "counts", "errands", "given", "is_dirty",
                 "is_opened", "named_at", "numbers", "points", "prompt", "reply", "said", "session",
                 "tail", "touched", "version")  # fmt: skip

    def __init__(self, session: Session) -> None:
        self.session = session
        self.touched: dict[Point, None] = {}
        self.busy: Future[None] | None = None
        self.changes = 0
        self.is_dirty = False
        self.begin_anew()

    def begin_anew(self) -> None:
        """Know nothing of the engine's copy: it has none, or it is to be read from the start."""
        self.version = 0
        self.born = ""
        self.points: list[Point | None] = []
        self.numbers: dict[Point, int] = {}
        self.said: list[int] = []
        self.tail = ""
        self.reply: list[int] = []
        self.errands: frozenset[str] = frozenset()
        self.given: frozenset[int] = frozenset()
        self.counts = (0, 0, 0, 0, 0)
        self.named_at = 0.0
        self.prompt = b""
        self.is_opened = False
        self.bound: tuple[str, float, bool] | None = None

    def number(self, point: Point) -> int:
        """The number of a point; it gets one if it has none."""
        found = self.numbers.get(point)
        if found is None:
            found = self.numbers[point] = len(self.points)
            self.points.append(point)
        return found

    def numbered(self, number: int, point: Point) -> None:
        """Know a point by the number that it has in the engine."""
        while len(self.points) <= number:
            self.points.append(None)
        self.points[number] = point
        self.numbers[point] = number

    def unnumber(self, count: int) -> None:
        """Take back the numbers from `count` on: the engine did not take them."""
        for point in self.points[count:]:
            if point is not None:
                del self.numbers[point]
                self.touched[point] = None
        del self.points[count:]

    def at(self, number: int) -> Point | None:
        """The point of a number."""
        return self.points[number] if 0 <= number < len(self.points) else None

    def touch(self, points: Iterable[Point | None]) -> None:
        """Say that points of this session may have changed, or those that they come from."""
        for newest in points:
            point = newest
            for _ in range(REACH):
                if point is None:
                    break
                if point.session is self.session:
                    self.touched[point] = None
                point = point.before


class Holding:
    """What is held of each session that memory remembers."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[str, Held] = {}

    def of(self, session: Session) -> Held:
        """What is held of a session."""
        found = self._held.get(session.id)
        if found is None or found.session is not session:
            found = self._held[session.id] = Held(session)
        return found

    def known(self, session: Session | None) -> Held | None:
        """What is held of a session, if anything is."""
        found = self._held.get(session.id) if session is not None else None
        return found if found is not None and found.session is session else None

    def forget(self, session: Session) -> None:
        """Hold nothing of a session."""
        self._held.pop(session.id, None)

    def is_crowded(self) -> bool:
        """Whether it is time to let those go that memory has forgotten."""
        return len(self._held) > self._most

    def keep(self, is_known: Callable[[str], bool]) -> None:
        """Let all others go."""
        self._held = {id: held for id, held in self._held.items() if is_known(id)}
