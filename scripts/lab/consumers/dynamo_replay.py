"""Runs inside Dynamo's own environment: replays a request trace, and prints what came of it.

    python -I dynamo_replay.py TRACE.jsonl

-I, because the module beside it that plays Dynamo has its package's name.
"""

import json
import sys

from dynamo.replay import run_trace_replay


def main() -> None:
    report = run_trace_replay(
        [sys.argv[1]], trace_format="dynamo", execution_model="mock", num_workers=2,
        router_mode="kv_router", capture_per_request=True,
    )  # fmt: skip
    requests = [
        {"id": one["request_id"], "session": one["session_id"]} for one in report.per_request
    ]
    print(json.dumps({"summary": report.summary, "requests": requests}, default=str))


if __name__ == "__main__":
    main()
