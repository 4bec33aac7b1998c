"""Systems against each other: trained with several seeds on the same features, ranked by the same protocol, kept."""
