"""Texts in the tokens of an embedding model: how many they are, and how much of a text the model reads.

A hosted model brings its tokenizer in its folder of the weights bucket. Others are estimated.
"""

import hashlib
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import ClientError

from lisa import aws
from lisa.errors import InvalidRequest, NotFound
from lisa.models.record import ModelRecord
from lisa.models.store import ModelStore
from lisa.settings import Settings

if TYPE_CHECKING:
    import tokenizers
    from types_boto3_s3 import S3Client

FRESH_SECONDS = 60.0
"""So old may be what is known of a model and its files."""

_ESTIMATED = re.compile(r"[A-Za-z]{1,4}|[0-9]{1,3}|[^\x00-\x7f]|\n\s*|[^\w\s]|_")
# What a model reads whose files say nothing, and one of a provider: OpenAI's; a model that reads less says so in
# its contextWindow.
UNKNOWN_MAX_TOKENS = 512
PROVIDERS_MAX_TOKENS = 8191
# Configurations that know no limit hold a very large number there.
_NO_LIMIT = 10**9
# A text is first cut to so many characters for a token that is asked for: few tokens are longer.
_CHARACTERS = 16
_MARGIN_TOKENS = 64
_MAX_FILE_BYTES = 64 << 20


class Tokenizer(Protocol):
    """`max_tokens` is how much of a text the model reads, the markers that it sets around it left out."""

    @property
    def max_tokens(self) -> int: ...

    def count(self, text: str) -> int:
        """The tokens of a text, without the model's markers."""

    def counts(self, texts: Sequence[str]) -> list[int]:
        """The same for several, on several processors."""

    def truncate(self, text: str, tokens: int) -> tuple[str, bool]:
        """The longest beginning of the text that is no more than `tokens`, and whether anything was cut off."""


class ModelTokenizer:
    """A model's own. `longest` is what the model reads with its markers, in tokens."""

    def __init__(self, tokenizer: "tokenizers.Tokenizer", longest: int) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self.max_tokens = max(1, longest - len(tokenizer.encode("").ids))

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(_sound(text), add_special_tokens=False).ids)

    def counts(self, texts: Sequence[str]) -> list[int]:
        encodings = self._tokenizer.encode_batch_fast(
            [_sound(text) for text in texts], add_special_tokens=False
        )
        return [len(encoding.ids) for encoding in encodings]

    def truncate(self, text: str, tokens: int) -> tuple[str, bool]:
        if tokens <= 0:
            return "", bool(text)
        head = text[: tokens * _CHARACTERS]
        kept, was_cut = self._cut(head, tokens, margin=0 if len(head) == len(text) else _MARGIN_TOKENS)
        if was_cut or len(head) == len(text):
            return kept, was_cut
        return self._cut(text, tokens, margin=0)

    def _cut(self, text: str, tokens: int, *, margin: int) -> tuple[str, bool]:
        """Unless the text has more than `margin` tokens too many, it is left whole."""
        offsets = self._tokenizer.encode(_sound(text), add_special_tokens=False).offsets
        if len(offsets) <= tokens + margin:
            return text, False
        kept = text[: offsets[tokens - 1][1]]
        # The end of a word that was cut in two may be read in other, and more, pieces.
        for end in range(tokens - 2, -1, -1):
            if self.count(kept) <= tokens:
                break
            kept = text[: offsets[end][1]]
        return kept, True


class Estimate:
    """For a model whose tokenizer is not known: more tokens than there are, for nearly every text.

    A token each: four letters of ASCII, three digits, a mark of punctuation, any other character, a break of lines.
    Tokenizers of today's models need 0.5 to 1 of that for prose in any language and for source code. So pieces come
    out shorter than they might be, and none longer than the model reads; pictographs are an exception.
    """

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens

    def count(self, text: str) -> int:
        return len(_ESTIMATED.findall(text))

    def counts(self, texts: Sequence[str]) -> list[int]:
        return [self.count(text) for text in texts]

    def truncate(self, text: str, tokens: int) -> tuple[str, bool]:
        end = 0
        for number, token in enumerate(_ESTIMATED.finditer(text)):
            if number >= tokens:
                return text[:end], True
            end = token.end()
        return text, False


