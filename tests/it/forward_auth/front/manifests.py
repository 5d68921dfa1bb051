"""Validates the files in deploy/ that the tests cannot run, compose and Kubernetes, against their schemas.

Prints the configurations of their programs as JSON: `traefik`, the Middlewares with the keys of the file
provider; `environments`, those of realmgate in compose; `configs`, its files in Kubernetes; `commands`, its arguments
there, by file and name.
Usage: manifests.py FOLDER-OF-DEPLOY
"""

import json
import pathlib
import subprocess
import sys

import jsonschema
import kubernetes_validate
import yaml

# Kinds that are defined by a controller, not by Kubernetes.
CUSTOM = {"traefik.io/v1alpha1", "gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"}


def known(required=(), **properties):
    """An object with these keys and no others: a misspelled key would be dropped, and disable the auth request."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def listed(items, most):
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


# The parts of Gateway API 1.4 (experimental channel) that the manifest uses, written by hand because no package
# contains its definitions.
NAME = {"type": "string", "pattern": "^[a-z0-9.-]{1,253}$"}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
BACKEND = {"name": NAME, "namespace": NAME, "port": PORT}
ASKED = known(
    ["backendRef", "protocol"],
    backendRef=known(["name"], **BACKEND),
    protocol={"enum": ["GRPC"]},
    grpc=known(allowedHeaders=listed({"type": "string"}, 64)),
)
RULE = known(
    matches=listed(known(path=known(type={"enum": ["Exact", "PathPrefix"]}, value={"type": "string"})), 64),
    filters=listed(
        {
            "oneOf": [
                known(["type", "externalAuth"], type={"const": "ExternalAuth"}, externalAuth=ASKED),
                known(
                    ["type", "requestHeaderModifier"],
                    type={"const": "RequestHeaderModifier"},
                    requestHeaderModifier=known(remove=listed({"type": "string"}, 16)),
                ),
            ]
        },
        16,
    ),
    backendRefs=listed(known(["name"], **BACKEND), 16),
)
SPECIFIED = {
    "HTTPRoute": known(
        parentRefs=listed(known(["name"], name=NAME), 32), hostnames=listed(NAME, 16), rules=listed(RULE, 16)
    ),
    "ReferenceGrant": known(
        ["from", "to"],
        **{"from": listed(known(["group", "kind", "namespace"], group={"type": "string"}, kind={"const": "HTTPRoute"}, namespace=NAME), 16)},
        to=listed(known(["group", "kind"], group={"const": ""}, kind={"const": "Service"}, name=NAME), 16),
    ),
}


def run(*command):
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"{command}: {ended.stdout}{ended.stderr}")
    return ended.stdout


def main():
    deploy = pathlib.Path(sys.argv[1])
    check = pathlib.Path(sys.executable).with_name("check-jsonschema")
    environments = []
    for compose in sorted((deploy / "docker").glob("*.yaml")):
        run(check, "--builtin-schema=vendor.compose-spec", compose)
        services = yaml.safe_load(compose.read_text())["services"]
        environments += [it["environment"] for name, it in services.items() if name.startswith("realmgate")]
    middlewares, configs, commands = {}, [], {}
    texts = [(file, file.read_text()) for file in sorted((deploy / "kubernetes").glob("*.yaml"))]
    rendered = [deploy / "kubernetes/cluster/base", *sorted((deploy / "kubernetes/cluster/overlays").iterdir())]
    texts += [(folder, run("kubectl", "kustomize", folder)) for folder in rendered]
    for file, text in texts:
        for document in yaml.safe_load_all(text):
            if document["apiVersion"] not in CUSTOM:
                try:
                    kubernetes_validate.validate(document, "1.34", strict=True)
                except kubernetes_validate.ValidationError as error:
                    sys.exit(f"{file.name}: {error}")
                if document["kind"] == "ConfigMap" and "realmgate.toml" in document["data"]:
                    configs.append(document["data"]["realmgate.toml"])
                template = document.get("spec", {}).get("template", {}).get("spec", {})
                for container in template.get("containers", []):
                    if container["name"] == "realmgate":
                        commands.setdefault(file.name, {})[document["metadata"]["name"]] = container["args"]
            elif document["kind"] == "Middleware":
                middlewares[document["metadata"]["name"]] = document["spec"]
            else:
                jsonschema.validate(document["spec"], SPECIFIED[document["kind"]])
    read = {
        "traefik": yaml.safe_dump({"middlewares": middlewares}),
        "environments": environments,
        "configs": configs,
        "commands": commands,
    }
    json.dump(read, sys.stdout)


main()
