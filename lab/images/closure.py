"""Takes from an unpacked Debian root what an image names, and the libraries that those programs are linked against."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from lab.images.debian import MERGED_FOLDERS, DebianFile
from lab.images.python import STANDARD_LIBRARY, compile_bytecode
from lab.images.spec import DebianPart, ImageError

_ELF_MAGIC: Final = b"\x7fELF"
_LOADER: Final = "/lib64/ld-linux-x86-64.so.2"
_EVERYTHING: Final = "**"
_FOLDER_MODE: Final = 0o755
_TEMPORARY_FOLDER_MODE: Final = 0o1777


def assemble(part: DebianPart, unpacked: Path, owners: Mapping[str, DebianFile], target: Path) -> None:
    """Fill ``target`` with the files that ``part`` keeps, their libraries, its account and the list of packages.

    Raises:
        ImageError: a pattern matches nothing, or a library is in none of the packages.
    """
    files = _kept_files(part, unpacked)
    if _EVERYTHING not in part.keep:
        files |= _libraries(unpacked, files)
    licences = {f"usr/share/doc/{owners[name].package}/copyright" for name in files if name in owners}
    files |= {name for name in licences if (unpacked / name).exists()}
    for old, new in MERGED_FOLDERS.items():
        (target / new).mkdir(parents=True, exist_ok=True)
        (target / old).symlink_to(new)
    for name in sorted(files):
        _copy(unpacked / name, target / name)
    if (target / STANDARD_LIBRARY).is_dir():
        compile_bytecode(target / STANDARD_LIBRARY, STANDARD_LIBRARY)
    packages = sorted({f"{owners[name].package} {owners[name].version}" for name in files if name in owners})
    _write(target / "usr/share/llmaas/packages.txt", packages)
    _write_account(part, target)


def _kept_files(part: DebianPart, root: Path) -> set[str]:
    kept = {name for pattern in part.keep for name in _matches(root, pattern)}
    dropped = {name for pattern in part.drop for name in _matches(root, pattern)}
    return kept - dropped


def _matches(root: Path, pattern: str) -> set[str]:
    """Files and links under ``root`` that a pattern names; a folder stands for all that is in it."""
    found: set[str] = set()
    for match in _paths(root, pattern):
        if match.is_dir() and not match.is_symlink():
            found |= {_real_name(root, path) for path in match.rglob("*") if path.is_symlink() or not path.is_dir()}
        else:
            found |= _with_link_targets(root, match)
    if not found:
        raise ImageError(f"the pattern {pattern!r} matches no file of the packages", remedy="correct it in image.toml")
    return found - set(MERGED_FOLDERS)


def _paths(root: Path, pattern: str) -> Iterable[Path]:
    if pattern == _EVERYTHING:
        return [root]
    # glob follows a link that it is given by name, out of the root if the link is absolute.
    return [root / pattern] if (root / pattern).is_symlink() else root.glob(pattern)


def _real_name(root: Path, path: Path) -> str:
    """The path from the root, with links in its folders (``/lib``) resolved but not the file itself."""
    return str((path.parent.resolve() / path.name).relative_to(root.resolve()))


def _with_link_targets(root: Path, path: Path) -> set[str]:
    names = {_real_name(root, path)}
    while path.is_symlink():
        target = path.readlink()
        path = root / str(target).lstrip("/") if target.is_absolute() else path.parent / target
        if not path.exists() and not path.is_symlink():
            break
        names.add(_real_name(root, path))
    return names


def _libraries(root: Path, files: Iterable[str]) -> set[str]:
    """The shared libraries that the programs among ``files`` load, asked from the loader of the root itself."""
    found: set[str] = set()
    for name in sorted(files):
        path = root / name
        if path.is_symlink() or not _is_elf(path):
            continue
        result = subprocess.run(
            ["chroot", str(root), _LOADER, "--list", f"/{name}"], check=False, capture_output=True, text=True
        )
        missing = re.findall(r"(\S+) => not found", result.stdout)
        if missing:
            raise ImageError(
                f"{name} needs {', '.join(missing)}, which is in none of the packages",
                remedy="add the package that has it to image.toml, or drop the file",
            )
        # The loader itself is named by every dynamic program, and by none of them as a library.
        found |= _with_link_targets(root, root / _LOADER.lstrip("/"))
        for library in re.findall(r"=> (/\S+)", result.stdout):
            found |= _with_link_targets(root, root / library.lstrip("/"))
    return found


def _is_elf(path: Path) -> bool:
    # The loader lists nothing for what is ELF but not dynamic: object files and static programs.
    with path.open("rb") as stream:
        return stream.read(len(_ELF_MAGIC)) == _ELF_MAGIC


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def _write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def _write_account(part: DebianPart, target: Path) -> None:
    """The account of the part, root (owner of all files, without login), and a place for temporary files."""
    user = part.user
    for folder in ("etc", "tmp", "run", "var"):
        (target / folder).mkdir(mode=_FOLDER_MODE, exist_ok=True)
    (target / "tmp").chmod(_TEMPORARY_FOLDER_MODE)
    _write(
        target / "etc/passwd",
        [
            "root:x:0:0:root:/:/usr/sbin/nologin",
            f"{user.name}:x:{user.uid}:{user.uid}:{user.name}:/tmp:/usr/sbin/nologin",
        ],
    )
    _write(target / "etc/group", ["root:x:0:", f"{user.name}:x:{user.uid}:"])
    _write(target / "etc/nsswitch.conf", ["passwd: files", "group: files", "hosts: files dns"])
