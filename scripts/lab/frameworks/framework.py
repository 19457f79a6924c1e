"""The table of frameworks: their packages, pinned, and the scenarios that are written for them."""

from __future__ import annotations

from typing import NamedTuple

QUICK = ("openai-agents", "pydantic-ai-slim", "smolagents")


class Framework(NamedTuple):
    """A framework at the version of its first package; each scenario is a file in scenarios/."""

    packages: tuple[str, ...]
    scenarios: tuple[str, ...]
    registry: str = "PyPI"

    @property
    def name(self) -> str:
        return self._first[0]

    @property
    def version(self) -> str:
        return self._first[1]

    @property
    def folder(self) -> str:
        """The folder's name in the cache; a framework may be on both registries."""
        where = "" if self.registry == "PyPI" else "-on-node"
        return f"{self.name.replace('/', '-').lstrip('@')}{where}@{self.version}"

    @property
    def _first(self) -> tuple[str, str]:
        separator = "==" if self.registry == "PyPI" else "@"
        name, _, version = self.packages[0].rpartition(separator)
        return name.partition("[")[0], version


FRAMEWORKS = (
    Framework(("smolagents[openai]==1.26.0",), ("smolagents_managed.py", "smolagents_planning.py")),
    Framework(
        ("openai-agents==0.24.0",),
        ("openai_agents_tools.py", "openai_agents_handoffs.py"),
    ),
    Framework(
        ("pydantic-ai-slim[openai,anthropic]==2.68.0",),
        ("pydantic_ai_delegation.py", "pydantic_ai_responses.py"),
    ),
    Framework(
        (
            "langgraph==1.2.22",
            "langchain==1.4.7",
            "langchain-openai==1.7.3",
            "langgraph-supervisor==0.0.31",
            "langgraph-swarm==0.1.0",
        ),
        (
            "langgraph_react.py",
            "langgraph_responses.py",
            "langgraph_experts.py",
            "langgraph_handoffs.py",
        ),
    ),
    Framework(
        ("deepagents==0.7.32", "langchain-openai==1.7.3", "langchain-anthropic==1.7.7"),
        ("deepagents_critic.py",),
    ),
    Framework(
        ("autogen-agentchat==0.7.5", "autogen-ext[openai]==0.7.5"),
        ("autogen_round_robin.py", "autogen_selector.py"),
    ),
    Framework(("strands-agents[openai,anthropic]==1.62.0",), ("strands_tools.py",)),
    Framework(("agno==3.1.10", "openai==3.54.0"), ("agno_team.py",)),
    Framework(("crewai==1.15.30",), ("crewai_sequential.py", "crewai_hierarchical.py")),
    Framework(
        ("llama-index-core==0.14.25", "llama-index-llms-openai-like==0.8.1"),
        ("llama_index_workflow.py",),
    ),
    Framework(
        ("google-adk==2.13.0", "litellm==1.97.0", "mcp<1.20"),
        ("google_adk_tools.py", "google_adk_transfer.py"),
    ),
    Framework(("mini-swe-agent==2.4.6",), ("mini_swe_shell.py",)),
    Framework(
        ("qwen-agent[gui,mcp]==0.0.34", "soundfile", "python-dateutil"),
        ("qwen_agent_assistant.py",),
    ),
    Framework(("semantic-kernel==1.45.0",), ("semantic_kernel_plugins.py",)),
    Framework(("haystack-ai==3.4.0",), ("haystack_agents.py",)),
    Framework(("instructor==1.17.0",), ("instructor_retries.py",)),
    Framework(("dspy==3.4.1",), ("dspy_react.py",)),
    Framework(("google-genai==2.34.0",), ("google_genai_chats.py",)),
    Framework(
        (
            "ai@6.0.326",
            "@ai-sdk/openai@3.0.141",
            "@ai-sdk/openai-compatible@2.0.87",
            "zod@4.6.7",
        ),
        ("ai_sdk_compatible.mjs", "ai_sdk_responses.mjs"),
        "npm",
    ),
    Framework(("@openai/agents@0.20.0", "zod@4.6.7"), ("openai_agents_js.mjs",), "npm"),
    Framework(
        ("langchain@1.5.14", "@langchain/openai@1.5.8", "@langchain/langgraph@1.7.3", "zod@4.6.7"),
        ("langchain_js.mjs",),
        "npm",
    ),
)
