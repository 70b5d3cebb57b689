# SPDX-License-Identifier: Apache-2.0
"""The volume worker: makes volumes and exports them."""
