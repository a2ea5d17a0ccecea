"""Errors in a user's input, with messages for users.

Two kinds of failure are expected and never shown as a traceback: a mistake in the configuration or
in the files it names (`UserError`, which ends the rule), and a spectrum that cannot be used
(`SpectrumRejected`, with which the rule goes on: the spectrum is listed in `rejected.csv`).
"""


class UserError(Exception):
    """A mistake that the user can correct; the message is one sentence with mistake and remedy."""


MADE_ANEW = "delete it and give the same command again, which makes it anew"
"""What to do about a damaged result."""
