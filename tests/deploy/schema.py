"""The part of the schemas of Kubernetes and KubeRay 1.7 (ray.io/v1) that deploy/ uses, for tests.

Objects are closed: a field that is not listed here is an error, so that a misspelt one does not pass. A field that is
added to a manifest is added here too, after a look at KubeRay's API reference.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
BOOL: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
POSITIVE: Schema = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
QUANTITY: Schema = {"type": "string", "pattern": r"^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"}
NAME: Schema = {"type": "string", "pattern": r"^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}


def closed(required: str, **properties: Schema) -> Schema:
    """An object with these properties and no others. required: names, separated by spaces."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def some(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


def one_of(*values: str) -> Schema:
    return {"enum": list(values)}


def document(api: str, kind: str, **more: Schema) -> Schema:
    meta = closed("name", name=NAME, namespace=NAME, labels=TEXTS, annotations=TEXTS)
    return closed("apiVersion kind metadata", apiVersion={"const": api}, kind={"const": kind}, metadata=meta, **more)


REFERENCE = closed("name", name=NAME, optional=BOOL)
QUANTITIES: Schema = {
    "type": "object",
    "properties": {"cpu": QUANTITY, "memory": QUANTITY, "ephemeral-storage": QUANTITY, "nvidia.com/gpu": QUANTITY},
    "additionalProperties": False,
}
RESOURCES = closed("requests limits", requests=QUANTITIES, limits=QUANTITIES)
CONTAINER = closed(
    "name image securityContext resources",
    name=NAME,
    image=TEXT,
    command=some(TEXT),
    ports=some(closed("name containerPort", name=NAME, containerPort={**POSITIVE, "maximum": 65535})),
    env=some(closed("name value", name={"type": "string", "pattern": "^[A-Z][A-Z0-9_]*$"}, value={"type": "string"})),
    envFrom=some({**closed("", configMapRef=REFERENCE, secretRef=REFERENCE), "minProperties": 1, "maxProperties": 1}),
    securityContext=closed(
        "", allowPrivilegeEscalation=BOOL, capabilities=closed("drop", drop=some(TEXT)), readOnlyRootFilesystem=BOOL
    ),
    resources=RESOURCES,
    volumeMounts=some(closed("name mountPath", name=NAME, mountPath={"type": "string", "pattern": "^/"})),
)
POD_TEMPLATE = closed(
    "spec",
    spec=closed(
        "containers securityContext",
        serviceAccountName=NAME,
        automountServiceAccountToken=BOOL,
        securityContext=closed(
            "runAsNonRoot runAsUser seccompProfile",
            runAsNonRoot=BOOL,
            runAsUser=POSITIVE,
            runAsGroup=POSITIVE,
            fsGroup=POSITIVE,
            seccompProfile=closed("type", type=one_of("RuntimeDefault", "Localhost", "Unconfined")),
        ),
        terminationGracePeriodSeconds=POSITIVE,
        restartPolicy=one_of("Always", "OnFailure", "Never"),
        nodeSelector=TEXTS,
        tolerations=some(
            closed(
                "key operator effect",
                key=TEXT,
                operator=one_of("Exists", "Equal"),
                value=TEXT,
                effect=one_of("NoSchedule", "PreferNoSchedule", "NoExecute"),
            )
        ),
        initContainers=some(CONTAINER),
        containers=some(CONTAINER),
        volumes=some(closed("name emptyDir", name=NAME, emptyDir=closed("sizeLimit", sizeLimit=QUANTITY))),
    ),
)
CLUSTER_SPEC = closed(
    "rayVersion headGroupSpec",
    rayVersion=TEXT,
    authOptions=closed("mode", mode=one_of("disabled", "token"), secretName=NAME),
    enableInTreeAutoscaling=BOOL,
    autoscalerOptions=closed(
        "",
        version=one_of("v1", "v2"),
        idleTimeoutSeconds=COUNT,
        upscalingMode=one_of("Default", "Aggressive", "Conservative"),
        securityContext=CONTAINER["properties"]["securityContext"],
        resources=RESOURCES,
    ),
    headGroupSpec=closed(
        "rayStartParams template",
        serviceType=one_of("ClusterIP", "NodePort", "LoadBalancer"),
        rayStartParams=TEXTS,
        labels=TEXTS,
        template=POD_TEMPLATE,
    ),
    workerGroupSpecs=some(
        closed(
            "groupName minReplicas maxReplicas rayStartParams template",
            groupName=NAME,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            priority={"type": "integer"},
            idleTimeoutSeconds=COUNT,
            labels=TEXTS,
            rayStartParams=TEXTS,
            template=POD_TEMPLATE,
        )
    ),
)
JOB_SPEC = closed(
    "entrypoint rayClusterSpec",
    entrypoint=TEXT,
    submissionMode=one_of("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    submitterPodTemplate=POD_TEMPLATE,
    shutdownAfterJobFinishes=BOOL,
    ttlSecondsAfterFinished=COUNT,
    preRunningDeadlineSeconds=POSITIVE,
    activeDeadlineSeconds=POSITIVE,
    backoffLimit=COUNT,
    suspend=BOOL,
    rayClusterSpec=CLUSTER_SPEC,
)
SELECTOR = closed("matchLabels", matchLabels=TEXTS)
PEERS = some({**closed("", podSelector=SELECTOR, namespaceSelector=SELECTOR), "minProperties": 1})
PORTS = some(closed("protocol port", protocol=one_of("TCP", "UDP", "SCTP"), port={**POSITIVE, "maximum": 65535}))
SCHEMAS: dict[str, Schema] = {
    "RayCluster": document("ray.io/v1", "RayCluster", spec=CLUSTER_SPEC),
    "RayJob": document("ray.io/v1", "RayJob", spec=JOB_SPEC),
    "Namespace": document("v1", "Namespace"),
    "ServiceAccount": document("v1", "ServiceAccount", automountServiceAccountToken=BOOL),
    "NetworkPolicy": document(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        spec=closed(
            "podSelector policyTypes ingress",
            podSelector=SELECTOR,
            policyTypes=some(one_of("Ingress", "Egress")),
            ingress=some({"type": "object", **closed("from", **{"from": PEERS, "ports": PORTS})}),
        ),
    ),
}
"""By kind."""
