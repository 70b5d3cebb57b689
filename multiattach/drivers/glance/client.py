# SPDX-License-Identifier: Apache-2.0
"""The Image API as one caller sees it."""

import contextlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from keystoneauth1 import exceptions, plugin, session
from requests import exceptions as http_exc

from multiattach import turns
from multiattach.domain import images
from multiattach.domain.images import Image
from multiattach.drivers.errors import DriverRefused, ImageNotFound, ImageRefused, ImageUnavailable

T = TypeVar('T')
PIECE = 4 << 20  # bytes that are read at once
_AT_MOST = 2  # images of a name that are listed: two are one too many
# After these another server may do better.
_AWAY = (exceptions.ConnectFailure, exceptions.DiscoveryFailure, exceptions.HttpServerError)


class ImageApi:
    """Glance's API.

    :param auth: proves who asks; None where that is not asked for.
    :param servers: URLs of the API, each as good as the others.
    """

    def __init__(self, http: session.Session, auth: plugin.BaseAuthPlugin | None, servers: Sequence[str]) -> None:
        self._http = http
        self._auth = auth
        self._servers = [url.rstrip('/').removesuffix('/v2') for url in servers]

    def show(self, image_id: str) -> Image:
        """Read what is known of an image.

        :raises ImageNotFound: there is none that the caller may see.
        """
        return self._parse(self._ask('GET', f'/v2/images/{quote(image_id, safe="")}', image_id))

    def find(self, name: str) -> list[Image]:
        """Find images by their name: none, the one, or two if there are more."""
        reply = self._ask('GET', f'/v2/images?name={quote(name)}&limit={_AT_MOST}', name)
        try:
            return [images.parse(one) for one in reply.json()['images']]
        except (ValueError, LookupError, TypeError) as exc:
            raise _make_nonsense() from exc

    @contextlib.contextmanager
    def open(self, image_id: str) -> Iterator[Iterator[bytes]]:
        """Read an image's data in pieces, while the block lasts.

        :raises ImageRefused: they may not be read.
        :raises ImageUnavailable: also while they are read.
        """
        reply = self._ask('GET', f'/v2/images/{quote(image_id, safe="")}/file', image_id, stream=True)
        try:
            if reply.status_code != 200:
                raise ImageRefused(f'Image {image_id} has no data.')
            yield _read(reply)
        finally:
            reply.close()

    def create(self, properties: Mapping[str, Any]) -> Image:
        """Make an image without data, of the caller's project."""
        return self._parse(self._ask('POST', '/v2/images', str(properties.get('name')), json=dict(properties)))

    def upload(self, image_id: str, data: Iterable[bytes]) -> None:
        """Give an image its data; it is active then.

        :param data: pieces; it has a length, in bytes. What it raises ends the upload.
        """
        # Once: of an iterator nothing is left for a second server.
        headers = {'Content-Type': 'application/octet-stream'}
        path = f'/v2/images/{quote(image_id, safe="")}/file'
        self._send(self._servers[0], 'PUT', path, image_id, data=data, headers=headers)

    def delete(self, image_id: str) -> None:
        """Delete an image, also one that is protected; absent is success."""
        path = f'/v2/images/{quote(image_id, safe="")}'
        with contextlib.suppress(ImageNotFound):
            try:
                self._ask('DELETE', path, image_id)
            except ImageRefused:
                headers = {'Content-Type': 'application/openstack-images-v2.1-json-patch'}
                patch = json.dumps([{'op': 'replace', 'path': '/protected', 'value': False}])
                self._ask('PATCH', path, image_id, data=patch, headers=headers)
                self._ask('DELETE', path, image_id)

    def _parse(self, reply: Any) -> Image:
        try:
            return images.parse(reply.json())
        except (ValueError, AttributeError) as exc:
            raise _make_nonsense() from exc

    def _ask(self, method: str, path: str, what: str, **words: Any) -> Any:
        servers = random.sample(self._servers, len(self._servers))
        for number, server in enumerate(servers, 1):
            try:
                return self._send(server, method, path, what, **words)
            except ImageUnavailable:
                if number == len(servers):
                    raise
        raise ImageUnavailable('The Image service has no endpoint: set api_servers in [glance].')

    def _send(self, server: str, method: str, path: str, what: str, **words: Any) -> Any:
        try:
            with turns.waiting():
                return self._http.request(
                    f'{server}{path}', method, auth=self._auth, authenticated=self._auth is not None, log=False, **words
                )
        except exceptions.NotFound as exc:
            raise ImageNotFound(what) from exc
        except (exceptions.Unauthorized, exceptions.Forbidden) as exc:
            raise ImageRefused(f'The Image service does not allow that for image {what}: {_tell(exc)}') from exc
        except _AWAY as exc:
            raise ImageUnavailable(f'The Image service at {server} does not answer ({_tell(exc)}); try again.') from exc
        except exceptions.HttpError as exc:
            raise ImageRefused(f'The Image service refuses image {what}: {_tell(exc)}') from exc
        except (exceptions.ClientException, http_exc.RequestException) as exc:
            raise ImageUnavailable(f'The Image service at {server} cannot be asked ({type(exc).__name__}).') from exc


def _read(reply: Any) -> Iterator[bytes]:
    try:
        yield from reply.iter_content(PIECE)
    except (http_exc.RequestException, OSError) as exc:
        raise ImageUnavailable(f'The Image service broke off or stalled ({type(exc).__name__}).') from exc


def _tell(exc: exceptions.ClientException) -> str:
    if isinstance(exc, exceptions.HttpError) and exc.http_status:
        return f'HTTP {exc.http_status}, {exc.message}'[:255] if exc.message else f'HTTP {exc.http_status}'
    return type(exc).__name__


def _make_nonsense() -> DriverRefused:
    return ImageUnavailable('The Image service answers with something else than an image.')  # type: ignore[return-value]
