"""What has to be done now and then, by one office of all: leader.py says whose turn it is."""
