"""Cross-lingual sentences.

Mao, Gupta, Wang, Chu, Jaggi, Kurohashi: Lightweight Cross-Lingual Sentence Representation Learning,
ACL 2021.

arXiv: 2105.13856
Import: jc.text.dual_encoder, jc.objectives.crosslingual
Preset: tatoeba
Notebooks: 09_sentences
"""
