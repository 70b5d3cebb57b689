# SPDX-License-Identifier: Apache-2.0
"""Nouns that this service does not have but clients ask for: lists are empty, nothing can be made.

The dashboard shows no volume at all if the list of snapshots is a 404; so it is with other lists that
clients read on their way to something else.
"""

import dataclasses
from typing import Any, NoReturn

from multiattach.api import paging, routing
from multiattach.api.request import Request
from multiattach.api.schemas.replies import one
from multiattach.api.validation import Versioned
from multiattach.domain import errors, idents
from multiattach.engine import queries


def _of_volume(noun: str) -> Versioned:
    """Make the body that would make one of a volume; only the volume in it is read."""
    inner: dict[str, Any] = {
        'type': 'object',
        'properties': {'volume_id': {'type': 'string'}},
        'required': ['volume_id'],
    }
    return Versioned({0: {'type': 'object', 'properties': {noun: inner}, 'required': [noun]}})


@dataclasses.dataclass(frozen=True)
class Noun:
    """What is not there.

    :param title: what one of them is called in texts.
    :param since: microversion's second number from which clients may ask.
    :param detail: there is a detailed list, too.
    :param creates: clients try to make one.
    :param body: schemas of what makes one of a volume; a volume that cannot be seen is a 404.
    :param filters: what everybody may filter by, as in Block Storage's ``resource_filters.json``.
    """

    path: str
    key: str
    title: str
    since: int = 0
    detail: bool = True
    creates: bool = True
    body: Versioned | None = None
    filters: tuple[str, ...] = ('name', 'status')


# Sort keys that all of them have.
_SORT_KEYS = {key: key for key in ('id', 'name', 'status', 'created_at', 'updated_at', 'project_id')}
NOUNS = (
    Noun('/backups', 'backups', 'Backup', body=_of_volume('backup'), filters=('name', 'status', 'volume_id')),
    Noun('/groups', 'groups', 'Group', since=13),
    Noun('/group_snapshots', 'group_snapshots', 'Group snapshot', since=14, filters=('name', 'status', 'group_id')),
    Noun('/group_types', 'group_types', 'Group type', since=11, detail=False, filters=('is_public', 'group_specs')),
    Noun('/consistencygroups', 'consistencygroups', 'Consistency group'),
    Noun('/cgsnapshots', 'cgsnapshots', 'Consistency group snapshot'),
    Noun(
        '/clusters',
        'clusters',
        'Cluster',
        since=7,
        creates=False,
        filters=(
            'name',
            'binary',
            'num_hosts',
            'num_down_hosts',
            'disabled',
            'replication_status',
            'frozen',
            'active_backend_id',
        ),
    ),
)


def _list_nothing(path: str, noun: Noun) -> routing.Handler:
    def index(self: routing.Controller, req: Request) -> dict[str, Any]:
        query = req.query
        page = paging.parse_page(query, self.settings, _SORT_KEYS)
        queries.check_absent(req.ctx, paging.filters(query), req.minor, noun.filters)
        if 'all_tenants' in query:
            queries.parse_boolean(query['all_tenants'])
        if page.marker is not None:
            raise errors.NotFound(f'{noun.title} {page.marker[:64]} could not be found.')
        return {noun.key: []}

    nothing = one(noun.key, {'type': 'array', 'maxItems': 0})
    return _mark('GET', path, noun, index, f'List {noun.title.lower()}s: there are none.', reply=nothing)


def _refuse(noun: Noun) -> routing.Handler:
    def create(self: routing.Controller, req: Request, body: dict[str, Any] | None = None) -> NoReturn:
        for wanted in (body or {}).values():
            if isinstance(wanted, dict) and 'volume_id' in wanted:
                self.engine.volumes.show(req.ctx, idents.normalise(str(wanted['volume_id'])))
        raise errors.InvalidInput(f'{noun.title}: this service does not offer it.')

    rules = ('volume:get',) if noun.body is not None else ()
    return _mark(
        'POST', noun.path, noun, create, f'Refuse to make a {noun.title.lower()}.', body=noun.body, rules=rules
    )


def _miss(method: str, noun: Noun) -> routing.Handler:
    def show(_self: Any, _req: Request, ident: str) -> NoReturn:
        raise errors.NotFound(f'{noun.title} {ident[:64]} could not be found.')

    return _mark(method, noun.path + '/{ident}', noun, show, f'Find no {noun.title.lower()}.')


def _mark(method: str, path: str, noun: Noun, handler: routing.Handler, doc: str, **more: Any) -> routing.Handler:
    handler.__name__ = f'{method}{path}'.lower().translate(str.maketrans('/-', '__', '{}'))
    handler.__doc__ = doc
    return routing.route(method, path, since=noun.since, **more)(handler)


class AbsentController(routing.Controller):
    """Empty lists and refusals."""


def _add(handler: routing.Handler) -> None:
    setattr(AbsentController, handler.__name__, handler)


for _noun in NOUNS:
    _add(_list_nothing(_noun.path, _noun))
    if _noun.detail:
        _add(_list_nothing(f'{_noun.path}/detail', _noun))
    if _noun.creates:
        _add(_refuse(_noun))
    for _method in ('GET', 'PUT', 'DELETE'):
        _add(_miss(_method, _noun))
