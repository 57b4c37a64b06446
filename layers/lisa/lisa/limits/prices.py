"""Money, in millionths of a US dollar: whole numbers, so that nothing is lost by adding."""

from dataclasses import dataclass
from decimal import Decimal

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens of a model cost, in millionths of a US dollar."""

    model_id: str
    prompt: int
    completion: int
    updated_at: int = 0
    updated_by: str = ""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
        """What a call costs, in millionths of a US dollar, rounded up: no call with a price is free."""
        return -(-(prompt_tokens * self.prompt + completion_tokens * self.completion) // MILLION)


def to_micros(dollars: str | float | Decimal) -> int:
    """US dollars as a whole number of millionths; raises ValueError for what is none, or is finer than that.

    A float is taken as it is written (0.1 is a tenth), not as the binary fraction behind it.
    """
    try:
        amount = Decimal(dollars if isinstance(dollars, str) else str(dollars))
        # In this order: what is too large for the arithmetic is refused before it is multiplied.
        if not amount.is_finite() or not -(10**12) <= amount <= 10**12:
            raise ValueError("must be a number of US dollars up to 1,000,000,000,000")
        micros = amount * MILLION
    except ArithmeticError:
        raise ValueError('must be a number of US dollars, such as 12.5 or "12.50"') from None
    if micros != micros.to_integral_value():
        raise ValueError("must not be finer than a millionth of a US dollar (6 decimals)")
    return int(micros)


def to_dollars(micros: int) -> str:
    """Millionths as US dollars, exact and without useless zeros: 12500000 is "12.5"."""
    whole, part = divmod(micros, MILLION)
    return f"{whole}.{part:06}".rstrip("0").rstrip(".")
