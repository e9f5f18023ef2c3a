"""The Kubernetes manifests: their schema, KubeRay's rules beyond the schema, sizes that fit the pools, closed doors."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from raydub import __version__
from raydub.pipeline.pools import Node, plan_pools
from raydub.pipeline.registry import STAGES
from raydub.pipeline.stage import Demand
from raydub.pipeline.stage_evaluate import EVALUATE
from tests.deploy.files import (
    KUBECTL,
    KUBERNETES,
    Document,
    amount,
    base,
    built,
    checker,
    containers,
    documents,
    pods,
    problems,
    ray_of,
    raycluster,
    rayjob,
)

FREE = ("labels", "annotations", "nodeSelector", "rayStartParams", "matchLabels", "requests", "limits")
"""Objects whose keys are names of others."""
RAY = raycluster()["spec"]
GROUPS = {group["groupName"]: group for group in RAY["workerGroupSpecs"]}
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="needs kubectl, which brings kustomize")


def everything() -> list[Document]:
    return [*base(), raycluster(), rayjob()]


def test_all_manifests_fit_the_schema() -> None:
    assert {one["kind"]: problems(one) for one in everything() if problems(one)} == {}


def keys_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from keys_of(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from keys_of(inner, (*path, number))


@pytest.mark.parametrize("document", everything(), ids=lambda one: str(one["kind"]))
def test_the_schema_notices_every_misspelt_field(document: Document) -> None:
    places = {tuple(step for step in path if isinstance(step, str)): path for path in keys_of(document)}
    paths = [path for place, path in places.items() if len(place) < 2 or place[-2] not in FREE]
    if document["kind"] == "RayJob":
        paths = [path for path in paths if "rayClusterSpec" not in path[:-1]]  # seen in RayCluster
    assert len(paths) > 4
    for path in paths:
        parent: Any = document
        for step in path[:-1]:
            parent = parent[step]
        kind, value = document["kind"], parent.pop(path[-1])
        parent[f"{path[-1]}x"] = value
        assert not checker(kind).is_valid(document), path
        del parent[f"{path[-1]}x"]
        parent[path[-1]] = value
    assert problems(document) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("authOptions", "mode"), "tokens"),
        (("autoscalerOptions", "version"), 2),
        (("headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("workerGroupSpecs", 0, "minReplicas"), "1"),
        (("workerGroupSpecs", 0, "maxReplicas"), -1),
        (("workerGroupSpecs", 0, "template", "spec", "containers", 0, "resources", "limits", "cpu"), "14 cores"),
        (("workerGroupSpecs",), []),
    ],
)
def test_the_schema_notices_wrong_values(path: tuple[Any, ...], value: Any) -> None:
    cluster = raycluster()
    parent: Any = cluster["spec"]
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    assert problems(cluster)


def test_rules_of_kuberay_that_its_schema_does_not_have() -> None:
    """ValidateRayClusterSpec and ValidateRayJobSpec of KubeRay 1.7."""
    job = rayjob()["spec"]
    assert len(rayjob()["metadata"]["name"]) <= 47
    assert job["ttlSecondsAfterFinished"] == 0 or job["shutdownAfterJobFinishes"]
    assert tuple(map(int, RAY["rayVersion"].split("."))) >= (2, 52, 0)  # for tokens
    assert all("restartPolicy" not in pod for _, pod in pods(raycluster()))  # for autoscaler v2
    for group in GROUPS.values():
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert "labels" not in group["rayStartParams"]
        assert "priority" not in group or RAY["autoscalerOptions"]["version"] == "v2"


def test_the_head_does_no_work_and_spot_machines_are_labelled() -> None:
    assert RAY["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for name, pod in pods(raycluster()):
        kind = GROUPS[name]["labels"]["ray.io/market-type"] if name in GROUPS else "on-demand"
        assert pod["nodeSelector"]["karpenter.sh/capacity-type"] == kind


def node(name: str) -> Node:
    limits = GROUPS[name]["template"]["spec"]["containers"][0]["resources"]["limits"]
    return Node(amount(limits["cpu"]), amount(limits.get("nvidia.com/gpu", "0")))


@pytest.mark.parametrize(("evaluate", "least"), [(False, 0.97), (True, 0.92)])
@pytest.mark.parametrize("finish", [False, True])
@pytest.mark.parametrize("counts", [{"cpu": 3}, {"gpu-spot": 2}, {"cpu": 4, "gpu-spot": 2, "gpu": 1}])
def test_no_core_and_no_gpu_is_left_over(counts: dict[str, int], finish: bool, evaluate: bool, least: float) -> None:
    """Each two cores get a worker of every CPU stage, each GPU is full, and on CPUs at most 3 % are not reserved. In
    runs that evaluate it is 8 %: stages per output have workers for half of the sets."""
    nodes = [node(name) for name, count in counts.items() for _ in range(count)]
    stages = [stage for stage in STAGES if evaluate or stage is not EVALUATE]
    pools = plan_pools(nodes, jobs=1000, demand=Demand(finish=finish), stages=stages)
    cores, gpus = sum(one.cpus for one in nodes), sum(one.gpus for one in nodes)
    assert all(one.cpus % 2 == 0 for one in nodes)
    assert pools["track"].size == cores / 2
    assert sum(pool.size * pool.gpus for pool in pools.values()) == gpus
    reserved = sum(pool.size * pool.cpus for pool in pools.values())
    if not gpus:
        assert least * cores <= reserved <= cores
    # A set without its own lip network reserves the shares of the other stages.
    assert reserved <= cores


def test_memory_and_disk_fit() -> None:
    """3 GB per two cores with Wav2Lip at 4K, and 1.5 GB beside them (docs/expect.md)."""
    for name in GROUPS:
        pod = GROUPS[name]["template"]["spec"]
        limits = pod["containers"][0]["resources"]["limits"]
        store = float(GROUPS[name]["rayStartParams"]["object-store-memory"])
        assert store >= 2 * 256 * 2**20
        assert amount(limits["memory"]) >= amount(limits["cpu"]) / 2 * 3e9 + 1.5e9 + store
    for name, pod in pods(raycluster()):
        limits = pod["containers"][0]["resources"]["limits"]
        volumes = {volume["name"]: amount(volume["emptyDir"]["sizeLimit"]) for volume in pod["volumes"]}
        assert sum(volumes.values()) < amount(limits["ephemeral-storage"]), name
        cache = next(one["value"] for one in pod["containers"][0]["env"] if one["name"] == "RAYDUB_CACHE_GB")
        assert float(cache) * 1e9 < volumes["cache"]


def test_a_stopped_pod_has_time_to_drain() -> None:
    for group in GROUPS.values():
        pod = group["template"]["spec"]
        env = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
        assert 0 < float(env["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]) + 15 <= pod["terminationGracePeriodSeconds"]


def test_requests_are_limits() -> None:
    """So that Ray counts the cores and the memory that a pod really has."""
    for name, pod in pods(raycluster()):
        for container in containers(pod):
            assert container["resources"]["requests"] == container["resources"]["limits"], name


def test_pods_are_restricted() -> None:
    """What the level `restricted` of Kubernetes' pod security standards asks for, in every container."""
    [space] = [one for one in base() if one["kind"] == "Namespace"]
    assert space["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    locked = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert RAY["autoscalerOptions"]["securityContext"] == locked
    for name, pod in pods(rayjob()):
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert [one["securityContext"] for one in containers(pod)] == [locked] * len(containers(pod))


def test_only_the_head_can_talk_to_kubernetes() -> None:
    [account] = [one for one in base() if one["kind"] == "ServiceAccount"]
    assert account["automountServiceAccountToken"] is False
    allowed = [name for name, pod in pods(rayjob()) if pod.get("automountServiceAccountToken")]
    assert allowed == ["head"]


def test_no_secret_is_written_down() -> None:
    for path in KUBERNETES.rglob("*.yaml"):
        text = path.read_text()
        assert not re.search(r"kind: Secret|AKIA[0-9A-Z]{12}|aws_secret|stringData", text, re.IGNORECASE), path
    for _, pod in pods(rayjob()):
        for container in containers(pod):
            assert not [one for one in container.get("env", ()) if re.search("KEY|TOKEN|SECRET", one["name"])]


def test_tokens_are_required() -> None:
    assert RAY["authOptions"]["mode"] == "token"


def test_who_can_reach_ray() -> None:
    [policy] = [one for one in base() if one["kind"] == "NetworkPolicy"]
    nodes, *others = policy["spec"]["ingress"]
    assert policy["spec"]["podSelector"]["matchLabels"] == {"ray.io/is-ray-node": "yes"}
    assert nodes == {"from": [{"podSelector": policy["spec"]["podSelector"]}]}
    reachable = {port["port"] for rule in others for port in rule["ports"]}
    assert reachable == {8265, 8080, 44217, 44227}
    for rule in others:
        if 8265 in {port["port"] for port in rule["ports"]}:
            # From another namespace only pods of one kind.
            assert all("podSelector" in peer for peer in rule["from"])


def test_versions_are_those_of_the_project() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (KUBERNETES.parents[1] / "constraints.txt").read_text(), re.M))
    assert RAY["rayVersion"] == pins["ray"]
    for variant in ("cluster", "job"):
        [kustomization] = documents(KUBERNETES / variant / "kustomization.yaml")
        assert {image["newTag"] for image in kustomization["images"]} == {__version__}


