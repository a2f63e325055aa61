"""llama.cpp as a backend: the rows of transformers, the same in any batch; limits refused before llama.cpp aborts."""

from __future__ import annotations

import gc
import logging
import mmap
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_embed.backends import Batch
from edge_embed.backends.gguf import log
from edge_embed.backends.gguf.backend import SINGLE_CALL, GgufBackend, load
from edge_embed.backends.gguf.calls import TOKENS_PER_CALL, calls, context_size
from edge_embed.backends.gguf.memory import MappedFiles, check_memory
from edge_embed.backends.gguf.model import PINNED, check_version
from edge_embed.errors import BackendError, CorruptModelError, InputError, MissingDependencyError, UnsupportedModelError
from edge_embed.pipeline.vocabulary import VocabularyTokenizer
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import File, Weights

from support import gguf_files, tiny
from support.threads import wrong_in_threads

LONG = 1024  # tokens; more than TOKENS_PER_CALL, so that both kinds of context are met
NAMES = ["bert", "eurobert", "qwen3", "qwen3-wide-heads"]
F32, F16 = gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16
SPEC = ModelSpec(name="t", architecture="t", dim=32, max_tokens=LONG, pooling="mean", normalize=True)
Model = Any


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Model]]:
    """Return a folder of NAME-F32.gguf and NAME-F16.gguf, and the models of transformers that they hold."""
    folder = tmp_path_factory.mktemp("gguf")
    made = {}
    for name in NAMES:
        model = tiny.make(name, folder / name, max_position_embeddings=LONG)
        tensors = {key: value.detach().numpy() for key, value in model.state_dict().items()}
        for kind in (F32, F16):
            gguf_files.write(
                folder / f"{name}-{kind.name}.gguf", model.config.to_dict(), tensors, "mean", kind, tiny.WORDS
            )
        made[name] = model
    return folder, made


def open_gguf(folder: Path, name: str, **changes: Any) -> GgufBackend:
    weights = Weights(format="gguf", level="F32", files=(File(path=f"{name}.gguf"),))
    return load(folder, replace(SPEC, **changes), weights, 2)


def some_ids(*lengths: int) -> list[NDArray[np.int32]]:
    rng = np.random.default_rng(11)
    return [rng.integers(4, len(tiny.WORDS), length).astype(np.int32) for length in lengths]


def oracle(model: Model, ids: NDArray[np.int32]) -> NDArray[np.float32]:
    with torch.no_grad():
        rows: NDArray[np.float32] = model(torch.tensor(ids[None].astype(np.int64))).last_hidden_state[0].numpy()
    return rows


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    norms: NDArray[np.float32] = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.asarray((a * b).sum(axis=-1) / norms, np.float32)


LENGTHS = (5, 1, 64, 2, 33, 200, SINGLE_CALL + 1, TOKENS_PER_CALL, TOKENS_PER_CALL + 1, 1000)
# The largest difference from transformers of an element of a row, with F32 weights; hidden states are near 3.
# Measured for texts that share calls: 2e-5 and for bert 3e-3 (its GELU is a table in float16). Longer texts go through
# attention whose keys and values are float16: 0.02.
EXACT = {"bert": 6e-3, "eurobert": 5e-5, "qwen3": 5e-5, "qwen3-wide-heads": 5e-5}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pooling", ["mean", "last", "first"])
def test_rows_are_those_of_transformers(models: tuple[Path, dict[str, Model]], name: str, pooling: str) -> None:
    folder, references = models
    ids = some_ids(*LENGTHS)
    for kind in ("F32", "F16"):
        backend = open_gguf(folder, f"{name}-{kind}", pooling=pooling)
        for row, one in zip(backend.forward(Batch(ids)), ids, strict=True):
            expected = oracle(references[name], one)
            assert row.dtype == np.float32
            if pooling == "mean":
                assert row.shape == expected.shape
            at = slice(len(expected) - len(row), None) if pooling == "last" else slice(0, len(row))
            assert cosines(row, expected[at]).min() >= 0.9997, (kind, len(one))  # measured: 0.99986
            if kind == "F32" and len(one) <= TOKENS_PER_CALL:
                np.testing.assert_allclose(row, expected[at], atol=EXACT[name])
        backend.close()


# The largest change of an element of a row among others, F32 and F16; hidden states are near 3. F16 weights round the
# activations, which a change in the last bit can send the other way, and so does the table of bert's GELU.
COMPANY = {"F32": 2e-5, "F16": 2e-3}
TABLE = 6e-3


