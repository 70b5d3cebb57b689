# SPDX-License-Identifier: Apache-2.0
"""The policy rules, for the enforcer and for the tools of oslo.policy."""

from typing import Any

from oslo_config import cfg
from oslo_policy import policy

from multiattach.policies.rules import PERSONAS, RULES


def list_defaults() -> list[policy.RuleDefault]:
    return [*PERSONAS, *(policy.RuleDefault(*rule) for rule in RULES)]


def list_rules() -> list[policy.RuleDefault]:
    """Return every rule with the calls that ask it, for the sample and for the reference."""
    from multiattach.api import deploy  # late: a worker that enforces rules serves no API

    operations = deploy.list_operations()
    return [*PERSONAS, *(policy.DocumentedRuleDefault(*rule, operations=operations.get(rule[0], [])) for rule in RULES)]


def make_enforcer(conf: cfg.ConfigOpts, **kwargs: Any) -> policy.Enforcer:
    """Make an enforcer that knows the rules and the operator's policy file."""
    enforcer = policy.Enforcer(conf, **kwargs)
    enforcer.register_defaults(list_defaults())
    enforcer.load_rules()
    return enforcer


def get_enforcer() -> policy.Enforcer:
    """For the ``oslopolicy-*`` tools."""
    conf = cfg.ConfigOpts()
    conf([], project='multiattach')
    return make_enforcer(conf)
