"""Which images hold a shell or a package manager: those that cannot do without, which say why, and no others."""

from pathlib import Path

import pytest

from lab.images import ImageSpec, load_image, load_images
from lab.images.closure import assemble
from lab.images.debian import MERGED_FOLDERS
from lab.images.spec import DebianPart

# Which images may, and whose need it is.
NEED_A_SHELL = {"postgres": "initdb", "vllm": "lscpu"}
THEIR_SHELL = {"dash", "sh"}
# By what Debian calls them: packages, and programs wherever the folders of programs lie.
SHELL_PACKAGES = {
    *("ash", "bash", "bash-static", "busybox", "busybox-static", "csh", "dash", "elvish", "fish", "ksh", "ksh93u+m"),
    *("lksh", "mksh", "posh", "rc", "sash", "tcsh", "toybox", "xonsh", "yash", "zsh", "zsh-static"),
}
SHELLS = {
    *("ash", "bash", "bash-static", "bsd-csh", "busybox", "csh", "dash", "elvish", "fish", "ksh", "ksh93", "lksh"),
    *("mksh", "mksh-static", "posh", "rbash", "rc", "rksh", "rzsh", "sash", "sh", "static-sh", "tcsh", "toybox"),
    *("xonsh", "yash", "zsh", "zsh5"),
}
PACKAGE_MANAGERS = {"apt", "apt-cache", "apt-get", "aptitude", "dpkg", "dpkg-deb", "dpkg-divert", "pip", "pip3", "rpm"}
FOLDERS = ("usr/bin", "usr/sbin", "usr/local/bin", "usr/lib/klibc/bin")

debian_images = [image for image in load_images() if any(isinstance(part, DebianPart) for part in image.parts.values())]
each_image = pytest.mark.parametrize("image", debian_images, ids=[image.name for image in debian_images])


def debian_parts(image: ImageSpec) -> list[DebianPart]:
    return [part for part in image.parts.values() if isinstance(part, DebianPart)]


def kept_of_everything(image: ImageSpec, tmp_path: Path) -> set[str]:
    """The shells and package managers that an image would keep if its packages brought all of them."""
    kept = set()
    for number, part in enumerate(debian_parts(image)):
        unpacked, target = tmp_path / f"unpacked-{number}", tmp_path / f"target-{number}"
        target.mkdir()
        for old, new in MERGED_FOLDERS.items():
            (unpacked / new).mkdir(parents=True)
            (unpacked / old).symlink_to(new)
        # each pattern stands for itself, what it names besides is of no interest here; what lies in another comes first
        named = sorted({*part.keep, *part.drop} - {"**"}, key=len, reverse=True)
        tempting = [f"{folder}/{name}" for folder in FOLDERS for name in SHELLS | PACKAGE_MANAGERS]
        for path in (unpacked / name for name in (*tempting, *named)):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_dir():
                path.write_text("a file\n")
        assemble(part, unpacked, {}, target)
        kept |= {path.name for path in target.rglob("*") if path.is_file()}
    return kept & (SHELLS | PACKAGE_MANAGERS)


def example(tmp_path: Path, keep: str, drop: str = "[]") -> ImageSpec:
    folder = tmp_path / "example"
    folder.mkdir()
    part = f'[parts.root]\nkind = "debian"\npackages = ["redis-server"]\nkeep = {keep}\ndrop = {drop}\n'
    (folder / "image.toml").write_text(f'description = "d"\nversion = "1"\n{part}')
    return load_image(folder)


@each_image
def test_an_image_keeps_a_shell_only_if_it_cannot_do_without(image: ImageSpec, tmp_path: Path) -> None:
    assert kept_of_everything(image, tmp_path) == (THEIR_SHELL if image.name in NEED_A_SHELL else set())


@each_image
def test_no_package_that_an_image_names_is_a_shell_unless_it_needs_one(image: ImageSpec) -> None:
    named = {name for part in debian_parts(image) for name in part.packages} & SHELL_PACKAGES
    assert named == ({"dash"} if image.name in NEED_A_SHELL else set())


def test_an_image_with_a_shell_says_who_needs_it() -> None:
    assert NEED_A_SHELL.keys() <= {image.name for image in debian_images}
    for image in debian_images:
        if image.name in NEED_A_SHELL:
            comments = [line for line in (image.folder / "image.toml").read_text().splitlines() if line.startswith("#")]
            assert [line for line in comments if "shell" in line and NEED_A_SHELL[image.name] in line], image.name


@pytest.mark.parametrize(
    ("keep", "found"),
    [
        ('["usr/bin/redis-server"]', set()),
        ('["usr/bin/redis-server", "usr/bin/dash"]', {"dash"}),
        ('["bin/sh"]', {"sh"}),
        ('["usr/bin/*sh"]', {name for name in SHELLS if name.endswith("sh")}),
        ('["usr/bin"]', SHELLS | PACKAGE_MANAGERS),
        ('["**"]', SHELLS | PACKAGE_MANAGERS),
    ],
)
def test_every_way_to_keep_a_shell_would_be_seen(tmp_path: Path, keep: str, found: set[str]) -> None:
    assert kept_of_everything(example(tmp_path, keep), tmp_path) == found


def test_what_is_dropped_again_is_not_kept(tmp_path: Path) -> None:
    image = example(tmp_path, '["usr/bin/redis-server", "usr/bin/dash"]', '["usr/bin/dash"]')
    assert kept_of_everything(image, tmp_path) == set()
