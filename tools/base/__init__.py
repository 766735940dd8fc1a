"""The pipeline of the second base (v2), in progress: vision tower, then language.

It makes a tiny model at home in a general domain of everyday drawings, whose language has hardly
met medical pictures. The shipped base was made by `tools.pretrain`, not by this; see CHANGELOG.md.
"""
