"""The manifest of docs/scale.md for Kubernetes has the fields of KubeRay's RayJob and of a pod."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from adamtune.cli.main import app

MANIFEST = Path(__file__).parents[1] / "docs" / "rayjob.yaml"
TEMPLATE: dict[str, Any] = {"template": "pod"}
FIELDS: dict[str, Any] = {
    "entrypoint": str,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "backoffLimit": int,
    "rayClusterSpec": {
        "rayVersion": str,
        "enableInTreeAutoscaling": bool,
        "autoscalerOptions": {"idleTimeoutSeconds": int},
        "headGroupSpec": {"rayStartParams": dict, **TEMPLATE},
        "workerGroupSpecs": [
            {
                "groupName": str,
                "replicas": int,
                "minReplicas": int,
                "maxReplicas": int,
                "rayStartParams": dict,
                **TEMPLATE,
            }
        ],
    },
}
"""The fields of ray.io/v1 that the manifest uses, with their types."""


@pytest.fixture
def spec() -> Any:
    document = yaml.safe_load(MANIFEST.read_text())
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", "RayJob")
    return document["spec"]


def pods(value: Any, fields: Any = FIELDS) -> list[Any]:
    """The pod templates in a part of the manifest, which has the fields and types it should have."""
    if fields == "pod":
        return [value]
    if isinstance(fields, type):
        assert type(value) is fields, value
        return []
    if isinstance(fields, list):
        return [pod for each in value for pod in pods(each, fields[0])]
    assert value.keys() == fields.keys()
    return [pod for name, each in value.items() for pod in pods(each, fields[name])]


def test_it_has_the_fields_of_a_ray_job(spec: Any) -> None:
    head, worker = pods(spec)
    [claimed] = head["spec"]["volumes"]
    [container] = head["spec"]["containers"]
    assert [each["name"] for each in container["volumeMounts"]] == [claimed["name"]]
    assert container["image"] == worker["spec"]["containers"][0]["image"]
    parameters = spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]
    assert all(isinstance(each, str) for each in parameters.values())


def test_its_command_has_options_of_the_program(spec: Any) -> None:
    program, command, *arguments = shlex.split(spec["entrypoint"])
    assert program == "adamtune"
    shown = re.sub(r"\x1b\[[0-9;]*m", "", CliRunner().invoke(app, [command, "--help"]).output)
    assert all(each in shown for each in arguments if each.startswith("--"))


@pytest.mark.skipif(find_spec("kubernetes") is None, reason="needs the package kubernetes")
def test_its_pods_have_the_fields_of_kubernetes(spec: Any) -> None:
    from kubernetes import client

    def check(value: Any, kind: str) -> None:
        if found := re.fullmatch(r"[Ll]ist\[(.*)\]", kind):
            assert isinstance(value, list)
            for each in value:
                check(each, found[1])
        elif hasattr(client, kind):
            model = getattr(client, kind)
            names = {wire: name for name, wire in model.attribute_map.items()}
            for key, each in value.items():
                assert key in names, f"{kind} has no field {key}"
                check(each, model.openapi_types[names[key]])
        elif kind.lower().startswith("dict"):
            assert isinstance(value, dict)
            assert all(isinstance(each, str) for each in value.values())
        else:
            assert type(value).__name__ == kind

    for each in pods(spec):
        check(each, "V1PodTemplateSpec")


def test_a_cluster_takes_it() -> None:
    """By a dry run of kubectl, where there is a cluster with KubeRay."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("needs kubectl")
    known = subprocess.run(
        [kubectl, "get", "crd", "rayjobs.ray.io", "--request-timeout=3s"], check=False, capture_output=True
    )
    if known.returncode:
        pytest.skip("needs a Kubernetes cluster with KubeRay")
    subprocess.run([kubectl, "apply", "--dry-run=server", "-f", MANIFEST], check=True, capture_output=True)
