"""Places the weights of models on a host."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import urllib.request
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: weights
short_description: Model weights, fetched over TLS and checked by SHA-256
description:
  - Fetches what is missing or wrong into a folder beside, checks every file, then puts the whole folder in place.
  - A file whose size and time are as when it was checked is not read again unless I(verify) is true.
options:
  artefacts:
    description: Each with name and manifest, the lines of C(sha256sum) with file names below the artefact.
    type: list
    elements: dict
    required: true
  url:
    description: Where the artefacts are served; a file lies at url/name/file.
    type: str
    required: true
  ca_certificate:
    description: Certificate of the authority that signed the server's.
    type: path
    required: true
  folder:
    description: Where the artefacts are placed.
    type: path
    required: true
  only:
    description:
      - The files of each artefact that are wanted on this host; all of them where the list is empty.
      - An artefact whose manifest names none of them gives none, and no folder.
    type: list
    elements: str
    default: []
  exact:
    description: Whether to remove from the folder whatever is not wanted; a server may still read old weights.
    type: bool
    default: false
  verify:
    description: Whether to read every file again and compare its digest.
    type: bool
    default: false
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Place the weights
  llmaas.host.weights:
    url: https://10.77.0.1:8443/models
    ca_certificate: /etc/llmaas/trust/root.crt
    folder: /var/lib/llmaas/models
    artefacts:
      - {name: tiny-llama, manifest: "<digest>  config.json"}

- name: Place the tokenizers alone
  llmaas.host.weights:
    url: https://10.77.0.1:8443/models
    ca_certificate: /etc/llmaas/trust/root.crt
    folder: /var/lib/llmaas/volumes/tokenizers
    only: [tokenizer.json]
    exact: true
    artefacts:
      - {name: tiny-llama, manifest: "<digest>  tokenizer.json"}
"""

RETURN = r"""
fetched:
  description: Files that were or would be fetched.
  returned: always
  type: list
  elements: str
removed:
  description: Files and folders that were or would be removed.
  returned: always
  type: list
  elements: str
"""

BLOCK = 1024 * 1024
STAMP = ".checked"


class WeightsError(Exception):
    """A file is not what the manifest says."""


def manifest_entries(text: str, artefact: str) -> dict[str, str]:
    """File name -> SHA-256 of a manifest."""
    entries = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        digest, _, name = line.partition("  ")
        name = name.strip().removeprefix("./")
        if len(digest) != 64 or not name or name.startswith("/") or ".." in name.split("/"):
            raise WeightsError(f"manifest of {artefact}: cannot read the line {line!r}")
        entries[name] = digest.lower()
    if not entries:
        raise WeightsError(f"manifest of {artefact}: it lists no file")
    return entries


def wanted_files(artefact: dict[str, Any], only: list[str]) -> dict[str, str]:
    """File name -> SHA-256 of what this host gets of an artefact."""
    entries = manifest_entries(artefact["manifest"], artefact["name"])
    return {file: digest for file, digest in entries.items() if not only or file in only}


