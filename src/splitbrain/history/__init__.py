"""What happened in a test, and how it is written down.

op: one event.  history: an immutable sequence of them, paired.  jsonl: the form that the harness
writes.  edn, porcupine: foreign forms.  formats: any of these by name, or recognised.
"""
