"""What a setting may be, in words for its author, derived from its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from referral_stream.core.sections import CLOCK_PATTERN


def schema_words(schema: Mapping[str, Any]) -> str:
    """What a value of this JSON schema is, in words: "a whole number from 1 to 60"."""
    match schema:
        case {"enum": [*words]}:
            return f"one of {', '.join(json.dumps(word) for word in words)}"
        case {"type": "boolean"}:
            return "true or false"
        case {"type": "integer", "minimum": 1, "maximum": 7}:
            return "1 Monday … 7 Sunday"
        case {"type": "integer" | "number" as kind, "minimum": least, "maximum": most}:
            return f"a {'whole ' if kind == 'integer' else ''}number from {least:,} to {most:,}"
        case {"type": "number", "exclusiveMinimum": least, "maximum": most}:
            return f"a number above {least:,}, up to {most:,}"
        case {"type": "integer" | "number" as kind}:
            return f"a {'whole ' if kind == 'integer' else ''}number"
        case {"type": "array", "items": items, "minLength": 1}:
            return f"a list with at least one member, each {schema_words(items)}"
        case {"type": "array", "items": items}:
            return f"a list, each {schema_words(items)}"
        case {"format": "date-time"}:
            return "an instant, as 2026-01-31T00:00:00Z"
        case {"pattern": str(pattern)} if pattern == CLOCK_PATTERN:
            return 'a time of day in quotes, as "20:00"'
        case {"maxLength": int(most)}:
            return f"text in quotes, {most:,} characters at most"
        case _:
            return "text in quotes"
