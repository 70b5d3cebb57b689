# SPDX-License-Identifier: Apache-2.0
"""Controllers: one module per noun; each method tells what it answers to."""
