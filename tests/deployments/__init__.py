# SPDX-License-Identifier: Apache-2.0
"""The deployments that tests run against. Take the first that has what the test is about.

==================  ============================================================================================
``embedded``        A control plane in the test's own process, on the null target; the fixture ``deployed``.
                    For use cases, the API, workers and agents: most tests. ``--database`` and ``--broker``
                    (``surroundings``) choose what it keeps rows in and sends messages with.
``standalone``      ``multiattach-standalone`` as a process, on a real tgtd. For a program's start, life and end
                    and for clients over HTTP.
``web_servers``     The API under uWSGI or gunicorn with the samples of ``etc/``, MariaDB, RabbitMQ, one worker.
                    For what a WSGI server does.
``distributed``     MariaDB, RabbitMQ, Redis, two APIs, two workers of one cluster, a tgtd. For more than one
                    process of a kind, and for what happens if one of them, or a server, is gone.
``failpoints``      ``distributed`` with a host agent, its libvirtd and a guest; each program can be had to die
                    at a failpoint. For crashes between two steps.
``two_hosts``       ``distributed`` in a network of its own, with two compute hosts as virtual machines: the
                    kernel's initiator, LVM, guests that read and write. For the data path; slow.
==================  ============================================================================================

``programs`` starts and ends programs of this checkout for all of them; ``nursery`` runs those that end by themselves,
many times, without the time that it takes to import them; ``noauth`` has what a client says.

Where the way to a deployment is what is tested, it is made there: ``tests/devstack``, ``tests/guides``, ``tests/nova``
and ``tests/nova_api``; ``tests/benchmarks/parts.py`` has one whose size can be chosen. Servers, networks and machines
are those of ``tests/testbed``.
"""
