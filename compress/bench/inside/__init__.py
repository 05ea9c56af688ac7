"""What runs inside a subject's process: standard library, numpy and the runtime only, so that its memory is its own.

The parent calls a function of a module here by name (`"timing:block"`); it gets the `State` and plain JSON values, and
returns plain JSON values.
"""
