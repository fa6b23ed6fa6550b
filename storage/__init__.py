"""The shelves: what stands between the stations, and nothing of the node itself.

``spool`` holds the instances as files, ``schema`` the tables, ``arrivals``, ``jobs``, ``deliveries`` and ``audit``
the only functions that write them. A change of state and the event that tells of it are one transaction.
"""
