"""mini-swe-agent: one agent that writes shell commands as text, and is told what came of them."""

from pathlib import Path

import minisweagent
import yaml
from minisweagent.agents.default import DefaultAgent
from minisweagent.environments.local import LocalEnvironment
from minisweagent.models.litellm_textbased_model import LitellmTextbasedModel
from talk import KEY, MAIN, MODEL, TASKS, at, side_by_side

CONFIG = Path(minisweagent.package_dir) / "config" / "mini_textbased.yaml"
if not CONFIG.exists():
    CONFIG = CONFIG.with_name("default.yaml")
SETTINGS = yaml.safe_load(CONFIG.read_text())["agent"]


def converse(number: int) -> None:
    model = LitellmTextbasedModel(
        model_name=f"openai/{MODEL}",
        model_kwargs={"api_base": at(number, MAIN, "engineer", steps=3), "api_key": KEY},
        cost_tracking="ignore_errors",
    )
    DefaultAgent(model, LocalEnvironment(), **SETTINGS).run(TASKS[number])


side_by_side(converse)
