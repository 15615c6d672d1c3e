import datetime as dt
import re
from pathlib import Path

import pytest

from lab.images import ImageError, ImageSpec, builder, ensure, load_image, load_images, parts
from lab.images.closure import assemble
from lab.images.debian import DebianFile
from lab.images.registry import PushedImage, Registry, registry_of
from lab.images.spec import CommandPart, DebianPart
from lab.toolchain.tools import module_of
from llmaas.pki import authority, open_authority
from llmaas.settings import load_platform
from llmaas.settings.gpu_sets import mirrored_images

# What kubeadm 1.36.3 pulls: `kubeadm config images list --kubernetes-version v1.36.3`.
KUBEADM_IMAGES = {
    "kube-apiserver:v1.36.3",
    "kube-controller-manager:v1.36.3",
    "kube-scheduler:v1.36.3",
    "kube-proxy:v1.36.3",
    "coredns:v1.14.2",
    "pause:3.10.2",
    "etcd:3.6.8-0",
}
# Run by kubeadm as root of the host, by its own manifests.
ROOT_IMAGES = {"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "coredns"}

ids = [image.name for image in load_images()]


def example(tmp_path: Path, text: str) -> ImageSpec:
    folder = tmp_path / "example"
    folder.mkdir()
    (folder / "image.toml").write_text(text)
    return load_image(folder)


def test_kubeadm_finds_every_image_that_it_asks_for() -> None:
    assert {f"{image.path}:{image.tag}" for image in load_images()} >= KUBEADM_IMAGES


def test_the_tag_of_etcd_is_the_version_that_is_built() -> None:
    etcd = next(image for image in load_images() if image.name == "etcd")
    assert etcd.tag.startswith(f"{module_of('etcd').version}-")


@pytest.mark.parametrize("image", load_images(), ids=ids)
def test_every_image_starts_from_nothing_and_copies_only_its_parts(image: ImageSpec) -> None:
    text = (image.folder / "Containerfile").read_text()
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["scratch"]
    assert set(re.findall(r"--from=([\w-]+)", text)) == set(image.parts)


@pytest.mark.parametrize("image", load_images(), ids=ids)
def test_every_workload_runs_as_a_numbered_user_that_is_not_root(image: ImageSpec) -> None:
    users = re.findall(r"^USER (\d+):(\d+)$", (image.folder / "Containerfile").read_text(), re.MULTILINE)
    if image.name in ROOT_IMAGES:
        assert users == []
    else:
        assert len(users) == 1
        assert all(int(number) > 0 for number in users[0])


def test_an_image_needs_exactly_one_version(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="either version or version_of"):
        example(tmp_path, 'description = "d"\n')


def test_an_unknown_field_is_named_with_its_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"example/image\.toml(.|\n)*flavour"):
        example(tmp_path, 'description = "d"\nversion = "1"\nflavour = "x"\n')


def unpacked_root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for folder in ("usr/bin", "usr/share/data/deep", "usr/share/doc/tool"):
        (root / folder).mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    (root / "usr/bin/tool-1").write_text("#!/bin/sh\n")
    (root / "usr/bin/tool").symlink_to("/bin/tool-1")
    (root / "usr/bin/apt").write_text("not wanted")
    (root / "usr/share/data/deep/a").write_text("a")
    (root / "usr/share/data/b").write_text("b")
    (root / "usr/share/doc/tool/copyright").write_text("licence")
    return root


def assembled(tmp_path: Path, **fields: object) -> Path:
    part = DebianPart.model_validate({"kind": "debian", "packages": ["tool"], **fields})
    target = tmp_path / "target"
    target.mkdir()
    assemble(part, unpacked_root(tmp_path), {"usr/bin/tool-1": DebianFile("tool", "1:2.3", "amd64")}, target)
    return target


def test_only_kept_files_and_what_their_links_point_at_stay(tmp_path: Path) -> None:
    target = assembled(tmp_path, keep=["usr/bin/tool", "usr/share/data"], drop=["usr/share/data/b"])
    assert (target / "usr/bin/tool").is_symlink()
    assert (target / "usr/bin/tool-1").exists()
    assert (target / "usr/share/data/deep/a").exists()
    assert not (target / "usr/share/data/b").exists()
    assert not (target / "usr/bin/apt").exists()


