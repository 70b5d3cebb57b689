# SPDX-License-Identifier: Apache-2.0
"""The compute endpoint: Nova's API for deployments without Nova, as far as volumes are concerned."""
