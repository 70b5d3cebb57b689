# SPDX-License-Identifier: Apache-2.0
"""Programs: only here and in ``wsgi`` are the parts put together."""

import warnings

# oslo.messaging imports eventlet though nothing runs on it here; people need not read about that.
warnings.filterwarnings('ignore', message=r'\s*Eventlet is deprecated')
