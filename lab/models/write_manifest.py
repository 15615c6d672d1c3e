"""Writes the manifest of the tiny model after it was changed: python -m lab.models.write_manifest."""

from lab.layout import ENVIRONMENT
from lab.models.store import manifest_text
from lab.models.tiny_llama import files
from llmaas.files import write_atomically
from llmaas.paths import stack_file

if __name__ == "__main__":
    path = stack_file(ENVIRONMENT).parent / "artefacts" / "tiny-llama.sha256"
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, manifest_text(files()))
    print(path)
