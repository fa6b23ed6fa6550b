"""Learning from a site's own cases, and measuring on them: folds, figures with their intervals, reports."""
