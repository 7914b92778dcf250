"""X2Static.

Gupta, Jaggi: Obtaining Better Static Word Embeddings Using Contextual Embedding Models, ACL 2021.

arXiv: 2106.04302
Import: jc.text, jc.objectives.x2static_loss
Preset: imdb
Notebooks: 08_words
"""
