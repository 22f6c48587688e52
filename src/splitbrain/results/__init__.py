"""What a run leaves for people: its directory, the verdict as a sentence, and one offline report.

Everything here reads; nothing here judges.  A verdict comes from the checkers and passes through
this room unchanged: a picture that cannot be drawn is told in its place and costs nothing else.
"""
