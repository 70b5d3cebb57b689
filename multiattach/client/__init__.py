# SPDX-License-Identifier: Apache-2.0
"""A client of this service's own API, on openstacksdk."""
