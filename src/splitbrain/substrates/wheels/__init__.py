"""What nodes run where splitbrain is not installed: in containers' images, and on hosts of one's own.

- ``source``  the rooms of this very splitbrain that a node needs, packed as a wheel
- ``house``   the wheels of the packages that they need, fetched once and kept
"""