def test_packages_and_their_licences_are_listed(tmp_path: Path) -> None:
    target = assembled(tmp_path, keep=["usr/bin/tool"])
    assert (target / "usr/share/llmaas/packages.txt").read_text() == "tool 1:2.3\n"
    assert (target / "usr/share/doc/tool/copyright").read_text() == "licence"


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="usr/bin/absent"):
        assembled(tmp_path, keep=["usr/bin/absent"])


def test_apts_file_name_escapes_the_epoch() -> None:
    assert DebianFile("redis-tools", "5:7.0", "amd64").file_name == "redis-tools_5%3a7.0_amd64.deb"


def command_part(*command: str) -> CommandPart:
    return CommandPart(kind="command", command=command, inputs=("images/README.md",))


def test_a_part_that_failed_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMAAS_CACHE", str(tmp_path))
    part = command_part("sh", "-c", "touch $LLMAAS_PART/half; exit 3")
    with pytest.raises(ImageError, match="ended with 3"):
        parts.ensure_part("venv", part, print)
    assert not [path for path in (tmp_path / "images/parts").iterdir() if path.is_dir()]


def test_a_part_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMAAS_CACHE", str(tmp_path / "cache"))
    part = command_part("sh", "-c", f"echo x >> {tmp_path}/runs; touch $LLMAAS_PART/file")
    folder = parts.ensure_part("venv", part, lambda _line: None)
    assert parts.ensure_part("venv", part, lambda _line: None) == folder
    assert (folder / "file").exists()
    assert (tmp_path / "runs").read_text() == "x\n"


def test_an_input_that_is_missing_is_an_error() -> None:
    with pytest.raises(ImageError, match="images/absent"):
        parts.digest_of_files(["images/absent"])


@pytest.mark.parametrize(("name", "changes"), [("README.md", False), ("image.toml", True)])
def test_what_is_told_of_an_image_is_no_input_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, changes: bool
) -> None:
    monkeypatch.setattr(parts, "PROJECT_ROOT", tmp_path)
    folder = tmp_path / "images" / "tool"
    folder.mkdir(parents=True)
    for each in ("README.md", "image.toml"):
        (folder / each).write_text("as before")
    before = parts.digest_of_files(["images/tool"])
    (folder / name).write_text("otherwise")
    assert (parts.digest_of_files(["images/tool"]) != before) == changes


@pytest.mark.parametrize("same", [True, False])
def test_an_image_of_the_same_inputs_is_not_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, same: bool
) -> None:
    pushed = PushedImage("sha256:" + "0" * 64, {builder.KEY_LABEL: "key" if same else "old"}, 1)
    monkeypatch.setattr(Registry, "find", lambda *_: pushed)
    monkeypatch.setattr(ensure, "image_key", lambda _: "key")
    built: list[str] = []
    monkeypatch.setattr(ensure, "build", lambda image, *_: built.append(image.name))
    monkeypatch.setattr(ensure, "push", lambda *_: None)
    registry = Registry("127.0.0.1:1", "registry.test:5000", tmp_path)
    lock = ensure.ensure_images(registry, tmp_path / "lock.yaml", ["pause"], lambda _line: None)
    assert built == ([] if same else ["pause"])
    assert lock["pause"] == f"registry.test:5000/pause:3.10.2@sha256:{'0' * 64}"
    assert lock["pause"] in (tmp_path / "lock.yaml").read_text()


def test_images_of_others_are_locked_by_the_digest_that_the_registry_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {"nvidia/k8s-device-plugin": PushedImage("sha256:" + "1" * 64, {}, 1)}
    monkeypatch.setattr(Registry, "find", lambda _self, path, _tag: held.get(path))
    told: list[str] = []
    registry = Registry("127.0.0.1:1", "registry.test:5000", tmp_path)
    wanted = mirrored_images(load_platform("production"))
    lock = ensure.write_lock(registry, tmp_path / "lock.yaml", told.append, wanted)
    assert lock == {"nvidia-device-plugin": f"registry.test:5000/nvidia/k8s-device-plugin:v0.18.2@sha256:{'1' * 64}"}
    assert any("nvidia/dcgm-exporter:4.5.3-4.8.2-distroless is not in the registry" in line for line in told)
    assert mirrored_images(load_platform("lab")) == {}


