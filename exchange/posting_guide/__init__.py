"""Posting instructions: what one seller may send in one vertical, as it is in force now. Pure.

`fields` says what may be sent, `programs` writes it in four languages, `words` says what the answers
mean, `callbacks` what comes later, `history` what changed and when. GET /v1/spec and the console's page are both made of this.
"""

from exchange.posting_guide.callbacks import CallbackGuide, callback_guide
from exchange.posting_guide.fields import FieldRow, field_rows
from exchange.posting_guide.guide import Guide, Limits, write_guide
from exchange.posting_guide.history import Revision, revisions
from exchange.posting_guide.programs import Language, Step

__all__ = [
    "CallbackGuide", "FieldRow", "Guide", "Language", "Limits", "Revision", "Step", "callback_guide", "field_rows",
    "revisions", "write_guide",
]  # fmt: skip
