# SPDX-License-Identifier: Apache-2.0
"""Who asks: the request context."""

import json
from typing import Any

from oslo_context import context as oslo_context

from multiattach.domain.callers import Caller

ADMIN = 'admin'
SERVICE = 'service'


class RequestContext(oslo_context.RequestContext):
    """A caller with roles, and the roles of the service token that came along."""

    def __init__(self, *, service_roles: list[str] | None = None, **kwargs: Any) -> None:
        kwargs.setdefault('overwrite', False)
        super().__init__(**kwargs)
        self.service_roles = list(service_roles or [])
        self.catalog_text: str | None = None
        self.address: str | None = None
        self._credentials: tuple[bool, dict[str, Any], tuple[Any, ...]] | None = None

    def update_store(self) -> None:
        """Leave the thread's context as it is: a context that the service makes is nobody's request."""

    def bind(self) -> None:
        """Have this caller and his request in each line that the thread logs."""
        super().update_store()

    @property
    def project(self) -> str | None:
        return self.project_id

    @property
    def service_catalog(self) -> list[dict[str, Any]]:
        """Catalogue that came with the token; read only when somebody has to be asked."""
        catalog: list[dict[str, Any]] = json.loads(self.catalog_text) if self.catalog_text else []
        return catalog

    @property
    def is_service_request(self) -> bool:
        """A service token with role ``service`` came along (contract 7.2)."""
        return SERVICE in self.service_roles

    @property
    def caller(self) -> Caller | None:
        """Who called, for records of what was done; None for the service itself."""
        if self.user_id is None:
            return None
        service = self.service_user_id if self.is_service_request else None
        return Caller(self.user_id, self.project_id, service, self.address)

    @property
    def sees_secrets(self) -> bool:
        """The caller may read connection secrets (requirement row 28)."""
        return bool(self.is_admin) or self.is_service_request

    def identify(self) -> tuple[dict[str, Any], tuple[Any, ...]]:
        """Return what policy rules are checked against, and a key that is the same for the same."""
        admin = bool(self.is_admin)
        if self._credentials is None or self._credentials[0] != admin:
            values = self.to_policy_values()
            key = {**values, 'roles': tuple(self.roles), 'service_roles': tuple(self.service_roles)}
            self._credentials = (admin, values, tuple(key.values()))
        return self._credentials[1:]

    def to_policy_values(self) -> dict[str, Any]:
        """Return the credentials that policy rules are checked against."""
        # A plain dict: what is added to oslo.context's own counts as deprecated, and each look at it warns.
        return {**super().to_policy_values(), 'is_admin': bool(self.is_admin), 'service_roles': self.service_roles}
