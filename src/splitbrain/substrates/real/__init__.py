"""What ``local``, ``docker`` and ``ssh`` share: nodes that are processes of an operating system."""
