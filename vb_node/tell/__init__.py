"""Telling others: the audit trail to the site's repository, alerts to those on duty."""
