import hashlib
import json
import struct

from lab.models import tiny_llama
from lab.models.store import manifest_text
from lab.models.tokenizer import SPECIAL, byte_letters, train
from llmaas.paths import stack_file
from llmaas.settings import load_platform

FILES = tiny_llama.files()


def test_the_model_has_the_bytes_that_its_manifest_declares() -> None:
    manifest = stack_file("lab").parent / load_platform("lab").artefact("tiny-llama").manifest
    assert manifest_text(FILES) == manifest.read_text(encoding="ascii")


def test_the_manifest_is_what_sha256sum_reads() -> None:
    line = manifest_text({"a": b"content"})
    assert line == f"{hashlib.sha256(b'content').hexdigest()}  a\n"


def test_the_weights_fill_their_file_without_gap_or_overlap() -> None:
    content = FILES["model.safetensors"]
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    del header["__metadata__"]
    position = 0
    for tensor in header.values():
        begin, end = tensor["data_offsets"]
        assert begin == position
        size = 2
        for extent in tensor["shape"]:
            size *= extent
        assert end - begin == size
        position = end
    assert 8 + length + position == len(content)


def test_the_declared_architecture_is_that_of_the_weights() -> None:
    declared = load_platform("lab").artefact("tiny-llama").architecture
    assert declared is not None
    parameters = 0
    for shape in tiny_llama.shapes().values():
        size = 1
        for extent in shape:
            size *= extent
        parameters += size
    assert declared.parameters == parameters
    assert declared.layers == tiny_llama.LAYERS


def test_every_byte_has_a_token_and_every_merge_gives_one() -> None:
    vocabulary, merges = train("low lower lowest newer newest wider", 275)
    assert len(vocabulary) == 275
    assert set(byte_letters().values()) <= vocabulary.keys()
    assert all(left + right in vocabulary for left, right in merges)
    assert [vocabulary[token] for token in SPECIAL] == [0, 1, 2]


def test_the_most_frequent_pair_is_merged_first() -> None:
    _, merges = train("aaab aaab xyz", 260)
    assert merges[0] == ("a", "a")
