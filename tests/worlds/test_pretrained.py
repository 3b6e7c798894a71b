"""SmolLM2 out of its package: whole or not at all, the same weights, a model that talks."""

import json
import os
import subprocess
import sys
import types

import pytest
import torch
from safetensors.torch import load_file

from course_lib.lm import gpt
from course_lib.lm.generate import Sampling, generate
from course_lib.lm.gpt import GPT, GPTConfig
from course_lib.worlds import pretrained


@pytest.fixture(scope="module")
def smollm2():
    torch.set_num_threads(1)
    return pretrained.smollm2(torch.float32)


# --- The real model ----------------------------------------------------------------------------


def test_the_shape_is_smollm2s(smollm2):
    model, tokenizer = smollm2
    assert model.num_parameters() == 134_515_008  # as its authors publish it
    assert model.config == GPTConfig(
        vocab_size=49152,
        context=8192,
        layers=30,
        width=576,
        heads=9,
        kv_heads=3,
        head_size=64,
        hidden=1536,
        rope_base=100_000.0,
    )
    assert len(tokenizer) == 49152


def test_it_talks(smollm2):
    model, tokenizer = smollm2
    prompt = torch.tensor([pretrained.chat_tokens(tokenizer, "What is the capital of France?")])
    end = tokenizer.eos_token_id
    out = generate(model, prompt, sampling=Sampling(16, temperature=0.0, stop_tokens=(end,)))
    reply = out.tokens[0][out.response_mask[0]]
    assert tokenizer.decode(reply, skip_special_tokens=True) == "The capital of France is Paris."
    assert reply[-1] == end


def test_the_tokenizer_pads_on_the_left_with_a_token_of_its_own(smollm2):
    tokenizer = smollm2[1]
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")
    batch = tokenizer(["one", "one two three"], padding=True)
    assert batch["attention_mask"][0] == [0, 0, 1]
    assert batch["input_ids"][0][:2] == [tokenizer.pad_token_id] * 2
    text = "Naïve cafés — don't, it 's 12345 \n\n ok"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_chat_template_inserts_a_system_message(smollm2):
    tokenizer = smollm2[1]
    text = tokenizer.decode(pretrained.chat_tokens(tokenizer, "Hello"))
    user = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    inserted = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    assert text == f"<|im_start|>system\n{inserted}<|im_end|>\n{user}"
    own = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    text = tokenizer.decode(pretrained.chat_tokens(tokenizer, own))
    assert text == f"<|im_start|>system\nBe brief.<|im_end|>\n{user}"


def test_prepared_and_read_directly_are_the_same_model(smollm2, monkeypatch, tmp_path):
    (tmp_path / "a file").touch()  # no folder can be made below it
    monkeypatch.setattr(
        pretrained.prepare, "__defaults__", (tmp_path / "a file" / "share" / "smollm2",)
    )
    model, tokenizer = pretrained.smollm2(torch.float32)
    expected = smollm2[0].state_dict()
    assert all(torch.equal(w, expected[name]) for name, w in model.state_dict().items())
    assert (tokenizer.pad_token_id, tokenizer.padding_side) == (0, "left")
    assert model.head.weight is model.embedding.weight


def test_the_logits_are_those_of_transformers():
    """Recorded from transformers' own reading of the file; `smollm2_parity` runs it."""
    ours = pretrained.read_gguf(pretrained.smollm2_gguf())
    tokens = torch.tensor([[0, 0, 504, 3575, 282, 4649], [19556, 905, 30, 1812, 416, 28]])
    valid = torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6])
    with torch.no_grad():
        best = ours(tokens, valid)[:, -1].topk(4)
    assert best.indices.tolist() == [[314, 28, 5721, 25], [339, 346, 284, 2107]]
    expected = [[23.7721, 21.7845, 21.7008, 20.6783], [20.6676, 20.4411, 19.6920, 19.4327]]
    torch.testing.assert_close(best.values, torch.tensor(expected), atol=1e-3, rtol=0)


# --- Kept on the disk, whole or not at all -----------------------------------------------------


