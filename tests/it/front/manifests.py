"""Checks the files in deploy/ that nothing here can run: compose and Kubernetes, against their schemas.

Prints as JSON what their programs should read: `traefik`, the Middlewares with the keys of the file
provider; `environment`, that of realmgate in compose; `config`, its file in Kubernetes.
Usage: manifests.py FOLDER-OF-DEPLOY
"""

import json

import pathlib
import subprocess
import sys

import kubernetes_validate
import yaml

# Kinds that come with a controller and not with Kubernetes.
CUSTOM = {"traefik.io/v1alpha1", "gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"}


def main():
    deploy = pathlib.Path(sys.argv[1])
    check = pathlib.Path(sys.executable).with_name("check-jsonschema")
    compose = deploy / "docker" / "compose.yaml"
    schema = "--builtin-schema=vendor.compose-spec"
    checked = subprocess.run([check, schema, compose], capture_output=True, text=True)
    if checked.returncode:
        sys.exit(checked.stdout + checked.stderr)
    realmgate = yaml.safe_load(compose.read_text())["services"]["realmgate"]
    middlewares, config = {}, None
    for file in sorted((deploy / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            if document["apiVersion"] not in CUSTOM:
                try:
                    kubernetes_validate.validate(document, "1.34", strict=True)
                except kubernetes_validate.ValidationError as error:
                    sys.exit(f"{file.name}: {error}")
                if document["kind"] == "ConfigMap":
                    config = document["data"]["realmgate.toml"]
            elif document["kind"] == "Middleware":
                middlewares[document["metadata"]["name"]] = document["spec"]
    read = {
        "traefik": yaml.safe_dump({"middlewares": middlewares}),
        "environment": realmgate["environment"],
        "config": config,
    }
    json.dump(read, sys.stdout)


main()
