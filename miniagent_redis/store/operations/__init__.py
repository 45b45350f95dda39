"""The Lua operations of ``lua/``, a typed function for each: how nouns of the store call them.

A function's parameters have the names and the order of the script's ARGV, and what it returns is
named for the status with which the script answers.
"""
