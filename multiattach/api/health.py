# SPDX-License-Identifier: Apache-2.0
"""``/healthcheck``: oslo.middleware's, with checks of what the API cannot do without.

A check costs the same however often it is asked for, and never hangs. What it says is for the
operator, free of secrets, and names the option to look at.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from oslo_config import cfg
from oslo_log import log
from oslo_middleware import healthcheck
from oslo_middleware.healthcheck import opts, pluginbase

from multiattach.domain import errors
from multiattach.probe import Probe
from multiattach.trouble import Trouble

LOG = log.getLogger(__name__)

Check = Callable[[], None]
TIMEOUT = 2.0  # s that a check may take
KEEP = 2.0  # s for which its answer is not asked for again
_OPTIONS = {
    'database': 'option connection in [database]: check that the server runs and is not overloaded',
    'broker': 'option transport_url in [DEFAULT]: check that the broker runs and can be reached',
    'policy': 'option policy_file in [oslo_policy]',
}


class _Extension(pluginbase.HealthcheckBaseExtension):
    """A backend of oslo.middleware's health check."""

    name: ClassVar[str]

    def __init__(self, oslo_conf: cfg.ConfigOpts, conf: Any) -> None:
        super().__init__(oslo_conf, conf)
        self.probe: Probe[None] | None = None
        self._trouble = Trouble(LOG, 'Health check:')

    def healthcheck(self, server_port: int) -> pluginbase.HealthcheckResult:
        if self.probe is None:
            return pluginbase.HealthcheckResult(available=True, reason='OK', details=f'{self.name} is not checked here')
        try:
            self.probe.ask()
        except TimeoutError:
            return self._fail(f'{self.name}: no answer within {TIMEOUT:g} s; {_OPTIONS[self.name]}.')
        except errors.MultiattachError as exc:
            return self._fail(f'{self.name}: {exc.message}')
        except Exception as exc:  # its text may hold a password
            return self._fail(f'{self.name}: {type(exc).__name__}; {_OPTIONS[self.name]}.')
        self._trouble.end()
        return pluginbase.HealthcheckResult(available=True, reason='OK', details=f'{self.name} answers')

    def _fail(self, reason: str) -> pluginbase.HealthcheckResult:
        self._trouble.note(reason)
        return pluginbase.HealthcheckResult(available=False, reason=reason)


class DatabaseExtension(_Extension):
    """Does the database answer, and is it at this release's revision?"""

    name = 'database'


class BrokerExtension(_Extension):
    """Does the broker take a connection?"""

    name = 'broker'


class PolicyExtension(_Extension):
    """Can the policy file be used?"""

    name = 'policy'


class Healthcheck(healthcheck.Healthcheck):
    """The application of ``/healthcheck``; each of the checks raises what is wrong."""

    def __init__(self, conf: cfg.ConfigOpts, checks: Mapping[str, Check]) -> None:
        conf.register_opts(opts.HEALTHCHECK_OPTS, group='healthcheck')
        conf.set_default(
            'backends', ['disable_by_file', *(f'multiattach_{name}' for name in _OPTIONS)], group='healthcheck'
        )
        super().__init__(None, conf)
        for found in self._backends:
            if isinstance(found.obj, _Extension) and found.obj.name in checks:
                found.obj.probe = Probe(checks[found.obj.name], TIMEOUT, KEEP)
