# SPDX-License-Identifier: Apache-2.0
"""Pieces of JSON Schemas of bodies, queries and replies."""
