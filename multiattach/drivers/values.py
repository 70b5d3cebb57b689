# SPDX-License-Identifier: Apache-2.0
"""Values of options that no target takes, refused before anything is made with them: it would fail at each attach."""

import os
import pathlib
import re

from multiattach.domain import errors

# Letters are those of any language. Everything else means something to tgtd (a comma, a keyword with "="),
# to tgt-admin (a blank, quotes, "#", "$", "<", patterns), to oslo.config ("$") or in a URL ("?", "#").
_PATH = re.compile(r'[\w/.:@+%-]+')
_LONGEST_PATH = 512
_IQN_PREFIX = re.compile(r'iqn\.[0-9]{4}-[0-9]{2}\.[a-z0-9:.-]{1,150}')


def check_path(option: str, path: pathlib.Path) -> None:
    """Refuse a folder whose path has characters or a length that the target cannot take.

    :raises ConfigurationError: the message names *option*.
    """
    text = os.path.abspath(path)
    for sign in text:
        if not _PATH.fullmatch(sign):
            raise errors.ConfigurationError(
                f'{option}: {text!r} has the character {sign!r}, which targets cannot take. Use '
                'letters, digits and . _ - + : @ % only.'
            )
    if len(os.fsencode(text)) > _LONGEST_PATH:
        raise errors.ConfigurationError(f'{option}: the path is longer than {_LONGEST_PATH} bytes.')


def check_iqn_prefix(option: str, prefix: str) -> None:
    """Refuse a start of names that no target and no initiator can have.

    :raises ConfigurationError: the message names *option*.
    """
    if not _IQN_PREFIX.fullmatch(prefix):
        raise errors.ConfigurationError(
            f'{option} must be such as iqn.2010-10.org.openstack: (small letters, digits, . : and -, at '
            f'most 160 characters), not {prefix!r}.'
        )
