# SPDX-License-Identifier: Apache-2.0
"""Key and value rows gathered into one JSON text by the database: one statement less for each kind."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import functions


class ObjectOf(functions.FunctionElement[Any]):
    """Aggregate: a JSON object of two columns, as text; NULL or an empty object without rows."""

    inherit_cache = True
    name = 'object_of'
    type = sa.Text()


@compiles(ObjectOf, 'sqlite')
def _compile_sqlite(element: ObjectOf, compiler: Any, **kwargs: Any) -> str:
    return f'json_group_object({compiler.process(element.clauses, **kwargs)})'


@compiles(ObjectOf, 'mysql')
@compiles(ObjectOf, 'mariadb')
def _compile_mysql(element: ObjectOf, compiler: Any, **kwargs: Any) -> str:
    return f'JSON_OBJECTAGG({compiler.process(element.clauses, **kwargs)})'


@compiles(ObjectOf, 'postgresql')
def _compile_postgresql(element: ObjectOf, compiler: Any, **kwargs: Any) -> str:
    return f'CAST(json_object_agg({compiler.process(element.clauses, **kwargs)}) AS TEXT)'
