"""Tables from elsewhere: reading, joining, matching by position and identifier."""

VERSION = 4
