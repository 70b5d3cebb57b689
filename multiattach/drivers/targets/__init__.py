# SPDX-License-Identifier: Apache-2.0
"""Target drivers: how a volume is exported to initiators."""
