#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# plugin.sh MODE [PHASE]: devstack's dispatcher for multiattach; sourced by stack.sh, unstack.sh and clean.sh.

_XTRACE_MULTIATTACH_PLUGIN=$(set +o | grep xtrace)
set +o xtrace

# shellcheck source=devstack/lib/multiattach
source "$MULTIATTACH_DIR/devstack/lib/multiattach"

case "$1 $2" in
    "stack pre-install")
        check_multiattach
        ;;
    "stack install")
        echo_summary "Installing multiattach"
        install_multiattach
        ;;
    "stack post-config")
        echo_summary "Configuring multiattach"
        configure_multiattach
        create_multiattach_accounts
        init_multiattach
        ;;
    "stack extra")
        echo_summary "Starting multiattach"
        start_multiattach
        create_multiattach_volume_type
        ;;
    "stack test-config")
        if is_service_enabled tempest; then
            echo_summary "Configuring Tempest for multiattach"
            configure_tempest_for_multiattach
        fi
        ;;
    "unstack ")
        stop_multiattach
        ;;
    "clean ")
        stop_multiattach
        cleanup_multiattach
        ;;
esac

$_XTRACE_MULTIATTACH_PLUGIN
