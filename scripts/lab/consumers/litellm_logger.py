"""Runs within LiteLLM: writes down, call by call, what it logs of the session and the agent.

The session is what its standard payload for loggers and its row of the spend log agree on; where
they differ, both are written, and neither is what callerid said.
"""

import json
import os
from typing import Any

from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy.spend_tracking.spend_tracking_utils import get_logging_payload


class Logger(CustomLogger):
    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        payload = kwargs["standard_logging_object"]
        asked = payload["metadata"]["requester_metadata"]
        spend = get_logging_payload(kwargs, response_obj, start_time, end_time)
        said = {
            "name": asked["headers"]["x-request-id"],
            "session": _agreed(payload["trace_id"], asked["session_id"], spend["session_id"]),
            "agent": _agreed(asked.get("agent_id"), spend["agent_id"]),
        }
        with open(os.environ["CALLERID_LOG"], "a") as log:
            log.write(json.dumps(said) + "\n")


def _agreed(*values: str | None) -> str:
    return " or ".join(dict.fromkeys(value or "" for value in values))


logger = Logger()