class FakeTokenizer:
    def save_pretrained(self, folder) -> None:
        (folder / "tokenizer.json").write_text('{"words": 7}')


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A tiny model in place of SmolLM2; counts how often it is read from its source."""
    source = tmp_path / "source.gguf"
    source.write_bytes(b"weights")
    state = types.SimpleNamespace(source=source, folder=tmp_path / "share" / "model", reads=0)
    torch.manual_seed(0)
    state.model = GPT(GPTConfig(vocab_size=7, layers=1, width=8, heads=2)).to(torch.bfloat16)

    def read(path, dtype):
        state.reads += 1
        return state.model

    monkeypatch.setattr(pretrained, "smollm2_gguf", lambda: source)
    monkeypatch.setattr(pretrained, "read_gguf", read)
    monkeypatch.setattr(pretrained, "_gguf_tokenizer", lambda path: FakeTokenizer())
    return state


def assert_whole(small) -> None:
    weights = gpt.load(small.folder / "model.safetensors").state_dict()
    expected = small.model.state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert [p.name for p in small.folder.parent.iterdir()] == [small.folder.name]


def test_unpacked_once(small):
    for _ in range(2):
        assert pretrained.prepare(small.folder) == small.folder
        assert_whole(small)
    assert small.reads == 1
    assert load_file(small.folder / "model.safetensors")["embedding.weight"].dtype == torch.bfloat16
    if os.name == "posix":  # another user of the machine may read it
        assert all(p.stat().st_mode & 0o044 == 0o044 for p in small.folder.iterdir())


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "files.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_file_is_noticed_and_mended(small, name, damage):
    file = pretrained.prepare(small.folder) / name
    content = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(content[:-1])
    pretrained.prepare(small.folder)
    assert small.reads == 2
    assert_whole(small)


def test_another_source_or_format_is_unpacked_again(small, monkeypatch):
    pretrained.prepare(small.folder)
    small.source.write_bytes(b"other weights")
    pretrained.prepare(small.folder)
    monkeypatch.setattr(pretrained, "FORMAT", pretrained.FORMAT + 1)
    pretrained.prepare(small.folder)
    assert small.reads == 3
    assert_whole(small)


@pytest.mark.parametrize("step", ["save", "rename"])
def test_an_interrupt_leaves_nothing(small, monkeypatch, step):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*((gpt, "save") if step == "save" else (os, "rename")), interrupted)
        with pytest.raises(KeyboardInterrupt):
            pretrained.prepare(small.folder)
    assert list(small.folder.parent.iterdir()) == []
    pretrained.prepare(small.folder)
    assert_whole(small)


def test_what_a_killed_conversion_left_is_removed_unless_it_may_still_run(small):
    small.folder.parent.mkdir()
    old, young = (small.folder.with_name(f"model.part-{name}") for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
    os.utime(old, (0, 0))
    pretrained.prepare(small.folder)
    assert not old.exists() and young.exists()
    young.joinpath("model.safetensors").unlink()
    young.rmdir()
    assert_whole(small)


def test_two_at_once_agree(small, monkeypatch):
    """A second kernel finishes while the first is still unpacking."""
    save, nested = gpt.save, []

    def slow(model, path):
        if not nested:
            nested.append(True)
            pretrained.prepare(small.folder)
        save(model, path)

    monkeypatch.setattr(gpt, "save", slow)
    pretrained.prepare(small.folder)
    assert small.reads == 2
    assert_whole(small)


def test_a_full_disk_leaves_nothing(small, monkeypatch):
    def full(model, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gpt, "save", full)
    with pytest.raises(OSError, match="No space left"):
        pretrained.prepare(small.folder)
    assert list(small.folder.parent.iterdir()) == []


def test_a_manifest_of_another_kind_is_not_believed(small):
    pretrained.prepare(small.folder)
    for content in ("", "[]", "{}", json.dumps({"sizes": 3})):
        (small.folder / "files.json").write_text(content)
        pretrained.prepare(small.folder)
        assert_whole(small)


# --- What surrounds it -------------------------------------------------------------------------


def test_a_missing_package_is_named(monkeypatch):
    with pytest.raises(ModuleNotFoundError, match=r"no-such-model is not installed.*--no-deps"):
        pretrained.package_folder("no_such_model", "no-such-model")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for load in (pretrained.smollm2, pretrained.sentence_encoder):
        with pytest.raises(ModuleNotFoundError, match=r"is not installed.*requirements-models.txt"):
            load()


@pytest.mark.parametrize(
    ("half", "chosen"),
    [
        ({1: 1, 16: 1, 128: 1}, torch.bfloat16),  # the processor has the instructions
        ({1: 1, 16: 40, 128: 90}, torch.float32),  # half the bytes, but slow to convert
        ({1: 2.1, 16: 1, 128: 1}, torch.bfloat16),  # a token at a time, both wait for the memory
    ],
)
def test_the_dtype_is_the_one_measured_as_faster(monkeypatch, half, chosen):
    now = [0.0]

    def linear(x, weight):
        now[0] += half[len(x)] if x.dtype == torch.bfloat16 else 2.0

    monkeypatch.setattr(pretrained.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(pretrained.F, "linear", linear)
    assert pretrained.fast_dtype.__wrapped__() == chosen


def test_importing_does_not_import_transformers():
    code = (
        "import sys; import course_lib.worlds.pretrained; "
        "print([m for m in ('transformers', 'gguf', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
