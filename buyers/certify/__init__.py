"""Certifies a buyer's endpoint: sends it test messages and says what a developer should mend.

In reading order: values (what comes out), calls (what is sent), judging (what the answers mean),
trial (who is sent what, in which order), command (`python -m buyers check`).
"""

from buyers.certify.calls import Interrupted
from buyers.certify.trial import certify
from buyers.certify.values import (
    Check,
    Exchange,
    Repeats,
    Report,
    TestLead,
    Verdict,
    endpoint_digest,
)

__all__ = [
    "Check",
    "Exchange",
    "Interrupted",
    "Repeats",
    "Report",
    "TestLead",
    "Verdict",
    "certify",
    "endpoint_digest",
]
