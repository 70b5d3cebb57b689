# SPDX-License-Identifier: Apache-2.0
"""Keys of transfers: shown once to who offers a volume, kept as a salted hash."""

import hashlib
import hmac
import secrets
from typing import NamedTuple

_BYTES = 16


class Key(NamedTuple):
    """A new key, and what is kept of it."""

    text: str
    salt: str
    hashed: str


def make_key() -> Key:
    """Make a key of hexadecimal digits, which people can type."""
    text, salt = secrets.token_hex(_BYTES), secrets.token_hex(_BYTES)
    return Key(text, salt, _hash(salt, text))


def is_key(text: str, salt: str, hashed: str) -> bool:
    """Tell whether a text is the key; how long that takes tells nothing."""
    return hmac.compare_digest(_hash(salt, text), hashed)


def _hash(salt: str, text: str) -> str:
    # A random key of 128 bits needs no slow hash: nobody can try them all.
    return hmac.new(salt.encode(), text.encode(), hashlib.sha256).hexdigest()
