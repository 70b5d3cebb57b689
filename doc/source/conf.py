# SPDX-License-Identifier: Apache-2.0
project = 'multiattach'
copyright = 'multiattach developers'
extensions: list[str] = []
html_theme = 'alabaster'
exclude_patterns: list[str] = []
# The description of the API, made by tools/openapi.py.
html_extra_path = ['openapi.json']
