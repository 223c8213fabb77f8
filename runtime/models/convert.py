"""Convert a GGUF file to a folder that transformers loads; run as a process of its own.

    python -m teola.runtime.models.convert FILE.gguf FOLDER

The weights are dequantized and saved in bfloat16: the published weights are bfloat16, so is the
default run, the file is half as large as in float32 and its rounding (2**-9) is far below the
quantization's. A float32 run widens the same values, exactly.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

DIGITS_FIRST = frozenset({"smollm"})
"""GGUF pre-tokenizers that split single digits off first; transformers' conversion forgets it."""


def convert(source: Path, folder: Path) -> None:
    """Write ``source`` as config.json, model.safetensors, tokenizer.json and chat template."""
    import torch
    import transformers

    place, name = str(source.parent), source.name
    tokenizer = transformers.AutoTokenizer.from_pretrained(place, gguf_file=name)
    tokenizer.save_pretrained(folder)
    _restore_digits(source, folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        place,
        gguf_file=name,
        quantization_config=transformers.GgufConfig(dequantize=True),
        dtype=torch.float32,
    ).to(torch.bfloat16)
    model.is_quantized = False
    model.save_pretrained(folder)


def _restore_digits(source: Path, folder: Path) -> None:
    import gguf

    field = gguf.GGUFReader(str(source)).get_field("tokenizer.ggml.pre")
    if field is None or field.contents() not in DIGITS_FIRST:
        return
    path = folder / "tokenizer.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    digits = {"type": "Digits", "individual_digits": True}
    state["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [digits, state["pre_tokenizer"]],
    }
    path.write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
