"""D-BAT.

Pagliardini, Jaggi, Fleuret, Karimireddy: Agree to Disagree: Diversity through Disagreement for
Better Transferability, ICLR 2023.

arXiv: 2202.04414
Import: jc.dbat
Preset: dominoes
Claim: the second member does not
Notebooks: 07_disagreement
"""
