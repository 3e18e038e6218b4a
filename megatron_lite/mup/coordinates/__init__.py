"""The coordinate check: does the size of what a decoder computes depend on its width, and should it?"""
