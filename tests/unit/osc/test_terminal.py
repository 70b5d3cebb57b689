# SPDX-License-Identifier: Apache-2.0
import io
import time

from multiattach.osc.terminal import Terminal
from tests.testbed import polling


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_that_changes_and_goes() -> None:
    stream = Tty()
    terminal = Terminal(stream)
    terminal.tell('exporting')
    terminal.tell('exporting')
    terminal.end()
    assert stream.getvalue().count('\r\033[K') == 3
    assert '\n' not in stream.getvalue()


def test_a_file_has_a_line_for_each_change() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream)
    for word in ('exporting', 'exporting', 'attached'):
        terminal.tell(word)
    terminal.end()
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ['exporting', 'attached']
    assert '\r' not in stream.getvalue()


def test_a_terminal_on_which_nothing_was_told_is_left_alone() -> None:
    stream = Tty()
    Terminal(stream).end()
    assert stream.getvalue() == ''


def test_a_slow_answer_is_waited_for_in_words() -> None:
    stream = io.StringIO()
    with Terminal(stream).waiting('the broker', pause=0.01):
        polling.wait_until(lambda: stream.getvalue().count('\n') >= 2, 10, 'two lines')
    assert set(stream.getvalue().splitlines()) == {'Still waiting for the broker (0 s).'}


def test_a_quick_answer_and_a_progress_line_need_no_words() -> None:
    stream = io.StringIO()
    with Terminal(stream).waiting('the broker'):
        pass
    terminal = Terminal(stream)
    with terminal.waiting('the broker', pause=0.001):
        terminal.tell('exporting')
        written = stream.getvalue()
        time.sleep(0.05)
    assert stream.getvalue() == written != ''


def test_warnings_are_wrapped() -> None:
    stream = io.StringIO()
    Terminal(stream).warn('word ' * 60)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith('Warning: word')
    assert len(lines) > 1
    assert all(len(line) <= 100 for line in lines)