def test_the_registry_is_trusted_by_an_authority_near_its_end_which_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path))
    earlier = dt.datetime.now(dt.UTC) - dt.timedelta(days=615)
    with monkeypatch.context() as patch:
        patch.setattr(authority, "_now", lambda: earlier)
        made = open_authority("production")
    platform = load_platform("production")
    (made.folder / "offline" / "root.key").unlink()
    told: list[str] = []
    registry = registry_of(platform, told.append)
    assert (registry.certificates / "ca.crt").read_bytes() == made.root.read_bytes()
    (line,) = told
    assert line.startswith("note: the issuing authority of production ends on ")


CPU_BUILD = PushedImage("sha256:" + "2" * 64, {builder.KEY_LABEL: "key"}, 1)
CUDA_BUILD = PushedImage("sha256:" + "3" * 64, {}, 1)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is built and pushed while a test runs; nothing is."""
    names: list[str] = []
    monkeypatch.setattr(ensure, "image_key", lambda _: "key")
    monkeypatch.setattr(ensure, "build", lambda image, *_: names.append(image.name))
    monkeypatch.setattr(ensure, "push", lambda *_: None)
    return names


def holding(monkeypatch: pytest.MonkeyPatch, held: dict[str, PushedImage]) -> None:
    monkeypatch.setattr(Registry, "find", lambda _self, path, _tag: held.get(path))


def test_the_model_server_of_real_gpus_is_neither_built_nor_locked_from_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: list[str]
) -> None:
    # the CPU build lies there too, and of other inputs: it would be built anew
    old = PushedImage("sha256:" + "4" * 64, {builder.KEY_LABEL: "old"}, 1)
    holding(monkeypatch, {"llmaas/vllm": old, "vllm/vllm-openai": CUDA_BUILD})
    registry, lock = Registry("127.0.0.1:1", "registry.test:5000", tmp_path), tmp_path / "lock.yaml"
    wanted = mirrored_images(load_platform("production"))
    for write in (ensure.ensure_images, ensure.ensure_images, ensure.write_lock):
        found = write(registry, lock, report=lambda _line: None, mirrored=wanted)
        assert found["vllm"] == f"registry.test:5000/vllm/vllm-openai:v0.32.0@sha256:{'3' * 64}"
    assert "vllm" not in built
    assert "pause" in built


def test_the_model_server_of_simulated_gpus_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: list[str]
) -> None:
    holding(monkeypatch, {"llmaas/vllm": CPU_BUILD, "vllm/vllm-openai": CUDA_BUILD})
    registry = Registry("127.0.0.1:1", "registry.test:5000", tmp_path)
    wanted = mirrored_images(load_platform("lab"))
    lock = ensure.ensure_images(registry, tmp_path / "lock.yaml", ["vllm"], lambda _line: None, wanted)
    assert lock["vllm"].startswith("registry.test:5000/llmaas/vllm:")
    assert built == []


def test_the_cpu_build_under_the_name_of_a_gpu_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holding(monkeypatch, {"vllm/vllm-openai": CPU_BUILD})
    lock = tmp_path / "lock.yaml"
    lock.write_text("vllm: as it was\n")
    registry = Registry("127.0.0.1:1", "registry.test:5000", tmp_path)
    with pytest.raises(ImageError, match=r"vllm: vllm/vllm-openai:v0\.32\.0 was built by .* without GPUs"):
        ensure.write_lock(registry, lock, lambda _line: None, mirrored_images(load_platform("production")))
    assert lock.read_text() == "vllm: as it was\n"


def test_the_cpu_build_is_not_made_for_real_gpus_if_it_is_named(tmp_path: Path, built: list[str]) -> None:
    registry = Registry("127.0.0.1:1", "registry.test:5000", tmp_path)
    wanted = mirrored_images(load_platform("production"))
    with pytest.raises(ImageError, match=r"vllm is not built .* vllm/vllm-openai:v0\.32\.0, which others build"):
        ensure.ensure_images(registry, tmp_path / "lock.yaml", ["vllm"], lambda _line: None, wanted)
    assert built == []
    assert [image.name for image in ensure.select((), wanted) if image.name == "vllm"] == []
