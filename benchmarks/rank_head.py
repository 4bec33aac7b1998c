"""Ranking a whole catalogue by the retrieval head, against the language model's forward over the prompts alone."""

import torch

from benchmarks.timing import Result, interleaved
from benchmarks.untrained import histories, untrained
from ilm.rank.head import HeadRecommender


def run(
    llm: str = "smollm2-135m-instruct", items: int = 3500, users: int = 32, history: int = 20, repetitions: int = 15
) -> Result:
    """Everything from histories to scores (folding in, tokens, encoder, forward, head) / forward of ready inputs."""
    model, card, factors = untrained(llm, items, history)
    recommender = HeadRecommender(model, card, factors, batch_size=users)
    shown = histories(users, items, history)
    embeddings, mask = recommender.prompts(recommender.prompts.recommendations("sequential", shown))

    @torch.no_grad()
    def forward() -> object:
        return model.language_model.hidden_states(embeddings, mask)

    seconds = interleaved({"rank": lambda: recommender.score("sequential", shown), "forward": forward}, repetitions)
    detail = {
        "seconds": seconds, "llm": llm, "items": items, "users": users, "prompt_tokens": mask.shape[1],
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    return {"name": "rank_head", "ratio": seconds["rank"] / seconds["forward"], "goal": "<= 1.05", "detail": detail}
