# SPDX-License-Identifier: Apache-2.0
"""Images that callers name: asked for with their own token, so that the Image service decides who sees which."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy.orm import Session

from multiattach.db import image_copies, transitions, volumes as db_volumes
from multiattach.domain import errors, idents
from multiattach.domain.images import Image, ImageCopy, Purpose
from multiattach.engine import placement
from multiattach.engine.context import RequestContext


class CallerImages(Protocol):
    """The Image API for one caller. Each call raises Unavailable without an answer."""

    def show(self, image_id: str) -> Image:
        """:raises NotFound: there is none that the caller may see."""

    def find(self, name: str) -> Sequence[Image]:
        """List images of a name: none, one, or two of more."""

    def create(self, properties: Mapping[str, Any]) -> Image:
        """Make an image without data, of the caller's project.

        :raises InvalidInput: it is refused.
        """

    def delete(self, image_id: str) -> None: ...


class ImageService(Protocol):
    def as_caller(self, token: str | None, catalog: list[dict[str, Any]]) -> CallerImages:
        """Have the Image API with the token of whoever asks.

        :raises InvalidInput: his catalogue has no such service.
        """


class Images:
    """Images as callers name them.

    :param service: None where this service knows no Image service.
    """

    def __init__(self, service: ImageService | None) -> None:
        self._service = service

    def connect(self, ctx: RequestContext) -> CallerImages:
        if self._service is None:
            raise errors.InvalidInput(
                'Volumes of images: no Image service is configured here. Make an empty volume, or a clone of one '
                '(source_volid), and write the image to it from a server.'
            )
        return self._service.as_caller(ctx.auth_token, ctx.service_catalog)

    def find(self, ctx: RequestContext, reference: str) -> Image:
        """Find an image by its id, the URL of one, or its name.

        :raises InvalidInput: there is none that the caller may see.
        :raises Conflict: there are several of this name.
        """
        api = self.connect(ctx)
        ident = idents.normalise(reference.rpartition('/')[2].strip())
        if idents.is_uuid(ident):
            try:
                return api.show(ident)
            except errors.NotFound:
                pass  # it may be a name
        found = api.find(reference)
        if len(found) > 1:
            raise errors.Conflict(f"Multiple matches found for '{reference}', use an ID to be more specific.")
        if not found:
            raise errors.InvalidInput('Invalid image identifier or unable to access requested image.')
        return found[0]


def begin_download(session: Session, volume_id: str, image: Image, backend: placement.Candidate) -> None:
    """Write where a volume is to be made of an image."""
    db_volumes.update(
        session, volume_id, host=backend.host, availability_zone=backend.zone, service_uuid=backend.service_uuid
    )
    transitions.move_volume(session, volume_id, 'download')
    image_copies.put(session, volume_id, ImageCopy(image.id, Purpose.CREATE))
