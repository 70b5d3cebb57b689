# SPDX-License-Identifier: Apache-2.0
"""What this service asks of Glance, the Image service."""
