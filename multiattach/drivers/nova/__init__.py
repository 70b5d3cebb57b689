# SPDX-License-Identifier: Apache-2.0
"""What this service asks Nova, and tells it."""
