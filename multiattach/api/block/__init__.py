# SPDX-License-Identifier: Apache-2.0
"""Block Storage: one module per noun, with its schemas, its views and its routes.

In this order: bodies and queries (written with :mod:`multiattach.api.schemas.requests`), replies, views, controllers. A
noun that lists show otherwise than a reply about one thing has the views ``summary`` and ``detail``, others ``show``.
"""