class Tokenizers:
    """One for a process; may be used from several threads. `model` finds a model's row, or None.

    `cache` is a folder for files of tokenizers, which outlives the process where a machine runs several.
    """

    def __init__(
        self,
        model: Callable[[str], ModelRecord | None],
        s3: "S3Client",
        bucket: str,
        *,
        cache: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._s3 = s3
        self._bucket = bucket
        self._cache = cache or Path(tempfile.gettempdir()) / "lisa-tokenizers"
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Tokenizer]] = {}
        self._loaded: dict[tuple[str, int], ModelTokenizer] = {}

    def of(self, model_id: str) -> Tokenizer:
        """The tokenizer of a registered embedding model.

        Raises NotFound for a model that is not there, InvalidRequest when its tokenizer cannot be read.
        """
        with self._lock:
            read_at, known = self._known.get(model_id, (0.0, None))
            if known is None or self._clock() - read_at > FRESH_SECONDS:
                known = self._read(model_id)
                self._known[model_id] = (self._clock(), known)
            return known

    def _read(self, model_id: str) -> Tokenizer:
        record = self._model(model_id)
        if record is None:
            raise NotFound(f"There is no model {model_id!r}.", code="model_not_found", field="embeddingModel")
        definition = record.definition
        window = definition.context_window or _NO_LIMIT
        if not definition.hosted:
            return Estimate(min(window, PROVIDERS_MAX_TOKENS))
        folder = definition.model_name
        longest = min(self._longest(folder), window)
        path = self._file(f"{folder}/tokenizer.json")
        if path is None:
            return Estimate(longest)
        return self._load(path, longest, model_id)

    def _longest(self, folder: str) -> int:
        """As the engines that serve such models read the same files."""
        sentences = self._json(f"{folder}/sentence_bert_config.json")
        config = self._json(f"{folder}/config.json")
        own = self._json(f"{folder}/tokenizer_config.json")
        positions = config.get("max_position_embeddings")
        if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet") and positions:
            positions -= int(config.get("pad_token_id", 1)) + 1  # those before the first token's are not used
        limits = (sentences.get("max_seq_length"), positions, own.get("model_max_length"))
        known = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < _NO_LIMIT]
        return min(known, default=UNKNOWN_MAX_TOKENS)

    def _load(self, path: Path, longest: int, model_id: str) -> ModelTokenizer:
        found = self._loaded.get((path.name, longest))
        if found is None:
            import tokenizers

            try:
                found = ModelTokenizer(tokenizers.Tokenizer.from_file(str(path)), longest)
            except Exception as error:  # the library raises Exception itself
                raise InvalidRequest(
                    f"The tokenizer.json of the model {model_id!r} cannot be read: {error}"
                ) from None
            self._loaded = {(path.name, longest): found, **dict(list(self._loaded.items())[:3])}
        return found

    def _json(self, key: str) -> dict[str, Any]:
        path = self._file(key)
        try:
            found = json.loads(path.read_bytes()) if path else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _file(self, key: str) -> Path | None:
        """The object as a file, fetched when there is no copy of this version; None when there is no object."""
        try:
            head = self._s3.head_object(Bucket=self._bucket, Key=key)
            name = hashlib.sha256(f"{self._bucket}/{key} {head['ETag']}".encode()).hexdigest()
            path = self._cache / name
            if head["ContentLength"] > _MAX_FILE_BYTES:
                return None
            if not path.exists():
                self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
                with tempfile.NamedTemporaryFile(dir=self._cache, delete=False) as partial:
                    body = self._s3.get_object(Bucket=self._bucket, Key=key, IfMatch=head["ETag"])["Body"]
                    partial.write(body.read())
                os.replace(partial.name, path)
            return path
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise


@lru_cache
def tokenizers_of_process() -> Tokenizers:
    """By LISA_MODELS_TABLE (dynamodb:GetItem) and LISA_WEIGHTS_BUCKET.

    There it needs s3:GetObject, and s3:ListBucket, without which S3 does not say that a file is missing.
    """
    settings = Settings.from_environment()
    models = ModelStore(settings.models_table, aws.dynamodb())
    return Tokenizers(models.get, aws.s3(), settings.weights_bucket)


def _sound(text: str) -> str:
    """Halves of surrogate pairs, which UTF-8 has not, replaced one by one, so that offsets stay."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
