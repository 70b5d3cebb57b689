# SPDX-License-Identifier: Apache-2.0
"""A browser without scripts: pages, forms, tables, cookies."""

import dataclasses
import html
import html.parser
import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable

from tests.testbed.polling import wait_until

_VOID = {'input', 'br', 'hr', 'img', 'meta', 'link'}


@dataclasses.dataclass
class Form:
    """A form as it came.

    :param action: where it goes.
    :param fields: name → value; what is not chosen is not there.
    :param choices: name of a list → value → label.
    :param ident: its id, or empty.
    """

    action: str
    ident: str
    fields: dict[str, str] = dataclasses.field(default_factory=dict)
    choices: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Row:
    """A row of a table: an object.

    :param ident: id of the object.
    :param cells: texts.
    :param actions: values of its buttons, and addresses of its links.
    """

    ident: str
    cells: list[str] = dataclasses.field(default_factory=list)
    actions: list[str] = dataclasses.field(default_factory=list)


class Page(html.parser.HTMLParser):
    """A page.

    :param url: where it came from, after redirections.
    :param status: HTTP status.
    :param text: HTML.
    """

    def __init__(self, url: str, status: int, text: str) -> None:
        super().__init__()
        self.url = url
        self.status = status
        self.text = text
        self.forms: list[Form] = []
        self.rows: list[Row] = []
        self.facts: dict[str, str] = {}  # of a page of details: title → value
        self._form: Form | None = None
        self._row: Row | None = None
        self._select = self._title = ''
        self._sink: list[str] | None = None
        self._option: str | None = None
        self.feed(text)
        self.close()

    @property
    def path(self) -> str:
        """The path of its address."""
        return urllib.parse.urlsplit(self.url).path

    def find_messages(self, kind: str) -> list[str]:
        """Find what it says of ``success``, ``info``, ``danger`` or ``warning``."""
        found = re.findall(
            rf'<div class="alert alert-{kind} [^>]*>\s*<a.*?</a>\s*<p>\s*<strong>[^<]*</strong>(.*?)<',
            self.text,
            re.DOTALL,
        )
        return [html.unescape(' '.join(one.split())) for one in found]

    def find_form(self, action: str) -> Form:
        """Find the form that goes somewhere."""
        found = [form for form in self.forms if form.action == action]
        assert len(found) == 1, (action, [form.action for form in self.forms])
        return found[0]

    def find_row(self, ident: str) -> Row:
        """Find the row of an object."""
        [found] = [row for row in self.rows if row.ident == ident]
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of what a tag begins."""
        has = {key: value or '' for key, value in attrs}
        if tag == 'form':
            self._form = Form(has.get('action', ''), has.get('id', ''))
            self.forms.append(self._form)
        elif tag == 'tr':
            self._row = Row(has['data-object-id']) if 'data-object-id' in has else None
            if self._row:
                self.rows.append(self._row)
        elif tag in ('td', 'dt', 'dd'):
            self._sink = []
        if self._form and tag in ('input', 'select', 'textarea', 'option', 'button'):
            self._take_field(self._form, tag, has)
        if self._row and tag in ('button', 'a'):
            self._row.actions.append(has.get('value' if tag == 'button' else 'href', ''))

    def _take_field(self, form: Form, tag: str, has: dict[str, str]) -> None:
        name, value = has.get('name', ''), has.get('value', '')
        if tag == 'select':
            self._select = name
            form.choices[name] = {}
        elif tag == 'option' and self._select:
            self._option = value
            form.choices[self._select][value] = ''
            if 'selected' in has or self._select not in form.fields:
                form.fields[self._select] = value
        elif tag == 'textarea':
            form.fields[name] = ''
        elif tag == 'input' and name and has.get('type') not in ('checkbox', 'radio', 'submit', 'button'):
            form.fields[name] = value
        elif tag == 'input' and name and 'checked' in has:
            form.fields[name] = value or 'on'

    def handle_endtag(self, tag: str) -> None:
        """Take note of what ends."""
        text = ' '.join(''.join(self._sink or []).split())
        if tag == 'form':
            self._form = None
        elif tag == 'select':
            self._select = ''
        elif tag == 'option':
            self._option = None
        elif tag == 'td' and self._row:
            self._row.cells.append(text)
        elif tag == 'dt':
            self._title = text
        elif tag == 'dd' and self._title:
            self.facts.setdefault(self._title, text)
        if tag in ('td', 'dt', 'dd'):
            self._sink = None

    def handle_data(self, data: str) -> None:
        """Take text."""
        if self._sink is not None:
            self._sink.append(data)
        if self._form and self._select and self._option is not None:
            self._form.choices[self._select][self._option] += data.strip()


class Browser:
    """A session.

    :param base: address of the site.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(
                http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(strict_domain=False))
            )
        )

    def open(self, path: str, fields: dict[str, str] | None = None) -> Page:
        """Go somewhere, with a form's fields if they are given."""
        request = urllib.request.Request(
            urllib.parse.urljoin(self.base, path),
            None if fields is None else urllib.parse.urlencode(fields).encode(),
            {'Referer': self.base},
        )
        try:
            with self._opener.open(request, timeout=120) as reply:
                return Page(reply.url, reply.status, reply.read().decode())
        except urllib.error.HTTPError as error:
            return Page(error.url, error.code, error.read().decode(errors='replace'))

    def submit(self, page: Page, form: Form, **values: str) -> Page:
        """Send a form with some of its fields filled in."""
        unknown = set(values) - set(form.fields) - {'action'}
        assert not unknown, (unknown, form.fields)
        for name, value in values.items():
            assert name not in form.choices or value in form.choices[name], (name, value, form.choices[name])
        action = urllib.parse.urljoin(page.url, form.action)
        return self.open(action, {**form.fields, **values})

    def press(self, page: Page, action: str, button: str) -> Page:
        """Press a button of a table."""
        assert button in [found for row in page.rows for found in row.actions], button
        form = next(form for form in page.forms if form.action == action)
        return self.submit(page, form, action=button)

    def log_in(self, user: str, password: str, then: str) -> Page:
        """Log in and go on to a page."""
        page = self.open(f'/auth/login/?next={then}')
        [form] = [form for form in page.forms if 'password' in form.fields]
        return self.submit(page, form, username=user, password=password)

    def wait(self, condition: Callable[[], bool], seconds: float = 40) -> None:
        """Look again and again until something is so."""
        wait_until(condition, seconds, 'what the page should say', 0.3)
