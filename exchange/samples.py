"""Sample leads for `exchange run`, benchmarks and tests: real places, people who cannot exist.

Addresses end in example.com, .net or .org, phones are 555-01xx, browsers sit in the networks kept
for documentation. What belongs together agrees: ZIP, city, state and area code; age and licence;
income and loan. A field no vertical of ours knows is drawn from its own description.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import import_module
from random import Random
from typing import Any, Final
from uuid import UUID

from exchange.patterns import matching
from exchange.verticals import Field, FieldChecks, Vertical

_TODAY: Final = date(2026, 1, 15)  # not the clock's: a seed gives the same people for ever
_ABSENT: Final = 0.12  # of optional fields
_EXAMPLE: Final = 11  # the seed of the one lead that posting instructions show
_FIRST_NAMES: Final = """
Aaliyah Aaron Abigail Adrian Aisha Alan Alejandro Alice Amara Amit Ana Andre Angela Anthony Aria
Arthur Ava Beatriz Benjamin Bianca Brandon Brenda Brian Camila Carl Carmen Caroline Cedric Chen
Chloe Clara Connor Dana Daniel Darnell David Deborah Diego Dmitri Dolores Elena Eli Emma Eric
Esther Evan Fatima Felix Fiona Frank Gabriel Grace Gregory Hana Harold Hassan Hazel Henry Imani
Irene Isaac Ivy Jada James Jasmine Javier Joan Jorge Joseph Julia Kaito Karen Keisha Kevin Lamar
Laura Leila Leo Linda Logan Lucia Malik Marcus Maria Mei Miguel Mina Nadia Nathan Nina Noah
Olivia Omar Owen Paige Pedro Priya Quinn Rafael Rosa Ruth Samuel Sofia Tariq Thomas Uma Victor
"""
_LAST_NAMES: Final = """
Abbott Acosta Adeyemi Ahmed Allen Alvarez Anderson Baker Banerjee Barnes Becker Bell Bennett
Bishop Brooks Bryant Burke Campbell Cardenas Carter Castillo Chang Chavez Clark Cohen Coleman
Cooper Cruz Daniels Davis Delgado Diaz Dixon Duncan Edwards Ellis Espinoza Evans Fischer Fleming
Flores Foster Freeman Garcia Gibson Gomez Graham Grant Greene Gupta Hall Hansen Harper Hayes
Hernandez Hoffman Holland Hughes Ibrahim Jackson Jensen Johnson Kaur Kelly Khan Kim Klein Kowalski
Larsen Lee Lewis Lopez Martin Mbeki Mendoza Miller Morales Murphy Nakamura Nelson Nguyen Novak
Obrien Okafor Olsen Ortiz Park Patel Perez Peters Quintero Ramirez Reed Rivera Rossi Sanders
Schmidt Silva Singh Smith Tanaka Torres Turner Vargas Walker Washington Weber Wong Young Zhang
"""
_FIRST: Final = _FIRST_NAMES.split()
_LAST: Final = _LAST_NAMES.split()
_STREETS: Final = ("Oak", "Maple", "Cedar", "Pine", "Elm", "Lake", "Hill", "Park", "Mill", "River")
_MODELS: Final = {
    "Toyota": "Camry Corolla RAV4 Tacoma Prius", "Honda": "Civic Accord CR-V Pilot",
    "Ford": "F-150 Escape Explorer Mustang", "Chevrolet": "Silverado Equinox Malibu Tahoe",
    "Nissan": "Altima Rogue Sentra", "Hyundai": "Elantra Tucson Sonata", "Jeep": "Wrangler Cherokee",
    "Subaru": "Outback Forester", "Kia": "Sorento Soul", "Tesla": "3 Y", "BMW": "X3 330i",
}  # fmt: skip
_INCOMES: Final = ("employment",) * 7 + ("self_employed", "benefits", "military", "other")
# Enough to run on where the extra `samples` is not installed: ZIP, area code, state, zone, city.
_BUILT_IN: Final = """
10001 212 NY America/New_York New York|11201 718 NY America/New_York Brooklyn
14202 716 NY America/New_York Buffalo|02108 617 MA America/New_York Boston
06103 860 CT America/New_York Hartford|07102 973 NJ America/New_York Newark
19103 215 PA America/New_York Philadelphia|15222 412 PA America/New_York Pittsburgh
21202 410 MD America/New_York Baltimore|23219 804 VA America/New_York Richmond
28202 704 NC America/New_York Charlotte|27601 919 NC America/New_York Raleigh
29201 803 SC America/New_York Columbia|30303 404 GA America/New_York Atlanta
33130 305 FL America/New_York Miami|32801 407 FL America/New_York Orlando
33602 813 FL America/New_York Tampa|43215 614 OH America/New_York Columbus
44114 216 OH America/New_York Cleveland|48226 313 MI America/Detroit Detroit
37203 615 TN America/Chicago Nashville|35203 205 AL America/Chicago Birmingham
60602 312 IL America/Chicago Chicago|53202 414 WI America/Chicago Milwaukee
55401 612 MN America/Chicago Minneapolis|63101 314 MO America/Chicago Saint Louis
70112 504 LA America/Chicago New Orleans|73102 405 OK America/Chicago Oklahoma City
75201 214 TX America/Chicago Dallas|77002 713 TX America/Chicago Houston
78205 210 TX America/Chicago San Antonio|80202 303 CO America/Denver Denver
84101 801 UT America/Denver Salt Lake City|87102 505 NM America/Denver Albuquerque
85004 602 AZ America/Phoenix Phoenix|89101 702 NV America/Los_Angeles Las Vegas
90012 213 CA America/Los_Angeles Los Angeles|92101 619 CA America/Los_Angeles San Diego
94103 415 CA America/Los_Angeles San Francisco|95814 916 CA America/Los_Angeles Sacramento
97204 503 OR America/Los_Angeles Portland|98101 206 WA America/Los_Angeles Seattle
"""
_ELSEWHERE: Final = "AA AE AP AS FM GU MH MP PR PW VI"  # forces' mail and islands

_Facts = dict[str, Any]
_Place = tuple[str, tuple[str, ...], str, str, str]  # ZIP, area codes, state, zone, city


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleLead:
    """One lead as a seller would send it: `ping_fields` to ask, all `fields` to sell."""

    vertical: str
    fields: dict[str, object]
    ping_fields: dict[str, object]
    sub_id: str
    external_id: str


class Samples:
    """An endless stream of valid leads; the same seed and verticals give the same stream.

    `where`: the places people live in; empty: everywhere. `absent`: the share of optional fields
    that are left out.
    """

    def __init__(
        self,
        seed: int,
        verticals: Mapping[str, Vertical],
        *,
        where: Sequence[_Place] = (),
        absent: float = _ABSENT,
    ) -> None:
        self._rng = Random(seed)
        self._where = where
        self._absent = absent
        self._verticals = dict(sorted(verticals.items()))
        self._slugs = tuple(self._verticals)

    def lead(self, vertical_slug: str | None = None) -> SampleLead:
        """The next lead, of any vertical unless one is named (KeyError if it is not there)."""
        rng = self._rng
        vertical = self._verticals[vertical_slug or rng.choice(self._slugs)]
        facts = _facts(rng, vertical.slug, self._where)
        fields = _object(rng, vertical.fields, facts, self._absent)
        ping = {field.name for field in vertical.fields if field.stage == "ping"}
        return SampleLead(
            vertical=vertical.slug,
            fields=fields,
            ping_fields={name: value for name, value in fields.items() if name in ping},
            sub_id=f"{rng.choice(('fb', 'gads', 'seo', 'mail', 'tt'))}-{rng.randint(1, 9)}",
            external_id=f"{rng.getrandbits(64):016x}",
        )


def example(vertical: Vertical, checks: FieldChecks) -> tuple[SampleLead, tuple[str, ...]]:
    """One lead of a vertical, always the same, valid and with every field that we can make up; and
    the required ones that we cannot: their values are the seller's. `checks` are the vertical's."""
    houston = tuple(place for place in _built_in() if place[0] == "77002")
    stream = Samples(_EXAMPLE, {vertical.slug: vertical}, where=houston, absent=0.0)
    lead = stream.lead()
    lacking: set[str] = set()
    for _ in range(2):  # without what is wrong; then without what nobody told to be there
        for problem in checks.lead(lead.fields).problems:
            name = problem.path.split(".")[1]
            lacking.add(name)
            lead.fields.pop(name, None)
            lead.ping_fields.pop(name, None)
    needed = {one.name for one in vertical.fields if one.required or one.required_if}
    return lead, tuple(sorted(lacking & needed))


@cache
def places() -> tuple[_Place, ...]:
    """Where people live: about 30,000 ZIP codes, or 42 without the extra `samples`."""
    try:
        zipcodes: Any = import_module("zipcodes")
    except ImportError:
        return _built_in()
    return tuple(
        (one["zip_code"], tuple(one["area_codes"]), one["state"], one["timezone"], one["city"])
        for one in zipcodes.list_all()
        if one["zip_code_type"] == "STANDARD" and one["active"] and one["area_codes"]
        if one["state"] not in _ELSEWHERE
    )


def _built_in() -> tuple[_Place, ...]:
    rows = (line.split(" ", 4) for line in _BUILT_IN.strip().replace("|", "\n").splitlines())
    return tuple((code, (area,), state, zone, city) for code, area, state, zone, city in rows)


def _object(
    rng: Random, fields: Sequence[Field], facts: _Facts, absent: float
) -> dict[str, object]:
    drawn: dict[str, object] = {}
    for field in sorted(fields, key=lambda one: one.required_if is not None):
        fact = facts.get(field.name, facts.get(field.type))
        wanted = field.required or (rng.random() >= absent and (fact or not field.pattern))
        if field.required_if:  # after those it depends on
            wanted = field.required_if.holds(drawn)
        if wanted:
            drawn[field.name] = _value(rng, field, fact, facts, absent)
    return drawn


def _value(rng: Random, field: Field, fact: Any, facts: _Facts, absent: float) -> object:
    low, high = (bound if isinstance(bound, int) else None for bound in (field.min, field.max))
    if field.type == "object":
        return _object(rng, field.fields, {**facts, **(fact or {})}, absent)
    if field.type == "array" and field.items:
        known = [None] * max(low or 0, rng.randint(0, 2)) if fact is None else fact
        return [_value(rng, field.items, one, facts, absent) for one in known[:high]]
    if fact is None or (field.type == "enum" and fact not in field.values):
        return _any(rng, field, low or 0, high)
    if field.type == "integer":  # this vertical's limits may be narrower
        return int(min(max(fact, fact if low is None else low), fact if high is None else high))
    return fact


def _any(rng: Random, field: Field, low: int, high: int | None) -> object:
    match field.type:
        case "enum":
            return rng.choice(field.values)
        case "boolean":
            return rng.random() < 0.4
        case "integer":
            return rng.randint(low, low + 100 if high is None else high)
        case "decimal":
            least = float(field.min or 0)
            return f"{rng.uniform(least, float(field.max or least + 100)):.2f}"
    if field.pattern and (found := matching(field.pattern, rng.randrange)) is not None:
        return found
    return rng.choice(_STREETS).lower().ljust(low, "x")[:high]


def _facts(rng: Random, slug: str, where: Sequence[_Place] = ()) -> _Facts:
    """All we know of one consumer: by field name, and by type for fields of other names."""
    age = min(18 + int(rng.expovariate(1 / 22)), 88)
    facts = _person(rng, age, where) | _proof(rng, slug)
    return facts | _drives(rng, facts) | _home(rng) | _means(rng, age)


def _person(rng: Random, age: int, where: Sequence[_Place] = ()) -> _Facts:
    code, areas, state, zone, city = rng.choice(where or places())
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    line = rng.randint(0, 99)
    born = _TODAY - timedelta(days=int(age * 365.25) + rng.randint(5, 360))
    domain = rng.choice(("example.com", "example.net", "example.org"))
    net = rng.choice(("192.0.2", "198.51.100", "203.0.113"))
    return {
        "zip": code, "state": state, "timezone": zone, "city": city, "age": age,
        "first_name": first, "last_name": last, "dob": born.isoformat(),
        "email": f"{first}.{last}{rng.randint(1, 9999)}@{domain}".lower(),
        "phone": f"+1{rng.choice(areas)}55501{line:02}",
        "work_phone": f"+1{rng.choice(areas)}55501{(line + 7) % 100:02}",
        "address1": f"{rng.randint(1, 9899)} {rng.choice(_STREETS)} {rng.choice(('St', 'Ave', 'Rd'))}",
        "address2": f"{rng.choice(('Apt', 'Unit', '#'))} {rng.randint(1, 60)}",
        "ip": f"{net}.{rng.randint(1, 254)}" if rng.random() < 0.7 else f"2001:db8::{rng.randint(1, 65535):x}",
        "driver_license_number": f"{last[0]}{rng.randrange(10**8):08}",
        "driver_license_state": state,
        "gender": rng.choice(("male", "female")),
        "marital_status": "single" if age < 24 else rng.choice(("single", "married", "married", "divorced")),
        "language": rng.choice(("en", "en", "en", "en", "es")),
        "military": rng.choice(("none",) * 8 + ("veteran", "active")),
        "bankruptcy": rng.random() < 0.06, "authority": rng.random() < 0.8,
    }  # fmt: skip


def _proof(rng: Random, slug: str) -> _Facts:
    """Where and how the consumer consented."""
    site = rng.choice(("quotes", "compare", "savers", "offers"))
    button = rng.choice(("Get my quotes", "Submit", "See my offers"))
    page = f"https://{site}.example.com/{slug}/{rng.randint(1, 40)}"
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(14 * 86_400))
    day = (_TODAY + timedelta(days=rng.randint(1, 180))).isoformat()
    return {
        "landing_url": page, "url": page, "policy_expiration": day, "date": day,
        "next_pay_date": (_TODAY + timedelta(days=rng.randint(1, 30))).isoformat(),
        "tf_ping_url": f"https://ping.trustedform.com/{rng.getrandbits(160):040x}",
        "tf_cert_url": f"https://cert.trustedform.com/{rng.getrandbits(160):040x}",
        "leadid": str(UUID(int=rng.getrandbits(128), version=4)).upper(),
        "tcpa_text": f'By pressing "{button}" I agree that partners of {site}.example.com may call '
        "and text me at this number, also by automated means. Consent is no condition of purchase.",
        "consent_at": at.replace(tzinfo=None).isoformat() + "Z",
        "datetime": at.replace(tzinfo=None).isoformat() + "Z",
    }  # fmt: skip


def _drives(rng: Random, person: _Facts) -> _Facts:
    ages = [person["age"], *(rng.randint(16, 80) for _ in range(rng.choice((0, 0, 1, 1, 2))))]
    return {
        "drivers": [_driver(rng, at, age, person) for at, age in enumerate(ages)],
        "vehicles": [_vehicle(rng) for _ in range(rng.choice((1, 1, 2, 2, 3)))],
        "vins": ["".join(rng.choices("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", k=17))],
        "currently_insured": rng.random() < 0.8,
    }


def _driver(rng: Random, at: int, age: int, person: _Facts) -> _Facts:
    wed = at == 1 and person["marital_status"] == "married"
    minor = age < 20
    return {
        "age": age,
        "age_licensed": min(age, 16 + int(rng.expovariate(0.4))),
        "gender": person["gender"] if at == 0 else rng.choice(("male", "female")),
        "marital_status": person["marital_status"] if at == 0 else "single" if minor else None,
        "relationship": "self" if at == 0 else "child" if minor else "spouse" if wed else "other",
        "license_status": "permit" if age < 17 else rng.choice(("valid",) * 12 + ("suspended",)),
        "sr22": rng.random() < 0.03,
        "incidents": [{"months_ago": rng.randint(1, 60)}] * rng.choice((0, 0, 0, 1, 2)),
    }


def _vehicle(rng: Random) -> _Facts:
    make = rng.choice(tuple(_MODELS))
    return {
        "year": 2026 - min(int(rng.expovariate(1 / 7)), 40),
        "make": make,
        "model": rng.choice(_MODELS[make].split()),
        "annual_miles": rng.randint(20, 220) * 100,
    }


def _home(rng: Random) -> _Facts:
    feet = rng.randint(70, 420) * 10
    built = rng.randint(1925, 2024)
    bill = 30 + feet // 20 + rng.randint(0, 180)
    return {
        "home_owner": rng.choice(("own", "own", "own", "rent", "other")),
        "square_feet": feet, "year_built": built, "monthly_bill": bill,
        "floors": 1 if feet < 1200 else rng.randint(1, 3),
        "roof": {"age_years": rng.randint(0, min(2026 - built, 40))},
        "utility": f"{rng.choice(('Valley', 'Coastal', 'Prairie', 'Metro'))} {rng.choice(('Power', 'Electric'))}",
        "kwh_rate": str(rng.randint(11, 39) / 100), "budget": f"{feet * rng.randint(8, 14)}",
        "comments": rng.choice(("Please call after work.", "Two offers already.", "Gate code on request.")),
    }  # fmt: skip


def _means(rng: Random, age: int) -> _Facts:
    income = round(min(rng.lognormvariate(8.35, 0.5), 40_000), -1)
    rent, debt = income * rng.uniform(0.15, 0.45), int(income * rng.uniform(0, 6))
    months = rng.randint(1, max(2, (age - 17) * 6))
    kind = "pension" if age > 67 else rng.choice(_INCOMES)
    return {
        "monthly_income": int(income), "housing_payment": f"{rent:.0f}", "unsecured_debt": debt,
        "requested_amount": max(500, round(int(income * rng.uniform(0.3, 6)), -2)),
        "debt_to_income": str(round((rent + debt * 0.03) / income, 2)),
        "income_type": kind, "active_military": kind == "military", "direct_deposit": rng.random() < 0.85,
        "months_at_employer": months, "months_at_residence": rng.randint(1, age * 6),
        "bank": {"account_type": "checking" if rng.random() < 0.9 else "savings", "months_open": months},
        "bank_routing": _routing(rng), "bank_account": str(rng.randrange(10**7, 10**12)),
        "ssn_last4": f"{rng.randrange(10**4):04}",
        "employer": f"{rng.choice(_LAST)} {rng.choice(('Foods', 'Logistics', 'Clinic', 'Schools'))}",
    }  # fmt: skip


def _routing(rng: Random) -> str:
    """A number with a good check digit, in a range no bank has."""
    eight = f"99{rng.randrange(10**6):06}"
    total = sum(int(digit) * weight for digit, weight in zip(eight, (3, 7, 1) * 3, strict=False))
    return f"{eight}{-total % 10}"
