"""config/compose.yaml fits together, and with what callerid knows; no container is started here."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import yaml
from click.testing import CliRunner

from callerid import files
from callerid.commands.cli import cli
from callerid.settings.load import load
from callerid.settings.values import AdminSettings

FOLDER = files.CONFIG / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((files.CONFIG / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
SETTINGS = load(str(FOLDER / "callerid.yaml")).settings
PROXIES = {name for name in SERVICES if name.startswith("proxy-")}


def mounts() -> list[tuple[str, str, str]]:
    """Each volume of each service: the service, what is mounted, and where."""
    return [
        (name, *volume.split(":")[:2])
        for name, service in SERVICES.items()
        for volume in service.get("volumes", ())
    ]


def test_every_file_and_volume_that_is_mounted_is_there() -> None:
    for name, what, _ in mounts():
        if what.startswith("."):
            assert (files.CONFIG / what).is_file(), (name, what)
        else:
            assert what in COMPOSE["volumes"], (name, what)
    used = {what for _, what, _ in mounts() if not what.startswith(".")}
    assert used == set(COMPOSE["volumes"])


def test_every_service_is_an_image_of_a_known_version_or_built_here() -> None:
    for name, service in SERVICES.items():
        if "build" in service:
            assert (files.CONFIG / service["build"]["context"] / "pyproject.toml").is_file()
            dockerfile = files.CONFIG / service["build"]["context"] / service["build"]["dockerfile"]
            assert dockerfile.is_file()
        else:
            _, _, version = service["image"].partition(":")
            assert re.match(r"v?\d", version), f"{name}: {service['image']}"


def test_services_wait_for_services_that_are_there() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= set(SERVICES), name


def test_the_proxies_share_sessions_budgets_and_the_collector_by_the_names_of_services() -> None:
    kept = SETTINGS.session.persistence

    assert (kept.enabled, kept.backend, kept.is_shared) == (True, "redis", True)
    for url in (kept.connection, SETTINGS.rate_limiting.storage, SETTINGS.export.otlp.endpoint):
        assert urlsplit(url).hostname in SERVICES
    collector = yaml.safe_load((FOLDER / "collector.yaml").read_text("utf-8"))
    listens = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert listens.endswith(f":{urlsplit(SETTINGS.export.otlp.endpoint).port}")
    assert set(collector["service"]["pipelines"]["traces"]["exporters"]) <= set(
        collector["exporters"]
    )


def test_redis_is_bounded_by_itself_and_not_to_be_reached_from_elsewhere() -> None:
    redis = SERVICES["redis"]
    words = dict(zip(redis["command"], redis["command"][1:], strict=False))

    assert words["--maxmemory"]
    assert words["--maxmemory-policy"] == "allkeys-lru"
    assert "ports" not in redis


def test_what_is_open_to_the_outside_is_open_to_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_balancer_and_prometheus_know_every_proxy() -> None:
    nginx = (FOLDER / "nginx.conf").read_text("utf-8")
    scraped = yaml.safe_load((FOLDER / "prometheus.yaml").read_text("utf-8"))["scrape_configs"][0]

    assert set(re.findall(r"server (proxy-\d+):8080;", nginx)) == PROXIES
    assert "proxy_buffering off;" in nginx
    targets = scraped["static_configs"][0]["targets"]
    assert set(targets) == {f"{name}:{AdminSettings().port}" for name in PROXIES}
    assert scraped["authorization"]["credentials"] == SETTINGS.admin.token


def test_the_command_of_the_image_is_one_that_callerid_knows() -> None:
    said = (FOLDER / "Dockerfile").read_text("utf-8")
    options = set(re.findall(r"(--[a-z-]+) ", said.partition("callerid run")[2]))
    known = CliRunner().invoke(cli, ["run", "--help"]).output

    assert options == {"--listen-host", "--port", "--reverse", "--db", "--config"}
    assert all(option in known for option in options)
    mounted = {where for name, _, where in mounts() if name in PROXIES}
    assert mounted == {"/etc/callerid.yaml", "/traces"}
    assert all(path in said for path in mounted)
