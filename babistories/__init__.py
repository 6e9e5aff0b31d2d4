"""What two or more of the BabiStories scripts share: a story's way from prompt to clean corpus.

prompt -> completion -> shard -> clean story -> dataset. The modules, from the ground up (none imports upwards):
files, streaming, streams, manifests, shards, folders, prompts, lists; text, cutting, cuts, cleaning, adherence,
holdout, duplicates, samples, sources, judging, summary, corpus, explain; syllables, readability, diversity, overview,
charts, table, plots, picture, report; dataset, card, export, tokens, volumes, packing, unpacking; engines, plans,
queues, work, estimate, preview, cluster; cli, check.
"""
