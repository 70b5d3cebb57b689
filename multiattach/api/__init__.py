# SPDX-License-Identifier: Apache-2.0
"""HTTP: routes, schemas, microversions, views and the one renderer of errors."""
