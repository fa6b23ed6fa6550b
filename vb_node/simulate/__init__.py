"""Faulty peers for acceptance tests: a sender and a PACS that do wrong on purpose, and judge how the node takes it.

The sender speaks the protocol by itself (wire.py): what it shows about a node does not rest on the node's own code.
"""
