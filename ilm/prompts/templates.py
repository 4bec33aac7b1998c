"""Recommendation prompts in OpenP5's manner (arXiv 2306.11134; prompt.txt of the project, Apache-2.0): ten seen in
training, one kept unseen, per task. The wordings are adapted: no dataset names and user numbers, and few words, because
on a CPU every token costs time (docs/decisions/tasks.md).

`{user}` must come after `{history}`: the user's vector is folded in from the whole profile, so anything before it that
learns to predict the next item of the history would otherwise read the answer.
"""

SEEN: dict[str, tuple[str, ...]] = {
    "sequential": (
        "History: {history} Profile: {user} Next item:",
        "In order: {history} Taste: {user} Next:",
        "Chosen so far: {history} by {user} Recommend:",
        "Considering {history} what is next for {user}?",
        "After {history} what will {user} choose?",
        "Had: {history} chosen by {user} Predict the next:",
        "Choices: {history} What else for {user}?",
        "Given {history} recommend to {user} now:",
        "By {history} what does {user} expect next?",
        "Past items: {history} User: {user} Suggest:",
    ),
    "straightforward": (
        "Profile: {user} Top item:",
        "Taste: {user} Recommend:",
        "What to recommend to {user}?",
        "Any suggestion for {user}?",
        "What would suit {user}?",
        "Can you help {user} choose?",
        "For {user} recommend:",
        "Which item would {user} like?",
        "User: {user} Suggest:",
        "What should {user} try?",
    ),
}
UNSEEN: dict[str, str] = {
    "sequential": "What is the top item for {history} and {user}?",
    "straightforward": "The best choice for {user} is:",
}
FIRST: dict[str, str] = {task: wordings[0] for task, wordings in SEEN.items()}
"""What a ranking asks by unless it is told otherwise: the first of the seen ones."""
TASKS = tuple(SEEN)
