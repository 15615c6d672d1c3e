"""What stands in for kubelet and its pods on a host without a cluster: a service of its name, and a real container."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab.emulated.guest import Guest

# of the cluster's roles the one that needs no other machine
RUNTIME: Final = str(Path(__file__).with_name("container_runtime.yml"))
_UNIT: Final = "[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n"
# An image of one program and its libraries, a container of it that stands in a folder of kubelet's, and there a tmpfs,
# as every pod has one for its token.
_POD: Final = r"""
set -eu
mkdir -p /run/pod/root /var/lib/kubelet/pods/one/token
mount -t tmpfs tmpfs /var/lib/kubelet/pods/one/token
cd /run/pod
for file in /bin/sleep $(ldd /bin/sleep | grep -o '/[^ ]*'); do install -D $file root$file; done
tar -C root -cf layer.tar .
sum=$(sha256sum < layer.tar | cut -d' ' -f1)
printf '{"architecture":"amd64","os":"linux","config":{"Cmd":["/bin/sleep","infinity"]},' > config.json
printf '"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' $sum >> config.json
printf '[{"Config":"config.json","RepoTags":["docker.io/library/pod:1"],"Layers":["layer.tar"]}]' > manifest.json
tar -cf image.tar manifest.json config.json layer.tar
ctr --namespace k8s.io images import image.tar
ctr --namespace k8s.io run --detach --cwd /data \
    --mount type=bind,src=/var/lib/kubelet/pods/one,dst=/data,options=rbind:rw \
    --mount type=bind,src=/var/log/pods,dst=/logs,options=rbind:rw \
    docker.io/library/pod:1 one
"""


@contextmanager
def stand_in_kubelet(guest: Guest) -> Iterator[None]:
    """A service of kubelet's name, enabled and not yet started; away afterwards."""
    guest.output(f"printf '{_UNIT}' > /etc/systemd/system/kubelet.service && systemctl enable --quiet kubelet")
    yield
    guest.output("systemctl disable --quiet --now kubelet && rm /etc/systemd/system/kubelet.service")


def run_pod(guest: Guest) -> None:
    """Run a container that holds the volumes of containers, kubelet and logs, and that nothing ends by itself."""
    guest.output(_POD, 600)
