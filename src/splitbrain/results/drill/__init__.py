"""What a drill leaves for people and for CI: the index page, junit.xml, the step summary."""
