"""The files for containers name what there is: commands, settings, paths and one another. That needs no engine."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands, load_command_class
from django.urls import resolve

from chat.conf import Conf, read
from tests.server import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
DOCKERFILE = (ROOT / "Dockerfile").read_text()
# What `serve` reads beside the settings.
OF_SERVE = {"ADMIN_PASSWORD", "HOST", "PORT"}


def filled(text: str) -> str:
    """With the defaults of what the environment may say."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)


def environment(name: str) -> dict[str, str]:
    return {key: filled(value) for key, value in SERVICES[name]["environment"].items()}


def parses(words: list[str]) -> bool:
    """Whether a command of the site takes these words."""
    python, manage, command, *options = words
    assert (python, manage) == ("python", "manage.py")
    made = load_command_class(get_commands()[command], command)
    assert made.create_parser("manage.py", command).parse_args(options)
    return True


def test_there_are_web_processes_and_workers_and_what_they_need() -> None:
    assert OURS == ["migrate", "web", "worker"]
    assert {"postgres", "redis"} <= SERVICES.keys()
    assert SERVICES["web"]["deploy"]["replicas"] >= 2
    assert SERVICES["worker"]["deploy"]["replicas"] >= 2


@pytest.mark.parametrize("name", OURS)
def test_a_container_of_ours_runs_a_command_that_there_is(name: str) -> None:
    assert parses(SERVICES[name]["command"])
    assert SERVICES[name]["command"][2] == {"web": "serve"}.get(name, name)


@pytest.mark.parametrize("name", OURS)
def test_its_settings_are_those_of_a_site_with_workers(name: str, tmp_path: Path) -> None:
    given = environment(name)
    assert given.keys() <= {field.name.upper() for field in fields(Conf)} | OF_SERVE
    assert read(tmp_path, given).uses_workers
    assert given["DATABASE_URL"] == environment("web")["DATABASE_URL"]
    assert environment("postgres")["POSTGRES_PASSWORD"] in given["DATABASE_URL"]


@pytest.mark.parametrize("name", OURS)
def test_all_of_ours_share_the_folder_that_the_site_writes_to(name: str) -> None:
    place = re.findall(r"^WORKDIR (\S+)$", DOCKERFILE, re.MULTILINE)[-1]
    assert f"var:{place}/var" in SERVICES[name]["volumes"]


def test_what_services_name_is_there() -> None:
    volumes = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert volumes == COMPOSE["volumes"].keys()
    for name, service in SERVICES.items():
        for other, wanted in service.get("depends_on", {}).items():
            assert other != name
            is_healthy = wanted["condition"] == "service_healthy"
            assert is_healthy == ("healthcheck" in SERVICES[other]), f"{name} waits for {other} in vain"
    assert SERVICES["proxy"]["command"][-1] == "web:8000"


def test_only_the_proxy_is_reached_from_outside_and_it_is_counted() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    assert environment("web")["AGENT_PROXIES"] == "1"


@pytest.mark.parametrize("name", ["web", "worker"])
def test_whether_it_is_well_is_asked_at_a_path_that_there_is(name: str) -> None:
    kind, *words = SERVICES[name]["healthcheck"]["test"]
    found = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", words[-1])
    assert found
    assert (kind, words[:2]) == ("CMD", ["python", "-c"])
    assert compile(words[-1], name, "exec")
    if name == "worker":
        assert found.groups() == (environment(name)["AGENT_METRICS_PORT"], "/metrics")
    else:
        assert found[1] == SERVICES[name]["command"][-1]
        assert resolve(found[2])


@pytest.mark.parametrize("name", ["web", "worker"])
def test_it_has_the_time_to_end_its_answers(name: str) -> None:
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > 2 * Conf().agent_drain_timeout_s


def test_only_workers_may_make_namespaces() -> None:
    assert [name for name, service in SERVICES.items() if "security_opt" in service] == ["worker"]
    assert not [name for name, service in SERVICES.items() if "privileged" in service or "cap_add" in service]


def test_the_image_is_made_of_what_there_is_and_runs_as_nobody_in_particular() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists()
            assert source not in ignored
    targets = re.findall(r"make (\S+)", "\n".join(re.findall(r"^RUN (make .+)$", DOCKERFILE, re.MULTILINE)))
    makefile = (ROOT / "Makefile").read_text().replace("$(VENV)", ".venv")
    assert targets
    assert not [target for target in targets if f"\n{target}:" not in makefile]
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE) == ["agentsite"]
    command = re.findall(r"^CMD \[(.+)\]$", DOCKERFILE, re.MULTILINE)[-1]
    assert parses(shlex.split(command.replace(",", " ")))
    oldest = re.findall(r'^requires-python = ">=3\.(\d+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert int(re.findall(r"^FROM python:3\.(\d+)-", DOCKERFILE, re.MULTILINE)[0]) >= int(oldest[0])


def test_nothing_secret_and_nothing_of_one_machine_gets_into_the_image() -> None:
    ignored = set((ROOT / ".dockerignore").read_text().splitlines())
    assert {".env", "var", ".git", ".venv", ".venv-sandbox"} <= ignored
    of_git = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    assert not {line for line in of_git - ignored if f"**/{line}" not in ignored}
