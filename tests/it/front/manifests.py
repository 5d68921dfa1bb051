"""Checks the files in deploy/ that nothing here can run: compose and Kubernetes, against their schemas.

Traefik's Middleware has the keys of its file provider: its spec is printed as such, for the real Traefik
to read. Usage: manifests.py FOLDER-OF-DEPLOY
"""

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
    middlewares = {}
    for file in sorted((deploy / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            if document["apiVersion"] not in CUSTOM:
                try:
                    kubernetes_validate.validate(document, "1.34", strict=True)
                except kubernetes_validate.ValidationError as error:
                    sys.exit(f"{file.name}: {error}")
            elif document["kind"] == "Middleware":
                middlewares[document["metadata"]["name"]] = document["spec"]
    yaml.safe_dump({"http": {"middlewares": middlewares}}, sys.stdout)


main()
