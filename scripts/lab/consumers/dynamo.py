"""NVIDIA Dynamo: its frontend and mock workers, and what its request trace says of sessions."""

from __future__ import annotations

import json
from pathlib import Path

from lab.consumers.consumer import DYNAMO, Logged, Round
from lab.consumers.play import Stage, whole_lines
from lab.consumers.server import Server, free_port
from lab.consumers.talks import MODEL, Line
from lab.consumers.tinymodel import write_model

_WORKERS = 4
# With a time to live, the calls of a session go to one worker; without, by chance alone.
_FRONTEND = ("--router-mode", "random", "--router-session-affinity-ttl-secs", "60")
_LONGEST = 256  # bytes of an id: MAX_SESSION_AFFINITY_ID_BYTES in lib/llm/src/session_affinity
_KEY, _OTHER_KEY = "sk-lab-0123456789", "sk-lab-9876543210"


def play(programs: Path, folder: Path) -> list[Round]:
    """Play all rounds with the programs of that folder; files go to `folder`."""
    write_model(folder / "model")
    port = free_port()
    trace = folder / "request-trace.jsonl"
    env = _environment(folder, trace)
    python = str(programs / "python")
    mocker = [python, "-m", "dynamo.mocker", "--model-path", str(folder / "model"),
              "--model-name", MODEL, "--num-workers", str(_WORKERS),
              "--kv-bytes-per-token", "1024", "--speedup-ratio", "10"]  # fmt: skip
    frontend = [python, "-m", "dynamo.frontend", "--http-host", "127.0.0.1",
                "--http-port", str(port), *_FRONTEND]  # fmt: skip
    stage = Stage(DYNAMO, port, _KEY, lambda: read_trace(trace), folder)
    with (
        Server(mocker, env, folder / "mocker.log"),
        Server(frontend, env, folder / "frontend.log") as server,
    ):
        server.wait_for(f"http://127.0.0.1:{port}/v1/models", MODEL)
        with stage.round("dynamo, final: true", profile="dynamo", marks=True) as line:
            _family(line)
        with stage.round("dynamo", profile="dynamo") as line:
            _family(line)
        with stage.round("dynamo, long ids", profile="dynamo") as line:
            _long_ids(line)
    return stage.rounds


def _environment(folder: Path, trace: Path) -> dict[str, str]:
    """All by files and sockets of this machine: no etcd, no NATS, no hub of models."""
    return {
        "HF_HUB_OFFLINE": "1",
        "DYN_DISCOVERY_BACKEND": "file",
        "DYN_FILE_KV": str(folder / "discovery"),
        "DYN_REQUEST_PLANE": "tcp",
        "DYN_EVENT_PLANE": "zmq",
        "DYN_REQUEST_TRACE": "1",
        "DYN_REQUEST_TRACE_SINKS": "file",
        "DYN_REQUEST_TRACE_FILE_FORMAT": "jsonl",
        "DYN_REQUEST_TRACE_FILE_PATH": str(trace),
        "DYN_REQUEST_TRACE_FILE_FLUSH_INTERVAL_MS": "50",
    }


def _family(line: Line) -> None:
    """A main session of three turns, its helper, and a stranger who opens with the same words."""
    main, stranger = line.talk("main"), line.talk("stranger")
    main.say("When is the highest tide of the year?")
    stranger.say("When is the highest tide of the year?")
    main.say("And the lowest?", streams=True)
    helper = line.talk(
        "helper",
        "main",
        x_callerid_session_id="helper-of-main",
        x_callerid_parent_session_id=main.session,
    )
    helper.say("Read the almanac of 2026.")
    helper.say("Read on.", is_final=True)
    main.say("Thank you.", is_final=True)


def _long_ids(line: Line) -> None:
    """Ids at the bound and beyond it, which Dynamo refuses where affinity is on."""
    longest = "s" * _LONGEST
    fits = line.talk("fits", x_callerid_session_id=longest)
    fits.say("Hello, my id is as long as can be.")
    other = line.talk("other", x_callerid_session_id=longest, authorization=f"Bearer {_OTHER_KEY}")
    other.say("Hello, with another key the same id is mine, and no longer than it was.")
    longer = line.talk("longer", x_callerid_session_id=longest + "s")
    longer.say("Hello, my id counts as none.")
    longer.say("Who am I?")
    run = {"x_switchyard_session_id": "r" * 200}
    first = line.talk("first", **run)
    first.say("Hello, I am a run's first chain.")
    chain = line.talk("chain", "first", x_switchyard_agent_id="a" * 100, **run)
    chain.say("Hello, my id is the run's with mine: too long to be sent.", is_untold=True)
    own = line.talk("own", x_dynamo_session_id=longest + "s")
    own.say("Hello, I told Dynamo myself, and what I said is kept.", is_refused=True)


def read_trace(trace: Path) -> dict[str, Logged]:
    """What a request trace (schema dynamo.request.trace.v1) says of each call, by its name."""
    found = {}
    for line in whole_lines(trace):
        event = json.loads(line)["event"]
        # Where no session was told, 1.6.1 leaves the name out too.
        request, context = event["request"], event.get("agent_context", {})
        found[request.get("x_request_id", "")] = Logged(
            session=context.get("session_id", ""),
            parent=context.get("parent_session_id", ""),
            final=context.get("session_final", False),
            worker=str(request["worker"]["decode_worker_id"]),
        )
    return found
