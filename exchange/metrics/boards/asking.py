"""Questions in PromQL, put together. `$rate` is the interval that suits the picture."""


def rate(name: str, match: str = "", by: str = "") -> str:
    grouped = f"sum by ({by}) " if by else "sum"
    return f"{grouped}(rate({name}{{{match}}}[$rate]))"


def books(name: str, by: str, match: str = "", fn: str = "") -> str:
    """Of the books, which every office shows: once."""
    inner = f"{name}{{{match}}}"
    return f"sum by ({by}) (max without (instance, job) ({fn.format(inner) if fn else inner}))"


def per_s(name: str, by: str, match: str = "") -> str:
    return books(name, by, match, "rate({}[$rate])")


def over(part: str, whole: str) -> str:
    """A share; nothing of nothing."""
    return f"({part}) / ({whole} > 0)"


def or_0(expr: str) -> str:
    """0 where there is nothing to show: a picture that stays empty looks broken."""
    return f"{expr} or on() vector(0)"