def test_the_entrypoint_reads_and_writes_buckets() -> None:
    words = shlex.split(rayjob()["spec"]["entrypoint"])
    assert words[:2] == ["raydub", "run"]
    assert [word for word in words if word.startswith("s3://")] == ["s3://BUCKET/in/jobs.jsonl", "s3://BUCKET/out"]
    assert words[words.index("--address") + 1] == "auto"


@needs_kubectl
@pytest.mark.parametrize("variant", ["cluster", "job", "kueue"])
def test_what_kustomize_builds(variant: str) -> None:
    found = built(variant)
    assert {one["kind"]: problems(one) for one in found if problems(one)} == {}
    assert {one["metadata"].get("namespace", "raydub") for one in found} == {"raydub"}
    images = {container["image"] for _, pod in pods(ray_of(found)) for container in containers(pod)}
    assert images == {f"registry.example.com/{name}:{__version__}" for name in ("raydub", "raydub-cuda")}


@needs_kubectl
def test_the_job_has_the_cluster() -> None:
    cluster, job = (ray_of(built(variant))["spec"] for variant in ("cluster", "job"))
    assert job["rayClusterSpec"] == cluster


@needs_kubectl
def test_what_kueue_needs() -> None:
    job = ray_of(built("kueue"))
    cluster = job["spec"]["rayClusterSpec"]
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]
    assert job["spec"]["suspend"] is True
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    assert cluster["enableInTreeAutoscaling"] is False
    assert "autoscalerOptions" not in cluster
    assert [name for name, pod in pods(job) if pod.get("automountServiceAccountToken")] == []
