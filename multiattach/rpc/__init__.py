# SPDX-License-Identifier: Apache-2.0
"""Messaging: the transport, the clients, and a driver for one process."""
