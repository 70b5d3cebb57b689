# SPDX-License-Identifier: Apache-2.0
"""The target driver ``lio`` as a program has it: made of its options."""

import pathlib
from typing import Any, Self

from multiattach.conf import lio as lio_conf, plugins
from multiattach.domain import errors
from multiattach.drivers import values
from multiattach.drivers.errors import DriverError
from multiattach.drivers.targets import portals
from multiattach.drivers.targets.lio.configfs import Configfs
from multiattach.drivers.targets.lio.target import LioTarget


class LioService(LioTarget):
    """Targets of this machine's kernel; they stay when the program ends."""

    OPTS = lio_conf.OPTS
    OPTION_GROUP = lio_conf.GROUP
    # It is there without a worker, and can be asked.
    IS_KERNEL = True

    @classmethod
    def from_options(cls, options: Any, surroundings: plugins.Surroundings) -> Self:
        values.check_iqn_prefix('Option iqn_prefix in [lio]', options.iqn_prefix)
        folder = pathlib.Path(options.reservations_dir)
        values.check_path('Option reservations_dir in [lio]', folder)
        portal, listen = portals.read(lio_conf.GROUP, options)
        made = cls(
            Configfs(),
            portal=portal,
            listen=listen,
            iqn_prefix=options.iqn_prefix,
            write_cache=options.write_cache,
            reservations_dir=folder,
        )
        try:
            made.check()
        except DriverError as exc:
            raise errors.ConfigurationError(f'Option target_driver is lio, and it cannot be used: {exc}') from exc
        return made

    def keep_alive(self) -> None: ...

    def close(self) -> None: ...
