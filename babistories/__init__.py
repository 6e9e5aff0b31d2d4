"""What two or more of the BabiStories scripts share: a story's way from prompt to clean corpus.

prompt -> completion -> shard -> clean story -> dataset. The modules, from the ground up (none imports upwards):
streams, shards, check, prompts, lists, cleaning, adherence, duplicates, corpus, diversity, report, engines, work, cli.
"""