@pytest.mark.parametrize("kind", ["F32", "F16"])
@pytest.mark.parametrize("name", NAMES)
def test_a_vector_does_not_depend_on_its_batch(models: tuple[Path, dict[str, Model]], name: str, kind: str) -> None:
    ids = some_ids(5, 1, 64, 2, 33, 200, 70, 600)
    for pooling in ("mean", "last"):
        backend = open_gguf(models[0], f"{name}-{kind}", pooling=pooling)
        alone = [backend.forward(Batch([one]))[0] for one in ids]
        for order in ([0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], [1, 3], [2, 2, 0]):
            for row, n in zip(backend.forward(Batch([ids[n] for n in order])), order, strict=True):
                np.testing.assert_allclose(row, alone[n], atol=TABLE if name == "bert" else COMPANY[kind])
        again = [backend.forward(Batch([one]))[0] for one in ids]
        assert all((a == b).all() for a, b in zip(alone, again, strict=True)), "one sequence a call is deterministic"
        backend.close()


def test_attention_of_the_description_is_obeyed(models: tuple[Path, dict[str, Model]]) -> None:
    ids = some_ids(30, 600)
    causal = [open_gguf(models[0], "qwen3-F32", attention=value).forward(Batch(ids)) for value in (None, "causal")]
    assert all((a == b).all() for a, b in zip(*causal, strict=True))
    full = open_gguf(models[0], "qwen3-F32", attention="full").forward(Batch(ids))
    for row, other in zip(full, causal[0], strict=True):
        assert np.abs(row[0] - other[0]).max() > 0.1, "the first token sees those after it"
    with pytest.raises(UnsupportedModelError, match="says causal attention, its architecture is an encoder's"):
        open_gguf(models[0], "bert-F32", attention="causal")


def test_calls_hold_what_they_may() -> None:
    lengths = [TOKENS_PER_CALL - 12, 12, 13, 600, *[1] * 130, TOKENS_PER_CALL]
    found = list(calls(lengths))
    assert found[0] == [0, 1]
    assert [3] in found
    assert sorted(n for call in found for n in call) == list(range(len(lengths)))
    assert max(map(len, found)) <= 64
    assert all(sum(lengths[n] for n in call) <= TOKENS_PER_CALL for call in found if len(call) > 1)
    assert list(calls([TOKENS_PER_CALL - 12, 20, 12], prefix_length=8)) == [[0, 1], [2]], (
        "the prompt's 8 tokens count once"
    )


def test_a_long_text_has_little_more_room_than_it_needs() -> None:
    """2,953 tokens are E5-V's longest image with its prompt."""
    assert [context_size(n) for n in (257, 600, 1024, 2953, 4097, 1 << 20)] == [320, 640, 1024, 3072, 4608, 1 << 20]


def test_threads_may_share_it(models: tuple[Path, dict[str, Model]]) -> None:
    backend = open_gguf(models[0], "qwen3-F32")
    ids = some_ids(9, 17, 600)
    expected = [backend.forward(Batch([one]))[0] for one in ids]
    assert not wrong_in_threads(
        lambda n: bool((backend.forward(Batch([ids[n]]))[0] == expected[n]).all()), inputs=3, calls=10
    )


def resident() -> int:
    return int(re.findall(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[0])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_opening_and_closing_does_not_grow(models: tuple[Path, dict[str, Model]]) -> None:
    ids = some_ids(20, 600)

    def once() -> None:
        backend = open_gguf(models[0], "qwen3-F16")
        backend.forward(Batch(ids))
        assert backend.encode_text("abc")
        backend.close()

    for _ in range(20):
        once()
    gc.collect()
    before = resident()
    for _ in range(100):
        once()
    gc.collect()
    assert resident() - before < 20_000, (
        "kB; a hundred contexts have 100,000 and more; the heap of a long run moves by 4,000"
    )


def test_a_closed_model_says_so(models: tuple[Path, dict[str, Model]]) -> None:
    backend = open_gguf(models[0], "bert-F16")
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="this model was closed"):
        backend.forward(Batch(some_ids(3)))
    with pytest.raises(BackendError, match="this model was closed"):
        backend.encode_text("a")


