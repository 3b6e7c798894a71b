"""Llama checkpoints in our GPT: transformers' logits, and a sentence for what does not fit."""

import gguf
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from course_lib.lm import checkpoints
from course_lib.lm.checkpoints import PARTS, UnsupportedModelError, from_hub, read_gguf

VOCABULARY = 37


def llama(seed: int = 0, **changes) -> LlamaForCausalLM:
    """A tiny Llama with random weights, large enough that every part matters."""
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        "rms_norm_eps": 1e-3,
        "tie_word_embeddings": True,
        "initializer_range": 0.3,
        "pad_token_id": None,
    }
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**(sizes | changes))).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
    return model


def save_with_tokenizer(model, folder) -> str:
    model.save_pretrained(folder)
    words = {chr(65 + i): i for i in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="A"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return str(folder)


def write_gguf(model, path, architecture: str = "llama", extra: dict | None = None) -> None:
    """The model as a GGUF file in float32, with the rows of queries and keys as GGUF has them."""
    config, state = model.config, model.state_dict()
    file = gguf.GGUFWriter(path, architecture)
    file.add_block_count(config.num_hidden_layers)
    file.add_context_length(64)
    file.add_embedding_length(config.hidden_size)
    file.add_feed_forward_length(config.intermediate_size)
    file.add_head_count(config.num_attention_heads)
    file.add_head_count_kv(config.num_key_value_heads)
    file.add_key_length(config.head_dim)
    file.add_rope_freq_base(config.rope_parameters["rope_theta"])
    file.add_layer_norm_rms_eps(config.rms_norm_eps)
    file.add_token_list([chr(65 + i) for i in range(VOCABULARY)])
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
    if not config.tie_word_embeddings:
        names["output"] = "lm_head"
    for i in range(config.num_hidden_layers):
        for theirs, ours in (part for parts in PARTS.values() for part in parts):
            names[f"blk.{i}.{theirs}"] = f"model.layers.{i}.{ours}"
    tensors = {f"{new}.weight": state[f"{old}.weight"] for new, old in names.items()} | (
        extra or {}
    )
    for name, tensor in tensors.items():
        if "attn_q." in name or "attn_k." in name:  # row (h, half, i) goes to (h, i, half)
            rows = torch.arange(len(tensor)).view(-1, 2, config.head_dim // 2)
            tensor = tensor[rows.transpose(1, 2).flatten()]
        file.add_tensor(name, tensor.contiguous().numpy())
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def same_logits(ours, theirs) -> None:
    tokens = torch.randint(VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(1))
    valid = torch.ones(2, 9, dtype=torch.long)
    valid[0, :4] = 0
    with torch.no_grad():
        expected = theirs(
            tokens, attention_mask=valid, position_ids=(valid.cumsum(1) - 1).clamp(min=0)
        ).logits
        got = ours(tokens, valid)
    difference = (got - expected)[valid.bool()].abs().max()
    assert expected.std() > 0.3  # else any model would do
    assert difference < 2e-5, difference


SHAPES = {
    "grouped heads, tied": {},
    "as many keys as queries": {"num_key_value_heads": 4},
    "one key for all": {"num_key_value_heads": 1},
    "untied head": {"tie_word_embeddings": False},
    "heads wider than the stream": {"head_dim": 10},
}


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES.keys())
def test_a_folder_gives_the_logits_of_transformers(tmp_path, changes):
    theirs = llama(**changes)
    ours, tokenizer = from_hub(save_with_tokenizer(theirs, tmp_path))
    same_logits(ours, theirs)
    assert tokenizer.padding_side == "left"
    assert ours.config.tied == theirs.config.tie_word_embeddings
    assert (ours.head.weight is ours.embedding.weight) == ours.config.tied
    assert all(p.requires_grad and p.dtype == torch.float32 for p in ours.parameters())


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES.keys())
def test_a_gguf_file_gives_the_logits_of_transformers(tmp_path, changes):
    theirs = llama(**changes)
    write_gguf(theirs, tmp_path / "tiny.gguf")
    same_logits(read_gguf(tmp_path / "tiny.gguf"), theirs)


def test_the_dtype_is_chosen_or_kept(tmp_path):
    name = save_with_tokenizer(llama().to(torch.bfloat16), tmp_path / "half")
    assert from_hub(name)[0].embedding.weight.dtype == torch.bfloat16
    assert from_hub(name, torch.float32)[0].embedding.weight.dtype == torch.float32
    write_gguf(llama(), tmp_path / "tiny.gguf")
    model = read_gguf(tmp_path / "tiny.gguf", torch.bfloat16)
    assert all(p.dtype == torch.bfloat16 for p in model.parameters())


REFUSED = {
    "attention_bias": ({"attention_bias": True}, "biases"),
    "mlp_bias": ({"mlp_bias": True}, "biases"),
    "hidden_act": ({"hidden_act": "gelu"}, "silu, not 'gelu'"),
    "rope": (
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0}},
        r"does not scale rotary positions \(linear\)",
    ),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_gpt_cannot_express_is_named(tmp_path, changes, words):
    name = save_with_tokenizer(llama(**changes), tmp_path)
    with pytest.raises(UnsupportedModelError, match=words):
        from_hub(name)


def test_another_architecture_is_named(tmp_path):
    small = GPT2Config(vocab_size=VOCABULARY, n_embd=8, n_layer=1, n_head=2)
    name = save_with_tokenizer(GPT2LMHeadModel(small), tmp_path / "gpt2")
    with pytest.raises(UnsupportedModelError, match="llama architecture, got 'gpt2'"):
        from_hub(name)
    write_gguf(llama(), tmp_path / "bloom.gguf", architecture="bloom")
    with pytest.raises(UnsupportedModelError, match="llama architecture, got 'bloom'"):
        read_gguf(tmp_path / "bloom.gguf")


def test_weights_without_a_place_are_named(tmp_path):
    write_gguf(llama(), tmp_path / "bias.gguf", extra={"blk.0.attn_output.bias": torch.ones(24)})
    with pytest.raises(UnsupportedModelError, match=r"no place for: blk\.0\.attn_output\.bias"):
        read_gguf(tmp_path / "bias.gguf")


def test_a_gguf_file_cut_anywhere_is_called_damaged(tmp_path):
    write_gguf(llama(), tmp_path / "whole.gguf")
    content = (tmp_path / "whole.gguf").read_bytes()
    cut = tmp_path / "cut.gguf"
    for length in (*range(0, len(content), len(content) // 60), len(content) - 64):
        cut.write_bytes(content[:length])
        with pytest.raises(ValueError, match="is damaged, or not a GGUF file"):
            read_gguf(cut)


def test_something_else_is_not_taken_for_gguf(tmp_path):
    (tmp_path / "notes.gguf").write_text("not weights at all, " * 100)
    with pytest.raises(ValueError, match="is damaged, or not a GGUF file"):
        read_gguf(tmp_path / "notes.gguf")
    with pytest.raises(FileNotFoundError):
        read_gguf(tmp_path / "none.gguf")


def test_a_folder_with_cut_weights_is_called_damaged(tmp_path):
    name = save_with_tokenizer(llama(), tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"the weights of .* are damaged"):
        from_hub(name)


def test_offline_is_one_sentence(monkeypatch):
    monkeypatch.setattr(checkpoints, "_online", lambda: False)
    with pytest.raises(OSError) as caught:
        from_hub("somebody/some-model-that-is-not-here")
    message = str(caught.value)
    assert message.startswith("somebody/some-model-that-is-not-here is not on this machine")
    assert "smollm2()" in message and "\n" not in message
