# SPDX-License-Identifier: Apache-2.0
"""Keys and values that belong to something: extra specs, keys of QoS specs, metadata."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session


def put(session: Session, owner: Any, ident: str, items: Mapping[str, str | None], *, keep_others: bool = True) -> None:
    """Write items; the caller holds the lock of what they belong to.

    :param owner: mapped column that names what an item belongs to.
    """
    delete(session, owner, ident, items if keep_others else None)
    if items:
        rows = [{owner.key: ident, 'key': key, 'value': value} for key, value in items.items()]
        session.execute(sa.insert(owner.class_), rows)


def delete(session: Session, owner: Any, ident: str, keys: Iterable[str] | None) -> bool:
    """Delete the items of some keys, or all for None; return whether there was any."""
    gone = sa.delete(owner.class_).where(owner == ident)
    if keys is not None:
        gone = gone.where(owner.class_.key.in_(list(keys)))
    done = session.execute(gone.execution_options(synchronize_session=False))
    return bool(done.rowcount)  # type: ignore[attr-defined]
