"""What happened in a test, and how it is written down.

op: one event.  history: an immutable sequence of them, paired.  jsonl: the form that the harness
writes.  edn and edn_*: Jepsen's form, read and written.  porcupine: other foreign forms.  formats:
any of these by name, or recognised.
"""
