# SPDX-License-Identifier: Apache-2.0
"""Errors of workers reach their callers through a broker as what they are."""

import inspect
import sys

import pytest
from oslo_messaging._drivers import common

from multiattach.domain import errors
from multiattach.rpc import transport

CLASSES = [
    member for _, member in inspect.getmembers(errors, inspect.isclass) if issubclass(member, errors.MultiattachError)
]


@pytest.mark.parametrize('kind', CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_is_made_again(kind):
    words = [f'word{number}' for number in range(len(inspect.signature(kind).parameters))]
    try:
        raise kind(*words)
    except errors.MultiattachError as exc:
        sent, text = exc, common.serialize_remote_exception(sys.exc_info())
    found = common.deserialize_remote_exception(text, transport.ALLOWED_REMOTE)
    assert isinstance(found, kind)
    assert found.message == sent.message == str(sent)
    assert all(word in found.message for word in words[1:])
