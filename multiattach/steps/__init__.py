# SPDX-License-Identifier: Apache-2.0
"""Steps of workers and agents: what there is to do and that it was done; no policy, no caller to be checked."""
