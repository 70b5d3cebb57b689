# SPDX-License-Identifier: Apache-2.0
"""The compute API, version 2.1, as an application to mount."""

from collections.abc import Callable, Iterable
from typing import Any

from multiattach.api import auth, microversion, routing, versions
from multiattach.api.compute import flavors, servers, volume_attachments
from multiattach.api.faults import WsgiApp
from multiattach.api.settings import ApiSettings
from multiattach.engine.assembly import Engine

CONTROLLERS = (servers.ServersController, volume_attachments.VolumeAttachmentsController, flavors.FlavorsController)


def make_app(engine: Engine, settings: ApiSettings, authenticate: auth.Middleware) -> WsgiApp:
    """Make the application of ``/compute``.

    Discovery needs no token (Nova's ``/`` and ``/v2.1``), all the rest does.

    :param authenticate: middleware that leaves a context.
    """

    def build(*kinds: type[routing.Controller]) -> WsgiApp:
        return routing.make_app(microversion.COMPUTE, [kind(engine, settings) for kind in kinds], settings)

    guarded = authenticate(build(*CONTROLLERS), settings)
    return routing.Mounts(
        {'/v2.1': _Version(build(versions.ComputeVersionController), guarded)},
        _Root(build(versions.ComputeVersionsController)),
    )


class _Version:
    """Splits the discovery of one version from what is below it."""

    def __init__(self, discovery: WsgiApp, guarded: WsgiApp) -> None:
        self._discovery = discovery
        self._guarded = guarded

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get('PATH_INFO', '') in ('', '/'):
            return self._discovery(environ, start_response)
        return self._guarded(environ, start_response)


class _Root:
    """The list of versions is under no microversion: whatever a client sends, it is found."""

    def __init__(self, application: WsgiApp) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        for header in (microversion.HEADER, microversion.COMPUTE.legacy_header):
            environ.pop(f'HTTP_{header.upper().replace("-", "_")}', None)
        return self._application(environ, start_response)
