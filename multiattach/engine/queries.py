# SPDX-License-Identifier: Apache-2.0
"""List filters and pages as the API hands them on, without SQL on its side."""

from multiattach.db.paging import Page

__all__ = ['Page']
