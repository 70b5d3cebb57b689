# SPDX-License-Identifier: Apache-2.0
"""CADF events of what callers do: keystonemiddleware's audit filter, made fit for a service that must not stop.

The filter sends in the thread of the request and waits for the broker, has its own idea of a caller without Keystone,
carries parts of tokens, and writes a traceback for a body that it does not understand.
"""

import configparser
import json
from collections.abc import Callable, Iterable
from typing import Any

from keystonemiddleware import audit

from multiattach.api.faults import WsgiApp
from multiattach.api.request import CONTEXT

Tell = Callable[[str, dict[str, Any]], None]
_READING = 'GET,HEAD,OPTIONS'
# As the taxonomy of CADF has them (DSP0262).
_UNKNOWN, _ACTION = 'unknown', 'update'
_SECRET = '***'  # noqa: S105 - what stands for one
# Where Keystone tells of no endpoints: the target of an event is this service.
_CATALOG = json.dumps(
    [{'type': 'block-storage', 'name': 'multiattach', 'endpoints': [{'id': 'multiattach', 'region': ''}]}]
)


class AuditFilter:
    """Middleware that tells of each request that changes something, or tries to, before and after.

    It stands inside of what finds out who is calling.

    :param map_file: path of the filter's map, as ``etc/multiattach/api_audit_map.conf``.
    :param tell: takes the type of an event and the event; must return at once.
    """

    def __init__(self, application: WsgiApp, map_file: str, tell: Tell) -> None:
        self._filter = _Filter(application, map_file, tell)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        ctx = environ[CONTEXT]
        # Without Keystone a client could name anybody in these.
        environ['HTTP_X_USER_ID'] = ctx.user_id or _UNKNOWN
        environ['HTTP_X_PROJECT_ID'] = ctx.project_id or _UNKNOWN
        environ['HTTP_X_USER_NAME'] = ctx.user_name or _UNKNOWN
        environ['HTTP_X_SERVICE_CATALOG'] = ctx.catalog_text or _CATALOG
        environ.setdefault('HTTP_X_IDENTITY_STATUS', _UNKNOWN)
        answer: Iterable[bytes] = self._filter(environ, start_response)
        return answer


def check_map(path: str) -> None:
    """See that a map can be read: the filter takes one without a word of it.

    :raises OSError, ValueError, configparser.Error: what is wrong.
    """
    parser = configparser.ConfigParser()
    with open(path, encoding='utf-8') as file:
        parser.read_file(file)
    missing = [name for name in ('path_keywords', 'service_endpoints') if not parser.has_section(name)]
    if missing:
        raise ValueError(f'{path} has no section {" and ".join(missing)}; see etc/multiattach/api_audit_map.conf.')


class _Api(audit.OpenStackAuditApi):
    def get_action(self, req: Any) -> str:
        try:
            return str(super().get_action(req))
        except Exception:  # a body that is no object; the API refuses it
            return _ACTION


class _Filter(audit.AuditMiddleware):
    def __init__(self, application: WsgiApp, map_file: str, tell: Tell) -> None:
        super().__init__(application, use_oslo_messaging=False, ignore_req_list=_READING)
        self._cadf_audit = _Api(map_file)
        self._notifier = _Notifier(tell)


class _Notifier:
    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def notify(self, _context: Any, event_type: str, payload: dict[str, Any]) -> None:
        credential = payload['initiator'].get('credential')
        if credential is not None:
            payload = {**payload, 'initiator': {**payload['initiator'], 'credential': {**credential, 'token': _SECRET}}}
        self._tell(event_type, payload)
