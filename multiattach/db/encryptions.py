# SPDX-License-Identifier: Apache-2.0
"""Encryption records of types."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from multiattach.db import models

E = models.TypeEncryption


def find(session: Session, type_id: str) -> E | None:
    return session.get(E, type_id)


def add(session: Session, type_id: str, values: Mapping[str, Any]) -> E:
    """Give a type its record."""
    row = E(volume_type_id=type_id, encryption_id=str(uuid.uuid4()), **values)
    session.add(row)
    session.flush()
    return row


def delete(session: Session, row: E) -> None:
    session.delete(row)
