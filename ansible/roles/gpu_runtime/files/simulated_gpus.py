"""Advertises simulated GPUs: keeps ``nvidia.com/gpu`` in the status of this host's node.

The scheduler then counts them as it counts real ones. A kubelet without a device plugin sets them to zero whenever it
starts, so the program stays and looks again.
"""

import argparse
import http.client
import json
import logging
import ssl
import sys
import time
from urllib.parse import urlsplit

RESOURCE = "nvidia.com/gpu"
SECONDS_BETWEEN_LOOKS = 10
CLIENT_CERTIFICATE = "/var/lib/kubelet/pki/kubelet-client-current.pem"
CLUSTER_CA = "/etc/kubernetes/pki/ca.crt"
LOG = logging.getLogger("simulated-gpus")


class ApiError(Exception):
    """The API server's answer was not the expected one."""


def call(server: str, method: str, path: str, body: object = None) -> dict:
    """One request as this host's kubelet; its certificate is read each time, because it is renewed."""
    context = ssl.create_default_context(cafile=CLUSTER_CA)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(CLIENT_CERTIFICATE)
    connection = http.client.HTTPSConnection(urlsplit(server).netloc, context=context, timeout=10)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/merge-patch+json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != http.client.OK:
            raise ApiError(f"{method} {path}: {answer.status} {text[:200].decode(errors='replace')}")
        return json.loads(text)
    finally:
        connection.close()


def look(server: str, node: str, count: int) -> None:
    """Mend the node's status if it does not show the GPUs."""
    status = call(server, "GET", f"/api/v1/nodes/{node}")["status"]
    wanted = str(count)
    if status.get("capacity", {}).get(RESOURCE) == wanted == status.get("allocatable", {}).get(RESOURCE):
        return
    patch = {"status": {"capacity": {RESOURCE: wanted}, "allocatable": {RESOURCE: wanted}}}
    call(server, "PATCH", f"/api/v1/nodes/{node}/status", patch)
    LOG.info("%s now shows %s %s", node, wanted, RESOURCE)


def main() -> None:
    """Look until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node", required=True)
    parser.add_argument("--server", required=True)
    parser.add_argument("--count", required=True, type=int)
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
    while True:
        try:
            look(arguments.server, arguments.node, arguments.count)
        except (OSError, ApiError, ValueError, KeyError, http.client.HTTPException) as error:
            LOG.warning("%s", error)
        time.sleep(SECONDS_BETWEEN_LOOKS)


if __name__ == "__main__":
    main()
