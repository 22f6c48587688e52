"""What runs on the hosts: the standard library alone, Python 3.9 or newer, one file each."""
