"""The pages for operators: the figures are true, and only who may see them does."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from callerid.numbers import Numbers
from callerid.operators.access import Asked
from callerid.operators.pages import Pages, Status
from callerid.operators.server import Server
from callerid.settings.checked import BadSetting
from callerid.settings.load import load
from callerid.settings.values import Settings
from callerid.turn import Because, Identity, Usage
from lab import FakeProvider, Proxy

CALL = Identity("sess_1", "agent_1", "sess_1", Because.LIKENESS, 0.8, "alike")
UPSTREAMS = {"http://gpu-1:8000": (True, 3), "http://gpu-2:8000": (False, 0)}
STATUS = Status("/t.db", queued=3, dropped=2, uptime_seconds=1.0, upstreams=UPSTREAMS)
LOCAL = Asked("/metrics", "127.0.0.1:8082")


@pytest.fixture
def numbers() -> Numbers:
    return Numbers({"dropped": 2})


def pages(numbers: Numbers, **admin: Any) -> Pages:
    settings = msgspec.convert({"admin": admin}, Settings)
    return Pages(settings, numbers, lambda: (2, 9, 7), lambda: STATUS)


def read(page: Any) -> Any:
    assert page.status == 200, page
    return json.loads(page.body)


def test_metrics_have_the_shape_of_cylestios_gateway(numbers: Numbers) -> None:
    numbers.identified(CALL, is_known=True)
    numbers.identified(CALL, is_known=False)
    numbers.ended("ok", Usage(input_tokens=11, output_tokens=5))
    with numbers.timed("identify"):
        pass

    figures = read(pages(numbers).answer(LOCAL))

    assert figures["sessions"] == {
        "active_count": 2, "total_created": 1, "cache_hit_rate": 0.5, "fuzzy_matches": 2,
        "average_session_length": 4.5, "longest_session": 7,
    }  # fmt: skip
    assert figures["performance"].keys() >= {"session_lookup_ms", "hash_computation_ms"}
    assert 0 <= figures["performance"]["session_lookup_ms"] < 1000
    assert figures["calls"]["by_because"] == {"likeness": 2}
    assert figures["calls"]["by_state"] == {"ok": 1}
    assert figures["tokens"] == {"input": 11, "output": 5}
    assert figures["recording"] == {"queued": 3, "dropped": 2}
    assert figures["trouble"] == {"dropped": 2}
    assert figures["upstreams"]["http://gpu-2:8000"] == {"well": False, "sessions": 0}


def test_nothing_has_happened_yet(numbers: Numbers) -> None:
    figures = read(pages(numbers).answer(LOCAL))

    assert figures["sessions"]["cache_hit_rate"] == 0.0
    assert figures["performance"]["session_lookup_ms"] == 0.0


@pytest.mark.parametrize(
    "asked",
    [
        LOCAL._replace(path="/metrics?format=prometheus"),
        LOCAL._replace(accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5"),
        LOCAL._replace(accept="text/plain;version=0.0.4"),
    ],
)
def test_prometheus_gets_its_own_format_without_an_id(numbers: Numbers, asked: Asked) -> None:
    numbers.identified(CALL, is_known=False)
    numbers.watch("queued_records", "Records that wait", lambda: 3)
    numbers.added(0.0004)

    page = pages(numbers).answer(asked)
    text = page.body.decode()

    assert "json" not in page.content_type
    assert 'callerid_calls_total{because="likeness",kind="main"} 1.0' in text
    assert "callerid_queued_records 3.0" in text
    assert "callerid_trouble_total" in text
    assert "sess_1" not in text
    assert "agent_1" not in text
    if "openmetrics" not in page.content_type:
        assert all(f.name.startswith("callerid_") for f in text_string_to_metric_families(text))


def test_config_shows_every_setting_and_no_secret(numbers: Numbers) -> None:
    shown = read(pages(numbers, token="s3cret").answer(LOCAL._replace(path="/config?token=s3cret")))

    assert shown["session"]["enabled"] is True
    assert shown["admin"]["token"] == "***"
    assert "s3cret" not in json.dumps(shown)
    shared = msgspec.convert({"rate_limiting": {"storage": "redis://u:pw@box:6379/0"}}, Settings)
    page = Pages(shared, numbers, lambda: (0, 0, 0), lambda: STATUS).answer(
        LOCAL._replace(path="/config")
    )
    assert read(page)["rate_limiting"]["storage"] == "redis://***@box:6379/0"
    assert read(pages(numbers).answer(LOCAL._replace(path="/config")))["admin"]["token"] == ""


def test_health_says_when_records_are_lost(numbers: Numbers) -> None:
    assert read(pages(numbers).answer(LOCAL._replace(path="/health")))["status"] == "degraded"


@pytest.mark.parametrize(
    ("asked", "admin", "status"),
    [
        (LOCAL, {}, 200),
        (LOCAL._replace(host="localhost:3000"), {}, 200),
        (LOCAL._replace(host="[::1]:8082"), {}, 200),
        (LOCAL._replace(host="evil.example"), {}, 403),
        (LOCAL._replace(host=""), {}, 403),
        (LOCAL._replace(host="callerid.local"), {"magic_host": "callerid.local"}, 200),
        (LOCAL._replace(is_local=False), {}, 403),
        (LOCAL, {"token": "t"}, 403),
        (LOCAL._replace(authorization="Bearer t", is_local=False, host="box"), {"token": "t"}, 200),
        (LOCAL._replace(path="/metrics?token=t", is_local=False), {"token": "t"}, 200),
        (LOCAL._replace(path="/metrics?token=u"), {"token": "t"}, 403),
        (LOCAL._replace(path="/other"), {}, 404),
    ],
)
def test_only_this_machine_or_who_has_the_token_may_see_them(
    numbers: Numbers, asked: Asked, admin: dict[str, Any], status: int
) -> None:
    assert pages(numbers, **admin).answer(asked).status == status


def test_other_machines_are_let_in_with_a_token_only(tmp_path: Path) -> None:
    settings = tmp_path / "s.yaml"
    settings.write_text("admin: {host: 0.0.0.0}")

    with pytest.raises(BadSetting, match=r"admin\.host = '0\.0\.0\.0', but without admin\.token"):
        load(str(settings))
    settings.write_text("admin: {host: 0.0.0.0, token: t}")
    assert load(str(settings)).settings.admin.token == "t"


def test_a_port_of_its_own(numbers: Numbers) -> None:
    server = Server(pages(numbers), "127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{server.port}"
        with httpx.Client(trust_env=False) as client:
            assert client.get(f"{url}/metrics").json()["sessions"]["active_count"] == 2
            assert client.get(f"{url}/health", headers={"host": "evil"}).status_code == 403
            assert client.post(f"{url}/config").status_code == 405
        with pytest.raises(OSError, match="in use"):
            Server(pages(numbers), "127.0.0.1", server.port)
    finally:
        server.close()


# In the proxy


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(tls=False) as provider:
        yield provider


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_in_reverse_mode_they_answer_at_the_proxys_port_and_agree_with_the_traces(
    addon_script: Path, tmp_path: Path, provider: FakeProvider
) -> None:
    path, port = tmp_path / "traces.db", free_port()
    (tmp_path / "s.yaml").write_text(f"admin: {{port: {port}}}")
    options: dict[str, str | list[str]] = {
        "callerid_db": str(path), "callerid_config": str(tmp_path / "s.yaml"),
    }  # fmt: skip
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    with (
        Proxy(addon_script, mode=f"reverse:{provider.url}", options=options) as proxy,
        httpx.Client(trust_env=False) as client,
    ):
        here = f"http://127.0.0.1:{proxy.port}"
        for _ in range(3):
            assert client.post(f"{here}/v1/messages", json=body).status_code == 200
        figures = client.get(f"{here}/metrics").json()
        beside = client.get(f"http://127.0.0.1:{port}/metrics").json()
        enabled = client.get(f"{here}/config").json()["session"]["enabled"]
        health = client.get(f"{here}/health").json()
        browser = client.get(f"{here}/metrics", headers={"user-agent": "Mozilla/5.0"})

    with closing(sqlite3.connect(path)) as database:
        ((calls,),) = database.execute("select count(*) from calls").fetchall()
        ((sessions,),) = database.execute("select count(*) from sessions").fetchall()
    assert figures["calls"]["total"] == beside["calls"]["total"] == calls == 3
    assert figures["sessions"]["total_created"] == sessions
    assert figures["calls"]["by_state"] == {"ok": 3}
    assert figures["performance"]["first_byte_added_ms"] > 0
    assert enabled is True
    assert health["status"] == "ok"
    assert browser.status_code == 403


def test_a_client_cannot_reach_them_through_the_proxy_unless_a_host_is_named_for_it(
    addon_script: Path, tmp_path: Path
) -> None:
    port = free_port()
    settings = tmp_path / "s.yaml"
    options: dict[str, str | list[str]] = {
        "callerid_db": str(tmp_path / "traces.db"), "callerid_config": str(settings),
    }  # fmt: skip

    def ask(url: str) -> int:
        with (
            Proxy(addon_script, options=options) as proxy,
            httpx.Client(proxy=f"http://127.0.0.1:{proxy.port}", trust_env=False) as client,
        ):
            return client.get(url).status_code

    settings.write_text(f"admin: {{port: {port}}}")
    assert ask(f"http://127.0.0.1:{port}/metrics") == 502
    settings.write_text(f"admin: {{port: {port}, magic_host: callerid.local}}")
    assert ask("http://callerid.local/metrics") == 200


def test_a_port_that_is_taken_costs_the_pages_only(addon_script: Path, tmp_path: Path) -> None:
    settings = tmp_path / "s.yaml"
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings.write_text(f"admin: {{port: {other.getsockname()[1]}}}")
        options: dict[str, str | list[str]] = {
            "callerid_db": str(tmp_path / "traces.db"), "callerid_config": str(settings),
        }  # fmt: skip
        with Proxy(addon_script, options=options) as proxy:
            proxy.stop()
            assert "no explorer and no metrics: 127.0.0.1 port" in proxy.log
            assert "`admin: {port: 0}`" in proxy.log


# What ships with them

CONFIG = Path(__file__).parents[1] / "config"


def test_the_dashboard_asks_only_for_what_is_counted(numbers: Numbers) -> None:
    numbers.identified(CALL, is_known=True)
    numbers.identified(CALL, is_known=False)
    numbers.ended("ok", Usage(input_tokens=1))
    numbers.watch("sessions_active", "Sessions remembered", lambda: 1)
    numbers.watch("queued_records", "Records that wait", lambda: 1)
    with numbers.timed("parse"):
        numbers.added(0.001)

    dashboard = json.loads((CONFIG / "grafana.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"callerid_\w+", target["expr"])
    }

    counted = {sample.name for metric in numbers.registry.collect() for sample in metric.samples}
    assert asked
    assert asked <= counted


def test_the_scrape_job_leads_to_the_default_port() -> None:
    (job,) = yaml.safe_load((CONFIG / "prometheus.yml").read_text())["scrape_configs"]

    assert job["static_configs"] == [{"targets": ["127.0.0.1:8082"]}]
    assert job["metrics_path"] == "/metrics"
    assert (Settings().admin.host, Settings().admin.port) == ("127.0.0.1", 8082)
