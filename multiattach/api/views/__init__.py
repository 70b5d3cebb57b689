# SPDX-License-Identifier: Apache-2.0
"""What replies look like: one module per noun, pure functions of loaded rows."""
