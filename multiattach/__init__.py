# SPDX-License-Identifier: Apache-2.0
"""Block volumes attached to several servers at once."""
