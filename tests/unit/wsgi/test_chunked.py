# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from typing import Any

from multiattach.wsgi import chunked

LIMIT = 10


class Application:
    """Keeps what it was asked."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.body = environ['wsgi.input'].read()
        self.environ = environ
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'']


class Chunks:
    """What uWSGI reads from a client."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.left = list(chunks)

    def __call__(self) -> bytes:
        chunk = self.left.pop(0) if self.left else b''
        if isinstance(chunk, Exception):
            raise chunk
        return chunk


def ask(chunks: Chunks) -> tuple[Application, list[tuple[str, str]]]:
    application, headers = Application(), []
    wrapped = chunked.ChunkedInput(application, LIMIT, chunks)
    wrapped({'HTTP_TRANSFER_ENCODING': 'Chunked'}, lambda status, given, *more: headers.extend(given))
    return application, headers


def test_a_body_gets_a_length():
    application, headers = ask(Chunks(b'abc', b'def'))
    assert application.body == b'abcdef'
    assert application.environ['CONTENT_LENGTH'] == '6'
    assert 'HTTP_TRANSFER_ENCODING' not in application.environ
    assert ('Connection', 'close') in headers


def test_no_more_is_read_than_is_needed_to_refuse_it():
    chunks = Chunks(b'x' * 8, b'x' * 8, b'x' * 8)
    application, _ = ask(chunks)
    assert int(application.environ['CONTENT_LENGTH']) > LIMIT
    assert len(chunks.left) == 1


def test_half_a_body_is_none():
    application, _ = ask(Chunks(b'{"volume', OSError('the client has gone')))
    assert application.body == b''


def test_other_servers_need_none_of_it():
    application = Application()
    assert chunked.accept_chunks(application, LIMIT) is application
