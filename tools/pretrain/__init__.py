"""How the tiny base is made: vision tower, then language.

It is at home in a general domain of everyday drawings, and its language has hardly met medical
pictures.
"""
