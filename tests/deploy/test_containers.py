"""Dockerfile, Compose file and Kubernetes manifests: rules that their schemas do not check."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml

from app.config import SETTINGS, ConfigurationError, load
from benchmarks.server import ROOT, started
from tests.celery import is_celery_command

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
SET_ELSEWHERE = {"FLASK_CONFIG", "POSTGRES_PASSWORD"}


def instruction(name):
    """Return the arguments of the last Dockerfile instruction with this name, on one line."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"(?m)^{name} +(.*)$", joined)[-1]


def documents():
    return [
        document
        for path in sorted(KUBERNETES.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]


def pods():
    for document in documents():
        spec = document.get("spec", {})
        if "template" in spec:
            yield document["metadata"]["name"], spec["template"]["spec"]


PODS = dict(pods())


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


class TestImage:
    def test_health_check_detects_a_stopped_server(self):
        command = json.loads(instruction("HEALTHCHECK").partition("CMD ")[2])
        assert command[:2] == ["python", "-c"]

        def check(port):
            environ = os.environ | {"PORT": str(port)}
            process = subprocess.run(
                [sys.executable, *command[1:]], env=environ, capture_output=True, check=False
            )
            return process.returncode

        with started(os.environ.get("TEST_DATABASE_URL")) as server:
            assert check(server.port) == 0
        assert check(server.port) != 0

    def test_image_runs_as_unprivileged_user_and_stops_with_sigterm(self):
        assert instruction("USER") == "10001:10001"
        assert instruction("STOPSIGNAL") == "SIGTERM"

    def test_dockerignore_allows_exactly_the_copied_files(self):
        lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        rules = [line for line in lines if not line.startswith("#")]
        assert rules[0] == "*"
        allowed = {rule[1:] for rule in rules if rule.startswith("!")}
        copied = {
            source
            for line in re.findall(r"(?m)^COPY (?!--)(.*)$", DOCKERFILE)
            for source in line.split()[:-1]
        }
        assert copied == allowed
        assert all((ROOT / name).exists() for name in allowed)

    def test_final_stage_runs_no_build_commands(self):
        final_stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
        assert not re.search(r"(?m)^RUN ", final_stage)


class TestCommands:
    def test_container_commands_exist(self, app, compose):
        containers = [c for pod in PODS.values() for c in pod["containers"]]
        commands = [
            container["command"]
            for container in [*containers, *compose["services"].values()]
            if "task-api:" in container["image"] and "command" in container
        ]
        assert {words[0] for words in commands} == {"flask", "celery"}
        for program, *words in commands:
            if program == "celery":
                assert is_celery_command(words)
            else:
                assert app.test_cli_runner().invoke(args=[*words, "--help"]).exit_code == 0


class TestCompose:
    def test_secrets_have_no_defaults(self, compose):
        text = (DEPLOY / "compose.yaml").read_text()
        variables = re.findall(r"\$\{(\w+)([^}]*)\}", text)
        assert {name for name, rest in variables if not rest.startswith(":?")} == {
            "TASK_API_VERSION"
        }
        template = (DEPLOY / "compose.env.example").read_text()
        values = dict(line.split("=", 1) for line in template.splitlines() if "=" in line[:30])
        assert set(values) == {"PUBLIC_URL", "SECRET_KEY", "JWT_SECRET_KEY", "POSTGRES_PASSWORD"}
        assert set(values.values()) == {""}

    def test_services_are_sandboxed(self, compose):
        services = compose["services"]
        application = {name for name, service in services.items() if "env_file" in service}
        assert application == {"migrate", "api", "worker", "beat"}
        for name in application | {"nginx"}:
            service = services[name]
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]

    def test_only_nginx_publishes_ports(self, compose):
        published = {name for name, service in compose["services"].items() if "ports" in service}
        assert published == {"nginx"}
        for name in ("postgres", "redis"):
            assert compose["services"][name]["networks"] == ["inside"]
        assert compose["networks"]["inside"] == {"internal": True}

    def test_services_wait_for_their_dependencies(self, compose):
        dependencies = compose["services"]["api"]["depends_on"]
        assert dependencies["migrate"] == {"condition": "service_completed_successfully"}
        for name in ("postgres", "redis", "nginx"):
            assert compose["services"][name]["healthcheck"]["test"]

    def test_environment_has_known_settings_only(self, compose):
        known = {setting.name for setting in SETTINGS} | SET_ELSEWHERE
        assert set(compose["services"]["api"]["environment"]) <= known

    def test_mounted_files_exist(self, compose):
        for volume in compose["services"]["nginx"]["volumes"]:
            source = volume.partition(":")[0]
            assert source.startswith("/") or (DEPLOY / source).is_file()


