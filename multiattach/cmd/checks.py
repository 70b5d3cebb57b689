# SPDX-License-Identifier: Apache-2.0
"""What an operator may have checked before programs start: files, and the servers that they name."""

import difflib
import pathlib

import yaml
from oslo_config import cfg
from oslo_policy import policy

from multiattach import policies
from multiattach.cmd import images, parts
from multiattach.conf import audit
from multiattach.domain import errors


def check_files(conf: cfg.ConfigOpts) -> list[str]:
    return [str(finding) for finding in audit.inspect(conf)]


def check_servers(conf: cfg.ConfigOpts) -> list[str]:
    """Check that database, broker and Image service answer."""
    wrong = []
    try:
        parts.ask_database(conf).close()
    except errors.ConfigurationError as exc:
        wrong.append(exc.message)
    try:
        parts.open_transport(conf).cleanup()
        wrong += images.check(conf)
    except errors.ConfigurationError as exc:
        wrong.append(exc.message)
    return wrong


def check_storage(conf: cfg.ConfigOpts) -> tuple[list[str], list[str]]:
    """Check that storage answers which backends have elsewhere.

    :returns: names of backends that were asked, and what is wrong.
    """
    asked, wrong = [], []
    for name in conf.volume.enabled_backends or ():
        try:
            if parts.ask_storage(conf, name):
                asked.append(name)
        except errors.ConfigurationError as exc:
            wrong.append(exc.message)
    return asked, wrong


def find_policy_file(conf: cfg.ConfigOpts) -> str | None:
    """Return the path of the operator's policy file; None if there is none."""
    path: str | None = conf.find_file(conf.oslo_policy.policy_file)
    return path


def check_policy(conf: cfg.ConfigOpts) -> list[str]:
    """Check the operator's policy file: can it be read, and does somebody ask each of its rules?"""
    enforcer = policy.Enforcer(conf)
    enforcer.register_defaults(policies.list_defaults())
    path = find_policy_file(conf)
    if path is None:
        return []
    try:
        rules = yaml.safe_load(pathlib.Path(path).read_text()) or {}
        enforcer.load_rules()
        enforcer.check_rules(raise_on_violation=True)
    except Exception as exc:
        return [f'Option policy_file in [oslo_policy]: {path}: {exc}']
    known = {rule.name for rule in policies.list_defaults()}
    used = {name for rule in enforcer.file_rules.values() for name in _list_references(rule.check)}
    return [f'{path}: nobody asks rule {name}{_suggest(name, known)}' for name in rules if name not in known | used]


def _list_references(check: object) -> set[str]:
    """Return the rules that a rule names."""
    if isinstance(check, policy.RuleCheck):
        return {check.match}
    inner = [*getattr(check, 'rules', ()), *([check.rule] if hasattr(check, 'rule') else [])]
    return {name for part in inner for name in _list_references(part)}


def _suggest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f'; did you mean {near[0]}?' if near else ''
