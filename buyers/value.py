"""What the values of the hot path are: dataclasses that cost little to make."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """A value: keywords only, equal by content, hashable, read-only to the type checker.

    A frozen dataclass calls a function for every field to make one: 1.5 µs for eleven fields against
    0.6 µs, and an auction makes five values for each buyer. So this one is frozen by the type
    checker's word alone.
    """
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(cls)
