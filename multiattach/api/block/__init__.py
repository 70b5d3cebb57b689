# SPDX-License-Identifier: Apache-2.0
"""Block Storage: one module per noun, with its schemas, its views and its routes."""
