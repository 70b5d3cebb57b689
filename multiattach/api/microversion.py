# SPDX-License-Identifier: Apache-2.0
"""Negotiation of microversions (contract 1.2)."""

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

from multiattach.domain import errors

HEADER = 'OpenStack-API-Version'
_TEXT = re.compile(r'([1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})')
_LATEST = 'latest'
# Clients of the first API versions must not see the headers; told by substring, as ever.
_UNECHOED = ('1.0', '2.0')


class Version(NamedTuple):
    major: int
    minor: int

    def __str__(self) -> str:
        return f'{self.major}.{self.minor}'


class VersionNotSupported(errors.MultiattachError):
    """The version is well-formed but not one of ours (406)."""

    code = 406

    def __init__(self, refused: Version, api: 'Api') -> None:
        super().__init__(
            f'Version {refused} is not supported by the API. Minimum is {api.minimum} and maximum is {api.maximum}.'
        )
        self.refused = refused


@dataclasses.dataclass(frozen=True)
class Api:
    """An API with microversions.

    :param service: word of the header that names it.
    :param legacy_header: header that carries a bare version, empty for none.
    :param must_be_named: a header that does not name the service is an error instead of the default.
    """

    service: str
    minimum: Version
    maximum: Version
    legacy_header: str = ''
    must_be_named: bool = False


BLOCK_STORAGE = Api('volume', Version(3, 0), Version(3, 71), must_be_named=True)
COMPUTE = Api('compute', Version(2, 1), Version(2, 89), legacy_header='X-OpenStack-Nova-API-Version')


@functools.lru_cache(maxsize=64)
def negotiate(api: Api, header: str | None, legacy: str | None = None) -> Version:
    """Return the version that a request is to be served with.

    :param header: value of ``OpenStack-API-Version``, or None.
    :param legacy: value of the API's legacy header, or None.
    :raises InvalidInput: the header cannot be read (400; contract 11.4 number 23).
    :raises VersionNotSupported: the version is outside of what is served (406).
    """
    if header is None:
        return api.minimum if legacy is None else parse(api, legacy.strip())
    # ``volumev3 3.27`` counts as well: the piece only has to contain the word.
    piece = next((piece for piece in header.split(',') if api.service in piece), None)
    if piece is None:
        if api.must_be_named:
            raise errors.InvalidInput(
                f'The header {HEADER} does not name the service "{api.service}", as in "{api.service} {api.maximum}".'
            )
        return api.minimum if legacy is None else parse(api, legacy.strip())
    words = piece.split()
    if len(words) != 2:
        raise errors.InvalidInput(f'The header {HEADER} must be of the form "{api.service} {api.maximum}".')
    return parse(api, words[1])


def parse(api: Api, text: str) -> Version:
    """Parse one version, ``3.27`` or ``latest``; errors as :func:`negotiate`."""
    if text == _LATEST:
        return api.maximum
    match = _TEXT.fullmatch(text)
    if match is None:
        raise errors.InvalidInput(
            f'API Version String {text[:64]} is of invalid format. Must be of format MajorNum.MinorNum.'
        )
    version = Version(int(match[1]), int(match[2]))
    if not api.minimum <= version <= api.maximum:
        raise VersionNotSupported(version, api)
    return version


@functools.lru_cache(maxsize=64)
def reply_headers(api: Api, version: Version) -> Mapping[str, str]:
    """Return the headers that tell which version a reply is of."""
    text = str(version)
    if any(part in text for part in _UNECHOED):
        return {}
    headers = {HEADER: f'{api.service} {text}', 'Vary': HEADER}
    if api.legacy_header:
        headers[api.legacy_header] = text
        headers['Vary'] = f'{HEADER}, {api.legacy_header}'
    return headers
