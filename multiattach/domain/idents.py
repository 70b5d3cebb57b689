# SPDX-License-Identifier: Apache-2.0
"""Ids of volumes, servers, attachments and types: many spellings come in, one is kept and compared."""

import re
import uuid

_KEPT = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')


def normalise(text: str) -> str:
    """Write an id as the database does: lower case, with dashes, without braces or ``urn:uuid:``; a name as it is."""
    if _KEPT.fullmatch(text):
        return text
    try:
        ident = uuid.UUID(text)
    except ValueError:
        return text
    # The class takes more than ids are: underscores, other digits.
    plain = text.replace('urn:', '').replace('uuid:', '').strip('{}').replace('-', '').lower()
    return str(ident) if plain == ident.hex else text


def is_uuid(text: str) -> bool:
    """Tell whether a text is an id as the database has it."""
    return _KEPT.fullmatch(text) is not None
