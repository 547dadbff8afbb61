"""Into the audit: what people do that is in no document's history."""

from exchange.store.events import note

__all__ = ["note"]
