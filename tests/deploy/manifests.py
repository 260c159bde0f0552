#!/usr/bin/env python3
"""Holds rendered manifests, from standard input, against what must hold of them whatever the values are: manifests.py NAMESPACE"""

import sys

import yaml

SYSTEM = {"kube-system", "kube-public", "kube-node-lease"}


class Manifests:
    """The objects of one rendering."""

    def __init__(self, text, namespace):
        self.objects = [document for document in yaml.safe_load_all(text) if document]
        self.namespace = namespace

    def of(self, *kinds):
        return [manifest for manifest in self.objects if manifest["kind"] in kinds]

    def has(self, kind, name):
        return any(manifest["metadata"]["name"] == name for manifest in self.of(kind))


def name(manifest):
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def twice(manifests):
    seen = set()
    for manifest in manifests.objects:
        if name(manifest) in seen:
            yield f"{name(manifest)} stands there twice"
        seen.add(name(manifest))


def webhooks(manifests):
    """They are asked about opted-in namespaces only, never about the system's or our own, and answer soon."""
    found = manifests.of("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
    if {manifest["kind"] for manifest in found} != {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}:
        yield "a webhook configuration is missing"
    for manifest in found:
        for webhook in manifest["webhooks"]:
            selector = webhook["namespaceSelector"]
            if selector["matchLabels"] != {"tollhouse.dev/inject": "enabled"}:
                yield f"{name(manifest)} is asked about namespaces that did not opt in"
            excluded = {value for rule in selector["matchExpressions"] if rule["operator"] == "NotIn" for value in rule["values"]}
            if not SYSTEM | {manifests.namespace} <= excluded:
                yield f"{name(manifest)} is asked about {(SYSTEM | {manifests.namespace}) - excluded}"
            if webhook["sideEffects"] != "None" or webhook["timeoutSeconds"] > 10:
                yield f"{name(manifest)} has side effects or a long timeout"
            service = webhook["clientConfig"]["service"]
            if (service["namespace"], service["name"]) != (manifests.namespace, "tollhouse-webhook"):
                yield f"{name(manifest)} asks a service that is not the webhook's"


def containers(manifests):
    """As the `restricted` profile of Kubernetes wants them, with a read-only root and no limit on CPU."""
    for manifest in manifests.of("Deployment"):
        for container in manifest["spec"]["template"]["spec"]["containers"]:
            context = container["securityContext"]
            wanted = {
                "runAsNonRoot": True,
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            }
            missing = {key for key, value in wanted.items() if context.get(key) != value}
            if missing:
                yield f"{name(manifest)}: {missing} are not as they should be"
            resources = container["resources"]
            if "cpu" in resources.get("limits", {}) or "memory" not in resources.get("limits", {}) or "cpu" not in resources["requests"]:
                yield f"{name(manifest)}: its resources are {resources}"
            ports = {port["name"] for port in container["ports"]}
            for probe in ("readinessProbe", "livenessProbe"):
                if container[probe]["httpGet"]["port"] not in ports:
                    yield f"{name(manifest)}: {probe} asks a port that is none"


def references(manifests):
    """What a pod names is there, and what selects pods selects some."""
    pods = [manifest["spec"]["template"] for manifest in manifests.of("Deployment")]
    for manifest in manifests.of("Deployment"):
        spec = manifest["spec"]["template"]["spec"]
        if not manifests.has("ServiceAccount", spec["serviceAccountName"]):
            yield f"{name(manifest)}: its service account is not there"
        for volume in spec["volumes"]:
            if "configMap" in volume and not manifests.has("ConfigMap", volume["configMap"]["name"]):
                yield f"{name(manifest)}: ConfigMap {volume['configMap']['name']} is not there"
        mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
        if mounted != {volume["name"] for volume in spec["volumes"]}:
            yield f"{name(manifest)}: volumes and mounts differ"
    selectors = [(manifest, manifest["spec"]["selector"]) for manifest in manifests.of("Service")]
    selectors += [(manifest, manifest["spec"]["selector"]["matchLabels"]) for manifest in manifests.of("PodDisruptionBudget", "Deployment")]
    selectors += [(manifest, manifest["spec"]["podSelector"]["matchLabels"]) for manifest in manifests.of("NetworkPolicy")]
    for manifest, selector in selectors:
        chosen = [pod for pod in pods if selector.items() <= pod["metadata"]["labels"].items()]
        if len(chosen) != 1:
            yield f"{name(manifest)} selects {len(chosen)} of the pods"
        elif manifest["kind"] == "Service":
            ports = {port["name"] for container in chosen[0]["spec"]["containers"] for port in container["ports"]}
            for port in manifest["spec"]["ports"]:
                if port["targetPort"] not in ports:
                    yield f"{name(manifest)}: no container has the port {port['targetPort']}"
    for manifest in manifests.of("ClusterRoleBinding", "RoleBinding"):
        if manifest["roleRef"]["name"] == "system:service-account-issuer-discovery":
            continue
        if not manifests.has(manifest["roleRef"]["kind"], manifest["roleRef"]["name"]):
            yield f"{name(manifest)}: its role is not there"
        for subject in manifest["subjects"]:
            if subject["namespace"] != manifests.namespace or not manifests.has("ServiceAccount", subject["name"]):
                yield f"{name(manifest)}: its subject is not there"


def rights(manifests):
    """No wildcards; Secrets and webhook configurations by name; nobody deletes, escalates or impersonates."""
    allowed = {"get", "list", "watch", "create", "patch", "update"}
    for manifest in manifests.of("ClusterRole", "Role"):
        for rule in manifest["rules"]:
            words = rule["apiGroups"] + rule["resources"] + rule["verbs"]
            if "*" in words or not set(rule["verbs"]) <= allowed:
                yield f"{name(manifest)} may too much: {rule}"
            named = {"secrets", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"} & set(rule["resources"])
            if named and not rule.get("resourceNames"):
                yield f"{name(manifest)} may use every one of {named}"
            if {"pods/exec", "serviceaccounts/token"} & set(rule["resources"]):
                yield f"{name(manifest)} may act for others: {rule}"


def availability(manifests):
    """As many webhooks as a drained node or a new version leaves."""
    for manifest in manifests.of("Deployment"):
        if manifest["metadata"]["name"] == "tollhouse-webhook":
            if manifest["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
                yield "a new version of the webhook takes the old one away first"
            budget = manifests.of("PodDisruptionBudget")[0]["spec"]
            if manifest["spec"]["replicas"] > 1 and budget.get("minAvailable") != 1:
                yield "no disruption budget keeps a webhook"
            if manifest["spec"]["replicas"] == 1 and "minAvailable" in budget:
                yield "the only webhook keeps its node from being drained"
            if len(manifest["spec"]["template"]["spec"]["topologySpreadConstraints"]) != 2:
                yield "webhooks are not spread"


def main(namespace):
    manifests = Manifests(sys.stdin.read(), namespace)
    checks = (twice, webhooks, containers, references, rights, availability)
    found = [sentence for check in checks for sentence in check(manifests)]
    for sentence in found:
        print(sentence, file=sys.stderr)
    print(f"{len(manifests.objects)} objects")
    return 1 if found or not manifests.objects else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
