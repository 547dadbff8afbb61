"""A value's maker makes what its class makes, and takes what its class takes."""

from dataclasses import dataclass, field

import pytest

from buyers.value import maker, value


@value
class Quantity:
    unit: str = "g"  # before one without a usual value, as keywords may stand
    amount: int
    note: str | None = None


@dataclass(slots=True, eq=False)
class Box:
    amount: int
    note: str = "none"


make_quantity = maker(Quantity)
make_box = maker(Box)


def test_it_makes_what_the_class_makes() -> None:
    assert make_quantity(amount=3) == Quantity(amount=3)
    assert make_quantity(unit="kg", amount=3, note="heavy") == Quantity(
        unit="kg", amount=3, note="heavy"
    )
    assert hash(make_quantity(amount=3)) == hash(Quantity(amount=3))
    assert type(make_quantity(amount=3)) is Quantity


def test_it_takes_what_the_class_takes() -> None:
    with pytest.raises(TypeError, match="amount"):
        make_quantity()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="colour"):
        make_quantity(amount=3, colour="red")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        make_quantity("g", 3)  # type: ignore[call-arg]


def test_a_plain_dataclass_takes_places_too() -> None:
    assert make_box(3).note == "none"
    assert (make_box(3, "full").note, make_box(amount=4).amount) == ("full", 4)


def test_what_would_be_made_otherwise_is_refused() -> None:
    @dataclass(slots=True)
    class Listed:
        found: list[int] = field(default_factory=list)

    @dataclass(slots=True)
    class Checked:
        amount: int

        def __post_init__(self) -> None:
            raise ValueError

    for cls in (Listed, Checked):
        with pytest.raises(AssertionError):
            maker(cls)
