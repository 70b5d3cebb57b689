# SPDX-License-Identifier: Apache-2.0
"""Taking over from Cinder: what stands in its database, what of it can move, and as what."""
