"""The steps that join the rooms, one file for each verb; ``cli`` only parses and prints."""