def digest_of(path: str) -> str:
    """SHA-256 of a file, read block by block."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def stamp_of(path: str, digest: str) -> str:
    """A line that changes when the file is replaced or touched."""
    found = os.stat(path)
    return f"{digest} {found.st_size} {found.st_mtime_ns}"


def read_stamps(folder: str) -> dict[str, str]:
    """What was checked when: file name -> stamp."""
    try:
        with open(os.path.join(folder, STAMP), encoding="utf-8") as file:
            pairs = (line.rstrip("\n").partition("\t") for line in file)
            return {name: stamp for name, _, stamp in pairs}
    except FileNotFoundError:
        return {}


def is_right(path: str, digest: str, stamp: str | None, *, verify: bool) -> bool:
    """Whether the file is there and holds what the manifest says."""
    if not os.path.isfile(path):
        return False
    if not verify and stamp == stamp_of(path, digest):
        return True
    return digest_of(path) == digest


def make_folder(path: str) -> None:
    """A folder that programs of other accounts can read, whatever the umask."""
    if not os.path.isdir(path):
        os.makedirs(path)
        os.chmod(path, 0o755)  # noqa: S103 - what lies there is public


def fetch(url: str, path: str, digest: str, context: ssl.SSLContext) -> None:
    """Download one file beside its place, check it, then put it there."""
    make_folder(os.path.dirname(path))
    partial = f"{path}.partial"
    with urllib.request.urlopen(url, context=context, timeout=60) as answer, open(partial, "wb") as file:  # noqa: S310
        shutil.copyfileobj(answer, file, BLOCK)
        file.flush()
        os.fsync(file.fileno())
    found = digest_of(partial)
    if found != digest:
        os.unlink(partial)
        raise WeightsError(f"{url}: SHA-256 is {found}, the manifest says {digest}; nothing was placed")
    os.chmod(partial, 0o444)
    os.replace(partial, path)


def place(artefact: dict[str, Any], params: dict[str, Any], context: ssl.SSLContext | None) -> list[str]:
    """Bring one artefact into its declared state; the files that were or would be fetched (no context: check mode)."""
    name = artefact["name"]
    folder = os.path.join(params["folder"], name)
    entries = wanted_files(artefact, params["only"])
    if not entries:
        return []
    stamps = read_stamps(folder)
    wrong = [
        file
        for file, digest in sorted(entries.items())
        if not is_right(os.path.join(folder, file), digest, stamps.get(file), verify=params["verify"])
    ]
    if context is None:
        return [f"{name}/{file}" for file in wrong]
    make_folder(params["folder"])
    make_folder(folder)
    for file in wrong:
        fetch(f"{params['url']}/{name}/{file}", os.path.join(folder, file), entries[file], context)
    wanted = {file: stamp_of(os.path.join(folder, file), digest) for file, digest in entries.items()}
    if wanted != stamps:
        with open(os.path.join(folder, STAMP), "w", encoding="utf-8") as out:
            out.writelines(f"{file}\t{stamp}\n" for file, stamp in sorted(wanted.items()))
    return [f"{name}/{file}" for file in wrong]


def clear(params: dict[str, Any], *, check: bool) -> list[str]:
    """Remove from the folder what no artefact wants there; what was or would be removed, as paths below it."""
    root = params["folder"]
    wanted = {
        os.path.join(artefact["name"], file)
        for artefact in params["artefacts"]
        if (files := wanted_files(artefact, params["only"]))
        for file in (*files, STAMP)
    }
    removed = []
    # what lies in a folder comes before the folder, which is then empty
    for folder, folders, files_there in os.walk(root, topdown=False):
        for name in (*files_there, *folders):
            full = os.path.join(folder, name)
            path = os.path.relpath(full, root)
            if path in wanted or any(each.startswith(f"{path}/") for each in wanted):
                continue
            removed.append(path)
            if not check:
                (os.rmdir if os.path.isdir(full) and not os.path.islink(full) else os.unlink)(full)
    return sorted(removed)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "artefacts": {"type": "list", "elements": "dict", "required": True},
            "url": {"type": "str", "required": True},
            "ca_certificate": {"type": "path", "required": True},
            "folder": {"type": "path", "required": True},
            "only": {"type": "list", "elements": "str", "default": []},
            "exact": {"type": "bool", "default": False},
            "verify": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    context = None
    fetched: list[str] = []
    removed: list[str] = []
    try:
        if not module.check_mode:
            context = ssl.create_default_context(cafile=module.params["ca_certificate"])
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        for artefact in module.params["artefacts"]:
            fetched.extend(place(artefact, module.params, context))
        # last: where something cannot be fetched, nothing is taken away
        if module.params["exact"]:
            removed = clear(module.params, check=module.check_mode)
    except (OSError, WeightsError) as error:
        module.fail_json(msg=str(error), fetched=fetched, removed=removed)
    module.exit_json(changed=bool(fetched or removed), fetched=fetched, removed=removed)


if __name__ == "__main__":
    main()
