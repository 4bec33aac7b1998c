"""The log store: files dropped into a folder, at any time and in any order, become the same table, byte for byte.

`files` finds them, `blocks` and `typed` read them, `quarantine` and `facts` say what was found, `spill` and `store`
keep rows by event date, `update` does what is new, `merged` joins the result with the source, `batch` is what the gate
judges, `check` only looks.
"""
