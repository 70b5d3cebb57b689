# SPDX-License-Identifier: Apache-2.0
"""Policy rules with Block Storage's names and defaults (contract 7.1), one module per noun."""

import itertools
from typing import Any

from oslo_config import cfg
from oslo_policy import policy

from multiattach.policies import (
    attachments,
    base,
    drift,
    explain,
    fences,
    messages,
    qos_specs,
    quotas,
    servers,
    services,
    types,
    volume_hosts,
    volumes,
)


def list_rules() -> list[policy.RuleDefault]:
    """Return every rule, for the enforcer and the sample generator."""
    return list(
        itertools.chain(
            base.RULES,
            volumes.RULES,
            attachments.RULES,
            types.RULES,
            services.RULES,
            quotas.RULES,
            messages.RULES,
            servers.RULES,
            explain.RULES,
            qos_specs.RULES,
            volume_hosts.RULES,
            fences.RULES,
            drift.RULES,
        )
    )


def make_enforcer(conf: cfg.ConfigOpts, **kwargs: Any) -> policy.Enforcer:
    """Make an enforcer that knows the rules and the operator's policy file.

    :param conf: configuration with ``[oslo_policy]``.
    :param kwargs: as :class:`oslo_policy.policy.Enforcer` takes them.
    """
    enforcer = policy.Enforcer(conf, **kwargs)
    enforcer.register_defaults(list_rules())
    enforcer.load_rules()
    return enforcer


def get_enforcer() -> policy.Enforcer:
    """Make an enforcer for ``oslopolicy-*`` tools."""
    conf = cfg.ConfigOpts()
    conf([], project='multiattach')
    return make_enforcer(conf)
