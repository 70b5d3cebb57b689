# SPDX-License-Identifier: Apache-2.0
import pytest
import webob

from multiattach.api import auth, deploy
from multiattach.api.request import CONTEXT
from multiattach.api.settings import ApiSettings
from multiattach.domain import errors

DEFAULT = ApiSettings().default_project_id


@pytest.fixture
def identify():
    seen = []

    def application(environ, start_response):
        seen.append(environ[CONTEXT])
        return webob.Response()(environ, start_response)

    guarded = auth.NoAuth(application, ApiSettings())

    def identify(path='/volumes', **headers):
        request = webob.Request.blank(path, headers={name.replace('_', '-'): text for name, text in headers.items()})
        assert request.get_response(guarded).status_int == 200
        return seen[-1]

    return identify


@pytest.mark.parametrize(
    ('token', 'path', 'user', 'project'),
    [
        (None, '/volumes', 'admin', DEFAULT),
        (None, '/abc/volumes', 'admin', 'abc'),
        (None, '/v2.1/abc/servers', 'admin', 'abc'),
        (None, '/abc', 'admin', DEFAULT),
        ('me:abc', '/volumes', 'me', 'abc'),
        ('me:abc', '/def/volumes', 'me', 'abc'),
        ('me:my project', '/volumes', 'me', 'my project'),
        ('me:', '/volumes', 'me', DEFAULT),
        (':abc', '/volumes', 'admin', 'abc'),
        (':', '/volumes', 'admin', DEFAULT),
        ('notused', '/volumes', 'notused', DEFAULT),
        ('notused', '/abc/volumes', 'notused', 'abc'),
        ('a:b:c', '/volumes', 'a', 'b:c'),
    ],
)
def test_who_it_is(identify, token, path, user, project):
    ctx = identify(path, **({} if token is None else {'X_Auth_Token': token}))
    assert (ctx.user_id, ctx.project) == (user, project)
    assert ctx.is_admin
    assert set(ctx.roles) == {'admin', 'member', 'reader'}
    assert not ctx.is_service_request


@pytest.mark.parametrize(
    ('header', 'expected'), [('service', True), ('a, service ,b', True), ('', False), ('x', False)]
)
def test_service_roles_are_believed(identify, header, expected):
    assert identify(X_Service_Roles=header).is_service_request is expected


def test_the_default_project_may_be_in_a_url(identify):
    assert identify(f'/{DEFAULT}/volumes').project == DEFAULT


def test_an_unknown_strategy_is_named():
    with pytest.raises(errors.ConfigurationError, match=r"auth_strategy is 'magic'.*noauth"):
        deploy.make_application(None, ApiSettings(auth_strategy='magic'))
