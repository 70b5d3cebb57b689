# SPDX-License-Identifier: Apache-2.0
"""Ceph's own Python modules, rados and rbd, which no package index has.

The distribution's packages put them among its own modules, where a virtual environment does not look. From there these
two are taken, and nothing else: a folder on the path would let every module of the distribution in.
"""

import importlib
import importlib.util
import pathlib
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from typing import Any

from multiattach.drivers.errors import StorageError

# Of Debian and Ubuntu, and of Red Hat's kin. Compiled modules of another Python are not found: their names tell.
_VERSION = f'{sys.version_info.major}.{sys.version_info.minor}'
FOLDERS = ('/usr/lib/python3/dist-packages', f'/usr/lib64/python{_VERSION}/site-packages')


def load(folders: Sequence[str] = FOLDERS) -> tuple[Any, Any]:
    """Import them, from where Python looks by itself or else from the distribution's folder.

    :returns: the modules ``rados`` and ``rbd``.
    :raises StorageError: one is not there, or is not for this Python.
    """
    rados = _import('rados', folders)  # first: the other one is made with it
    return rados, _import('rbd', folders)


def _import(name: str, folders: Sequence[str]) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name != name:
            raise _missing(name, folders, str(exc)) from exc
    except ImportError as exc:  # it is there, and cannot be used
        raise _missing(name, folders, str(exc)) from exc
    spec = PathFinder.find_spec(name, list(folders))
    if spec is None or spec.loader is None:
        raise _missing(name, folders, f'for Python {_VERSION} there is none in {" or ".join(folders)}')
    try:
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    except ImportError as exc:
        sys.modules.pop(name, None)
        raise _missing(name, folders, str(exc)) from exc
    return module


def _missing(name: str, folders: Sequence[str], reason: str) -> StorageError:
    found = sorted(path.name for folder in folders for path in pathlib.Path(folder).glob(f'{name}.*.so'))
    other = f' Found was {", ".join(found)}: run this program with the Python that it is made for.' if found else ''
    return StorageError(
        f'The module {name} of Ceph cannot be imported: {reason}. Install the package python3-{name} of the '
        f'distribution.{other}'
    )
