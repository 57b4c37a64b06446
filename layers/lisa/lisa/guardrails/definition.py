"""What a guardrail is: as people send it (upstream's fields), and as the gateway uses it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic.alias_generators import to_camel

from lisa.guardrails.pii import Kind

GuardrailMode = Literal["pre_call", "during_call", "post_call"]
Action = Literal["block", "mask"]

BUILTIN_PII, BUILTIN_PATTERNS = "builtin:pii", "builtin:patterns"
MAX_GUARDRAILS = 16
MAX_PATTERNS = 50

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=256)]
# Shown to callers who were blocked, hence nothing that could be mistaken for markup.
GuardrailName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}[A-Za-z0-9]$|^[A-Za-z0-9]$")
]
# Bedrock's own rule for an id or an ARN, or one of ours.
Identifier = Annotated[
    str,
    StringConstraints(
        pattern=r"^(builtin:(pii|patterns)|[a-z0-9]{1,64}"
        r"|arn:aws(-[a-z]{1,8}){0,2}:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/[a-z0-9]{1,64})$"
    ),
]


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, strict=True, extra="ignore"
    )


class BuiltinConfig(_Part):
    """What a built-in guardrail looks for; `kinds` for `builtin:pii` (all when absent), `patterns` for the other."""

    kinds: list[Kind] | None = None
    patterns: Annotated[list[Pattern], Field(max_length=MAX_PATTERNS)] | None = None
    action: Action = "block"

    @field_validator("patterns")
    @classmethod
    def _readable(cls, patterns: list[str] | None) -> list[str] | None:
        for pattern in patterns or ():
            try:
                compiled = re.compile(pattern)
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
            if compiled.search("") is not None:
                raise ValueError(f"{pattern!r} matches the empty text, so it would match always")
        return patterns


class GuardrailDefinition(_Part):
    """One entry of a model's `guardrailsConfig`. `allowed_groups` are the groups it applies to; none: everyone."""

    guardrail_name: GuardrailName
    guardrail_identifier: Identifier
    guardrail_version: Annotated[str, StringConstraints(pattern=r"^([1-9][0-9]{0,7}|DRAFT)$")] = "DRAFT"
    mode: GuardrailMode = "pre_call"
    description: Annotated[str, StringConstraints(max_length=1024)] | None = None
    allowed_groups: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)
    marked_for_deletion: bool = False
    config: BuiltinConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_unset(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: part for name, part in value.items() if part is not None}
        return value

    @model_validator(mode="after")
    def _complete(self) -> "GuardrailDefinition":
        config = self.config or BuiltinConfig()
        if self.guardrail_identifier == BUILTIN_PATTERNS and not config.patterns:
            raise ValueError("builtin:patterns needs config.patterns, the regular expressions to look for")
        if self.guardrail_identifier != BUILTIN_PATTERNS and config.patterns:
            raise ValueError("config.patterns belongs to builtin:patterns")
        if self.guardrail_identifier != BUILTIN_PII and config.kinds is not None:
            raise ValueError("config.kinds belongs to builtin:pii")
        if config.kinds is not None and not config.kinds:
            raise ValueError("config.kinds is empty: leave it out to look for all kinds")
        if not self.guardrail_identifier.startswith("builtin:") and self.config is not None:
            raise ValueError("config belongs to the built-in guardrails; Bedrock's are configured in Bedrock")
        return self


def keyed_by_name(entries: Mapping[str, GuardrailDefinition]) -> dict[str, GuardrailDefinition]:
    """Entries under the keys they are read back by; raises ValueError when two have one name, or there are too many.

    An entry that is marked for deletion is left out: that is what was asked for.
    """
    if len(entries) > MAX_GUARDRAILS:
        raise ValueError(f"a model has at most {MAX_GUARDRAILS} guardrails")
    kept: dict[str, GuardrailDefinition] = {}
    for entry in entries.values():
        key = f"guardrail-{entry.guardrail_name}"
        if entry.marked_for_deletion:
            continue
        if key in kept:
            raise ValueError(f"two guardrails have the name {entry.guardrail_name!r}")
        kept[key] = entry
    return kept


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A guardrail as the gateway applies it."""

    name: str
    identifier: str
    version: str = "DRAFT"
    mode: GuardrailMode = "pre_call"
    groups: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    patterns: tuple[str, ...] = ()
    action: Action = "block"

    @classmethod
    def of(cls, definition: GuardrailDefinition) -> "Guardrail":
        config = definition.config or BuiltinConfig()
        kinds: tuple[Kind, ...] = ()
        if definition.guardrail_identifier == BUILTIN_PII:
            kinds = tuple(config.kinds) if config.kinds is not None else get_args(Kind)
        return cls(
            name=definition.guardrail_name,
            identifier=definition.guardrail_identifier,
            version=definition.guardrail_version,
            mode=definition.mode,
            groups=tuple(definition.allowed_groups),
            kinds=kinds,
            patterns=tuple(config.patterns or ()),
            action=config.action,
        )

    def item(self) -> dict[str, Any]:
        """As it is kept in a route."""
        return {
            "name": self.name,
            "identifier": self.identifier,
            "version": self.version,
            "mode": self.mode,
            "groups": list(self.groups),
            "kinds": list(self.kinds),
            "patterns": list(self.patterns),
            "action": self.action,
        }

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> "Guardrail":
        return cls(
            name=item["name"],
            identifier=item["identifier"],
            version=item["version"],
            mode=item["mode"],
            groups=tuple(item["groups"]),
            kinds=tuple(item["kinds"]),
            patterns=tuple(item["patterns"]),
            action=item["action"],
        )
