"""What an image is made of: the typed form of ``images/<name>/image.toml``."""

import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lab.errors import LabError
from lab.toolchain.tools import module_of
from llmaas.paths import PROJECT_ROOT

IMAGES_ROOT: Final = PROJECT_ROOT / "images"
NONROOT: Final = 65532


class ImageError(LabError):
    """An image cannot be described, built or pushed; the text names the image and the remedy."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class User(_Strict):
    """The account that an image's program runs as."""

    name: str = Field(default="nonroot", pattern=r"^[a-z][a-z0-9-]*$")
    uid: int = Field(default=NONROOT, ge=1, le=65535)


class DebianPart(_Strict):
    """Files of Debian packages, with the libraries that they are linked against, without the package manager."""

    kind: Literal["debian"]
    packages: tuple[str, ...] = Field(min_length=1)
    keep: tuple[str, ...] = Field(min_length=1)
    drop: tuple[str, ...] = ()
    user: User = User()


class ToolsPart(_Strict):
    """Static programs of the toolchain, in ``usr/local/bin``."""

    kind: Literal["tools"]
    programs: tuple[str, ...] = Field(min_length=1)


class GoPart(_Strict):
    """One static program, compiled from a folder of ours with its own ``go.mod``."""

    kind: Literal["go"]
    source: str
    output: str


class CommandPart(_Strict):
    """A folder filled by a program of ours; ``inputs`` are the files that decide whether it must run again."""

    kind: Literal["command"]
    command: tuple[str, ...] = Field(min_length=1)
    inputs: tuple[str, ...] = Field(min_length=1)


Part = Annotated[DebianPart | ToolsPart | GoPart | CommandPart, Field(discriminator="kind")]


class ImageSpec(_Strict):
    """One image: its name, where it is pushed, and its parts by the name that the Containerfile gives them."""

    name: str
    description: str = Field(min_length=1)
    version: str | None = None
    version_of: str | None = None
    repository: str = ""
    inputs: tuple[str, ...] = ()
    parts: dict[str, Part] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_version(self) -> "ImageSpec":
        if (self.version is None) == (self.version_of is None):
            raise ValueError("give either version or version_of, not both and not neither")
        return self

    @property
    def folder(self) -> Path:
        """Where its ``image.toml`` and Containerfile lie."""
        return IMAGES_ROOT / self.name

    @property
    def path(self) -> str:
        """Its repository in the registry, without the registry's name."""
        return self.repository or f"llmaas/{self.name}"

    @property
    def tag(self) -> str:
        """The tag under which it is pushed; the lock goes by digest."""
        if self.version is not None:
            return self.version
        return f"v{module_of(self.version_of or '').version}"


def load_image(folder: Path) -> ImageSpec:
    """Read one ``image.toml``.

    Raises:
        ImageError: with every fault of the file and its path.
    """
    path = folder / "image.toml"
    try:
        return ImageSpec.model_validate({"name": folder.name, **tomllib.loads(path.read_text())})
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise ImageError(f"{path}: {error}") from error


def load_images() -> tuple[ImageSpec, ...]:
    """All images of the project, in the order of their folders."""
    return tuple(load_image(path.parent) for path in sorted(IMAGES_ROOT.glob("*/image.toml")))