def test_ids_that_llama_cpp_would_abort_for(models: tuple[Path, dict[str, Model]]) -> None:
    backend = open_gguf(models[0], "bert-F32")
    size = len(tiny.WORDS)
    good = some_ids(3)[0]
    for bad, message in {
        (size,): f"input 1 has token id {size}; the model has 0 to {size - 1}: its tokenizer belongs to another model",
        (3, -1): "input 1 has token id -1",
        (): f"input 1 has 0 tokens; the model takes 1 to {LONG}",
        (5,) * (LONG + 1): f"input 1 has {LONG + 1} tokens; the model takes 1 to {LONG}",
    }.items():
        with pytest.raises(InputError, match=re.escape(message)):
            backend.forward(Batch([good, np.array(bad, np.int32)]))
    assert backend.forward(Batch([good]))[0].shape == (3, 32)


def test_descriptions_that_do_not_belong(models: tuple[Path, dict[str, Model]]) -> None:
    with pytest.raises(CorruptModelError, match="has 32 dimensions, the model's description says 384"):
        open_gguf(models[0], "bert-F32", dim=384)
    with pytest.raises(CorruptModelError, match=r"a context of 1024 tokens, .* says 4096: pass max_tokens=1024"):
        open_gguf(models[0], "bert-F32", max_tokens=4096)


def test_files_that_cannot_be_loaded(models: tuple[Path, dict[str, Model]], tmp_path: Path) -> None:
    whole = (models[0] / "qwen3-F32.gguf").read_bytes()
    for data, error, message in [
        (b"GGML" + whole[4:], CorruptModelError, "is not a GGUF file"),
        (
            whole[: len(whole) - 60],
            CorruptModelError,
            r"no whole GGUF file: .*tensor 'output_norm.weight' reaches beyond the end: it was cut",
        ),
        (whole.replace(b"qwen3", b"qwexx"), UnsupportedModelError, r"does not know .* unknown model .*'qwexx'"),
        (whole.replace(b"output_norm", b"output_mron"), CorruptModelError, "tensor 'output_norm.weight' not found"),
        (whole.replace(b"general.architecture", b"general.arkhitecture"), CorruptModelError, "does not name its arch"),
    ]:
        (tmp_path / "model.gguf").write_bytes(data)
        with pytest.raises(error, match=message):
            open_gguf(tmp_path, "model")
    with pytest.raises(CorruptModelError, match="cannot be read"):
        open_gguf(tmp_path, "nothing")


def test_another_release_is_refused() -> None:
    check_version(PINNED)
    with pytest.raises(MissingDependencyError, match=r"0\.3\.99 is installed, .* pip install llama-cpp-python=="):
        check_version("0.3.99")


def test_the_log_goes_to_logging(
    models: tuple[Path, dict[str, Model]], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "edge_embed.llama_cpp"):
        backend = open_gguf(models[0], "bert-F32")
        backend.forward(Batch(some_ids(3)))
    assert any("arch" in line and "bert" in line for line in caplog.messages)
    assert capfd.readouterr() == ("", ""), "nothing is printed"


