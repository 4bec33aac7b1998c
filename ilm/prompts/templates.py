"""Prompt templates per task, in OpenP5's manner (arXiv 2306.11134): some seen in training, one kept unseen.

`{user}` must come after `{history}`: the user's vector is folded in from the whole profile, so anything before it that
learns to predict the next item of the history would otherwise read the answer.
"""

SEEN: dict[str, tuple[str, ...]] = {
    "sequential": (
        "In order: {history} Taste: {user} Next:",
        "History: {history} Profile: {user} Next item:",
        "Chosen so far: {history} by {user} Recommend:",
    ),
    "straightforward": (
        "Taste: {user} Recommend:",
        "Profile: {user} Top item:",
        "What to recommend to {user}? Answer:",
    ),
}
UNSEEN: dict[str, str] = {
    "sequential": "After choosing {history} the user {user} will like:",
    "straightforward": "The best choice for {user} is:",
}
TASKS = tuple(SEEN)
