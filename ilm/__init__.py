"""The Item-Language Model library: data, matrix factorisation, model, training, ranking, evaluation, serving."""
