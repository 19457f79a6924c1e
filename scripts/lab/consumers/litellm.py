"""LiteLLM's proxy before the fake provider, and what it logs of sessions and agents."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path

from lab import Answer, Asked, FakeProvider, ToolCall, newest_text, tool_results
from lab.consumers.consumer import LITELLM, Logged, Round
from lab.consumers.play import Stage, whole_lines
from lab.consumers.server import Server, free_port
from lab.consumers.talks import MODEL, TOOL, Line

_ERRAND = "Read page {} of the almanac and report the highest spring tide at Saint-Malo, in metres."
_LOGGER = Path(__file__).with_name("litellm_logger.py")


def play(programs: Path, folder: Path) -> list[Round]:
    """Play all rounds with the programs of that folder; files go to `folder`."""
    log = folder / "log.jsonl"
    key = f"sk-{secrets.token_hex(24)}"  # it starts with none that can be guessed
    env = {
        "CALLERID_LOG": str(log),
        "LITELLM_MASTER_KEY": key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    shutil.copy(_LOGGER, folder)
    port = free_port()
    command = [str(programs / "litellm"), "--config", str(folder / "config.yaml"),
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    stage = Stage(LITELLM, port, key, lambda: read_log(log), folder, has_tools=True)
    with FakeProvider(_answer, tls=False) as provider:
        (folder / "config.yaml").write_text(json.dumps(_config(provider.port)))
        with Server(command, env, folder / "litellm.log") as server:
            server.wait_for(f"http://127.0.0.1:{port}/health/liveliness", "alive")
            with stage.round("litellm", profile="litellm") as line:
                _family(line)
            # LiteLLM takes the first header like x-*-session-id, and the parent's is like it too.
            with stage.round("callerid, unasked", logs=frozenset({"session"})) as line:
                _family(line)
    return stage.rounds


def _config(provider_port: int) -> dict[str, object]:
    upstream = {
        "model": f"openai/{MODEL}",
        "api_base": f"http://127.0.0.1:{provider_port}/v1",
        "api_key": "sk-lab",
    }
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": upstream}],
        "litellm_settings": {"callbacks": f"{_LOGGER.stem}.logger"},
    }


def _answer(asked: Asked) -> Answer:
    """Sends a helper for tides; never says the same twice."""
    if results := tool_results(asked):
        return Answer(f"I was told ({asked.serial}): {results[0]}")
    text = newest_text(asked)
    if "highest tide" in text:
        errand = _ERRAND.format(asked.serial)
        return Answer(f"I have it read ({asked.serial}).", (ToolCall(TOOL, {"task": errand}),))
    return Answer(f"About that I can say ({asked.serial}): it depends.")


def _family(line: Line) -> None:
    """A main session, its helper, and a stranger who opens as it does; nobody declares anything."""
    main, stranger = line.talk("main"), line.talk("stranger")
    main.say("When is the highest tide of the year?")
    stranger.say("When is the highest tide of the year?")
    helper = line.talk("helper", "main")
    helper.say(main.errand())
    helper.say("Are you sure?", streams=True)
    main.give("13.2 m, I am sure.")
    main.say("Thank you.", streams=True)


def read_log(log: Path) -> dict[str, Logged]:
    """What the logger wrote of each call, by its name."""
    found = {}
    for line in whole_lines(log):
        said = json.loads(line)
        found[said["name"]] = Logged(session=said["session"], agent=said["agent"])
    return found
