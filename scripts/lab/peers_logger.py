"""Runs within LiteLLM: writes down, call by call, which session it logs."""

import json
import os
from typing import Any

from litellm.integrations.custom_logger import CustomLogger


class Logger(CustomLogger):
    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        payload = kwargs["standard_logging_object"]
        asked = payload["metadata"].get("requester_metadata") or {}
        said = {"session": asked.get("session_id") or payload.get("trace_id") or ""}
        with open(os.environ["PEERS_LOG"], "a") as log:
            log.write(json.dumps(said) + "\n")


logger = Logger()