class TestKubernetes:
    @pytest.mark.parametrize("name", sorted(PODS))
    def test_pods_meet_the_restricted_security_standard(self, name):
        pod = PODS[name]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]

    def test_probe_paths_exist(self, client):
        container = PODS["api"]["containers"][0]
        for probe in ("startup", "liveness", "readiness"):
            response = client.get(container[f"{probe}Probe"]["httpGet"]["path"])
            assert (response.status_code, response.json["status"]) == (200, "ok")

    def test_one_beat_and_two_workers_are_deployed(self):
        deployments = {d["metadata"]["name"]: d["spec"] for d in documents()
                       if d["kind"] == "Deployment"}  # fmt: skip
        assert deployments["beat"]["replicas"] == 1
        assert deployments["beat"]["strategy"] == {"type": "Recreate"}
        assert deployments["worker"]["replicas"] == 2
        assert PODS["worker"]["terminationGracePeriodSeconds"] == 90

    def test_secret_template_has_no_values(self):
        template = (KUBERNETES / "secret.env.example").read_text()
        lines = [line for line in template.splitlines() if not line.startswith("#")]
        assert all(line.endswith("=") for line in lines)
        assert not any(document["kind"] == "Secret" for document in documents())

    def test_settings_and_secrets_are_sufficient_for_production(self):
        template = (KUBERNETES / "secret.env.example").read_text()
        settings = next(d for d in documents() if d["kind"] == "ConfigMap")["data"]
        environ = settings | {"FLASK_CONFIG": "production"}
        with pytest.raises(ConfigurationError):
            load(environ=environ)
        values = {
            "DATABASE_URL": "postgresql://u:p@db/tasks",
            "REDIS_URL": "redis://redis:6379/0",
            "SECRET_KEY": "q3Jx8vN1zR5tW7yB2dF4hK6mP9sU0aCe",
            "JWT_SECRET_KEY": "eC0aU9sP6mK4hF2dB7yW5tR1zN8vJx3q",
        }
        assert set(values) == set(re.findall(r"(?m)^(\w+)=$", template))
        assert load(environ=environ | values)["TRUSTED_PROXIES"] == 1

    def test_nginx_upstream_is_the_service(self):
        service = next(
            d for d in documents() if d["kind"] == "Service" and d["metadata"]["name"] == "api"
        )
        port = service["spec"]["ports"][0]["port"]
        assert f"server api:{port} " in (DEPLOY / "nginx" / "upstream.containers.conf").read_text()

    def test_every_pod_has_a_network_policy(self):
        policies = [d for d in documents() if d["kind"] == "NetworkPolicy"]
        denied = next(p for p in policies if p["metadata"]["name"] == "nothing")
        assert denied["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        selected = set()
        for policy in policies:
            selector = policy["spec"]["podSelector"]
            selected |= set(selector.get("matchLabels", {}).values())
            for expression in selector.get("matchExpressions", []):
                selected |= set(expression["values"])
        assert selected == set(PODS)


def test_probes_are_those_of_the_deployment_guide():
    [container] = dict(pods())["api"]["containers"]
    rows = re.findall(
        r"(?m)^\| (\w+) \| `(\S+)`.*? \| (\d+) s \| (\d+) s \| (\d+) failures \|",
        (ROOT / "docs" / "deployment.md").read_text(),
    )
    documented = {name: (path, *map(int, numbers)) for name, path, *numbers in rows}
    assert documented == {
        name: (
            (probe := container[f"{name}Probe"])["httpGet"]["path"],
            probe["periodSeconds"],
            # Kubernetes' defaults.
            probe.get("timeoutSeconds", 1),
            probe.get("failureThreshold", 3),
        )
        for name in ("startup", "liveness", "readiness")
    }
