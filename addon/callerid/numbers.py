"""What callerid counts of its own work, as Prometheus has it: counters, sums of seconds, gauges.

No label ever holds an id: there would be no end of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from callerid.turn import Because, Identity, Usage

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0)


_Metric = TypeVar("_Metric", Counter, Histogram)


class _Timer:
    __slots__ = ("_began", "_histogram")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *raised: object) -> None:
        self._histogram.observe(time.perf_counter() - self._began)


class Numbers:
    """Counts calls, replies, tokens and seconds since the start; any thread may read them."""

    def __init__(self, trouble: Mapping[str, int]) -> None:
        self.registry = CollectorRegistry()
        self._children: dict[tuple[object, tuple[str, ...]], object] = {}
        self._calls = self._counter("calls", "LLM calls", "kind", "because")
        self._matched = self._counter("calls_matched", "Calls of sessions known before")
        self._sessions = self._counter("sessions_created", "Sessions begun", "relation")
        self._replies = self._counter("replies", "Replies, by how they ended", "state")
        self._tokens = self._counter("tokens", "Tokens, as the providers count them", "type")
        self._stages = Histogram(
            "callerid_stage_seconds", "Time in a stage of a call", ["stage"],
            registry=self.registry, buckets=_SECONDS,
        )  # fmt: skip
        self._added = Histogram(
            "callerid_first_byte_added_seconds", "Time that callerid adds to a reply's first byte",
            registry=self.registry, buckets=_SECONDS,
        )  # fmt: skip
        self.registry.register(_Trouble(trouble))

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"callerid_{name}", words, labels, registry=self.registry)

    def watch(self, name: str, words: str, value: Callable[[], float]) -> None:
        """Let a gauge show a value of somebody else's, read whenever it is asked for."""
        Gauge(f"callerid_{name}", words, registry=self.registry).set_function(value)

    def watch_each(
        self, name: str, words: str, label: str, values: Callable[[], Mapping[str, float]]
    ) -> None:
        """As `watch`, for a few things that are told apart by a label."""
        self.registry.register(_Each(f"callerid_{name}", words, label, values))

    def identified(self, identity: Identity, *, is_known: bool) -> None:
        """Count a call, and its session where it begins one."""
        self._of(self._calls, identity.kind, identity.because).inc()
        if is_known:
            self._matched.inc()
        else:
            self._of(self._sessions, identity.relation or "none").inc()

    def ended(self, state: str, usage: Usage) -> None:
        """Count a reply and its tokens."""
        self._of(self._replies, state).inc()
        for type, tokens in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_read", usage.cache_read_input_tokens),
            ("cache_creation", usage.cache_creation_input_tokens),
        ):
            if tokens:
                self._of(self._tokens, type).inc(tokens)

    def added(self, seconds: float) -> None:
        """Take the time that was added to a reply's first byte."""
        self._added.observe(seconds)

    def timed(self, stage: str) -> _Timer:
        """Take the time of a stage, for the length of a `with` block."""
        return _Timer(self._of(self._stages, stage))

    def _of(self, metric: _Metric, *labels: str) -> _Metric:
        """The metric with some labels; to find it is most of what counting costs."""
        found = self._children.get((metric, labels))
        if found is None:
            found = self._children[metric, labels] = metric.labels(*labels)
        return found  # type: ignore[return-value]

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric over all that has these labels: `calls_total`, `tokens_total`."""
        return sum(
            sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == f"callerid_{name}" and labels.items() <= sample.labels.items()
        )

    def by(self, name: str, label: str) -> dict[str, int]:
        """The sums of a metric by one of its labels."""
        found: dict[str, int] = {}
        for metric in self.registry.collect():
            for sample in metric.samples:
                if sample.name == f"callerid_{name}":
                    word = sample.labels[label]
                    found[word] = found.get(word, 0) + int(sample.value)
        return found

    def mean_ms(self, name: str, **labels: str) -> float:
        """The mean of a time in milliseconds; 0 where there was none yet."""
        count = self.total(f"{name}_count", **labels)
        return 1000 * self.total(f"{name}_sum", **labels) / count if count else 0.0

    @property
    def likened(self) -> int:
        """How many calls were recognised by likeness."""
        return int(self.total("calls_total", because=Because.LIKENESS))


class _Each(Collector):
    """Gauges of somebody else's, told apart by a label."""

    def __init__(
        self, name: str, words: str, label: str, values: Callable[[], Mapping[str, float]]
    ) -> None:
        self._name, self._words, self._label, self._values = name, words, label, values

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The values as they are now."""
        family = GaugeMetricFamily(self._name, self._words, labels=[self._label])
        for word, value in self._values().items():
            family.add_metric([word], value)
        yield family


class _Trouble(Collector):
    """What the guard has counted."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The counts by kind, as they are now."""
        family = CounterMetricFamily("callerid_trouble", "What went wrong", labels=["kind"])
        for kind, count in list(self._counts.items()):
            family.add_metric([kind], count)
        yield family
