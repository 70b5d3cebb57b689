# SPDX-License-Identifier: Apache-2.0
"""The tgt iSCSI target driver."""
