"""What the attributes of spans have in common, whichever conventions name them."""

from __future__ import annotations

from callerid.archive.calls import CallFacts
from callerid.traces import bodies
from callerid.wire import wirejson

Value = str | bool | int | float | list[str]
Attributes = dict[str, Value]

# Where dialects write a setting of the model, by what OpenTelemetry calls it.
_PLACES: dict[str, tuple[str, ...]] = {
    "max_tokens": (
        "max_tokens", "max_completion_tokens", "max_output_tokens",
        "generationConfig.maxOutputTokens", "inferenceConfig.maxTokens", "options.num_predict",
    ),
    "temperature": (
        "temperature", "generationConfig.temperature", "inferenceConfig.temperature",
        "options.temperature",
    ),
    "top_p": ("top_p", "p", "generationConfig.topP", "inferenceConfig.topP", "options.top_p"),
    "top_k": ("top_k", "k", "generationConfig.topK", "options.top_k"),
    "frequency_penalty": (
        "frequency_penalty", "generationConfig.frequencyPenalty", "options.frequency_penalty",
    ),
    "presence_penalty": (
        "presence_penalty", "generationConfig.presencePenalty", "options.presence_penalty",
    ),
    "seed": ("seed", "generationConfig.seed", "options.seed"),
    "choice.count": ("n", "num_generations", "generationConfig.candidateCount"),
    "stop_sequences": (
        "stop_sequences", "stop", "generationConfig.stopSequences",
        "inferenceConfig.stopSequences", "options.stop",
    ),
}  # fmt: skip
_HEADS = frozenset(place.partition(".")[0] for places in _PLACES.values() for place in places)
_FLOATS = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty")


def settings(facts: CallFacts) -> Attributes:
    """The settings of the model that a request asks for, by OpenTelemetry's names."""
    members = {
        name.removeprefix("request."): wirejson.decode_or_text(raw)
        for name, raw in bodies.pairs(facts.members)
        if name.removeprefix("request.") in _HEADS
    }
    found: Attributes = {}
    for name, places in _PLACES.items():
        said = (_plain(wirejson.at(members, *place.split("."))) for place in places)
        value = next((one for one in said if one is not None), None)
        if value is not None:
            is_number = isinstance(value, int) and not isinstance(value, bool)
            found[name] = float(value) if name in _FLOATS and is_number else value  # type: ignore[arg-type]
    return found


def _plain(value: object) -> Value | None:
    """A value as an attribute can have it: a number, or texts."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for text in value if isinstance(text, str)]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_small = isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 64)
    return value if is_number and is_small else None  # type: ignore[return-value]


def ours(facts: CallFacts) -> Attributes:
    """What only callerid knows of a call, without what was said."""
    return known({
        "callerid.call.id": facts.id,
        "callerid.kind": facts.kind,
        "callerid.state": facts.state,
        "callerid.because": facts.because,
        "callerid.confidence": facts.confidence,
        "callerid.cost.usd": facts.cost_usd,
        "callerid.client.name": facts.client,
        # The client's own name for the call, by which it is found in its logs.
        "http.request.header.x-request-id": facts.header("x-request-id"),
        **family(facts),
    })  # fmt: skip


def family(facts: CallFacts) -> dict[str, Value | None]:
    """How the session of a call stands to others."""
    return {
        "callerid.session.parent_id": facts.parent_session_id,
        "callerid.session.relation": facts.relation,
    }


def known(attributes: dict[str, Value | None]) -> Attributes:
    """Attributes without those that are unknown."""
    return {name: value for name, value in attributes.items() if value is not None and value != ""}