CHILD = """
import re, resource, sys
from pathlib import Path
import numpy as np
from edge_embed.backends import Batch
from edge_embed.backends.gguf.backend import GgufBackend
from edge_embed.errors import BackendError
from edge_embed.spec.model import ModelSpec

tokens = 1 << 20
spec = ModelSpec(name="t", architecture="t", dim=32, max_tokens=tokens, pooling="last", normalize=True)
backend = GgufBackend(Path(sys.argv[1]), spec, 1)
short = Batch([np.arange(4, 40, dtype=np.int32)])
expected = backend.forward(short)[0]
used = int(re.findall(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[0]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
for _ in range(3):
    try:
        backend.forward(Batch([np.full(tokens, 5, np.int32)]))
    except BackendError as error:
        print(error)
assert (backend.forward(short)[0] == expected).all()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_too_little_memory_is_an_error_and_leaks_nothing(tmp_path: Path) -> None:
    model = tiny.make("qwen3", tmp_path / "qwen3", max_position_embeddings=1 << 20)
    tensors = {key: value.detach().numpy() for key, value in model.state_dict().items()}
    path = gguf_files.write(tmp_path / "m.gguf", model.config.to_dict(), tensors, "last", F32, tiny.WORDS)
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", CHILD, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")  # of files that llama_cpp leaves open, too
    assert done.stdout.count("has no memory for a context of 1048576 tokens: pass a smaller max_tokens") == 3


def test_an_output_buffer_that_does_not_fit(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 999 kB\nMemAvailable: 2048 kB\n")
    check_memory(2 << 20, 9, meminfo)
    with pytest.raises(BackendError, match=r"9 tokens at once need 4,000 MB .*, 2 MB are free: pass a smaller"):
        check_memory(4000 << 20, 9, meminfo)
    check_memory(4000 << 20, 9, tmp_path / "absent")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_was_read_of_a_mapped_file_is_let_go(tmp_path: Path) -> None:
    size = 64 << 20
    path, link = tmp_path / "weights.gguf", tmp_path / "link.gguf"
    path.write_bytes(bytes(range(256)) * (size // 256))
    link.symlink_to(path)
    mapped = MappedFiles([link])
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        before = resident()
        assert sum(data[::4096]) == 0
        assert resident() - before > 50_000, "kB: the file is there"
        assert mapped.release(0.5)
        assert abs(resident() - before) < 5_000
        assert data[255] == 255
        assert sum(data[::4096]) == 0
        assert mapped.release(0.51)
        assert resident() - before > 50_000, "only after every sixteenth of the file"


def test_the_vocabulary_inside_is_the_tokenizer(models: tuple[Path, dict[str, Model]]) -> None:
    backend = open_gguf(models[0], "bert-F16")
    tokenizer = tiny.tokenizer()
    tokenizer.add_special_tokens(["[SEP]"])
    for text in [
        "",
        "abc, def 42!",
        "a [SEP] b",
        "  x\n\ny  ",
        "é 漢",
        "a" * 99,
    ]:  # a word of more than 100 letters is [UNK] for tokenizers alone
        assert backend.encode_text(text) == tokenizer.encode(text).ids, text


def test_special_tokens_in_a_text_are_text_where_that_is_asked(models: tuple[Path, dict[str, Model]]) -> None:
    backend = open_gguf(models[0], "bert-F16")
    own, library = VocabularyTokenizer(backend, 60, "text"), tiny.tokenizer()
    library.add_special_tokens(["[SEP]", "[PAD]"])
    library.encode_special_tokens = True
    (plain,) = own.tokenize(["a [SEP] b [PAD]"]).ids
    assert plain.tolist() == library.encode("a [SEP] b [PAD]").ids
    (prompted,) = own.tokenize(["[PAD] b"], "[SEP] q: {text} [SEP] x").ids
    cls, sep = (library.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    inner = library.encode("q: [PAD] b", add_special_tokens=False).ids
    assert prompted.tolist() == [cls, sep, *inner, sep, library.token_to_id("x"), sep]
    assert backend.special_tokens("é [SEP]") == {"[SEP]"}


def test_a_refused_text_is_named_by_the_inputs_index(models: tuple[Path, dict[str, Model]]) -> None:
    backend = open_gguf(models[0], "bert-F16")
    with pytest.raises(InputError, match="input 70 has 0 tokens; the model takes 1 to"):
        backend.forward(Batch([*some_ids(3), np.empty(0, np.int32)], indices=[5, 70]))


def test_a_file_without_a_vocabulary(tmp_path: Path, models: tuple[Path, dict[str, Model]]) -> None:
    data = (models[0] / "bert-F16.gguf").read_bytes()
    at = data.index(b"tokenizer.ggml.model") + len(b"tokenizer.ggml.model") + 12
    assert data[at : at + 4] == b"bert"
    (tmp_path / "m.gguf").write_bytes(data[:at] + b"none" + data[at + 4 :])
    weights = Weights(format="gguf", level="F16", files=(File(path="m.gguf"),))
    backend = load(tmp_path, SPEC, weights, 1)
    assert backend.forward(Batch(some_ids(3)))[0].shape == (3, 32), "a tokenizer.json may lie beside it"
    with pytest.raises(UnsupportedModelError, match=r"has no vocabulary: put the model's tokenizer\.json beside it"):
        backend.encode_text("a")


def test_a_context_that_could_not_be_made_is_tried_again(
    models: tuple[Path, dict[str, Model]], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_gguf(models[0], "qwen3-F32")
    ids = some_ids(70, 20)
    with monkeypatch.context() as patch:
        patch.setattr("llama_cpp.llama_init_from_model", lambda model, params: None)
        for _ in range(2):
            with pytest.raises(
                BackendError, match=f"no memory for a context of {TOKENS_PER_CALL} tokens: pass a smaller max_tokens"
            ):
                backend.forward(Batch(ids))
    assert [len(rows) for rows in backend.forward(Batch(ids))] == [70, 20]


def test_a_listener_that_leaves_takes_no_equal_one_along() -> None:
    class Listener(list[str]):
        """As empty lists are, equal to the next."""

        def __call__(self, severity: int, text: str) -> None:
            self.append(text)

    first, second = Listener(), Listener()
    with log.listening(first):
        with log.listening(second):
            pass
        log._receive(4, b"heard", None)
    assert (first, second) == (["heard"], [])
