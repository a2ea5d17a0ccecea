"""What can go wrong with a user's input, in words.

Two kinds of failure are expected and never shown as a traceback: a mistake in the
configuration or in the files it names (`UserError`, which ends the rule), and a spectrum that
cannot be used (`SpectrumRejected`, which ends nothing: the spectrum goes to `rejected.csv`).
"""


class UserError(Exception):
    """A mistake that the user can mend; the message is one sentence naming it and the remedy."""
