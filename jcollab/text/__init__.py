"""Text: frozen teachers, vocabularies, contexts, word vectors and their evaluation."""

from jcollab.text import corpora, retrieval
from jcollab.text.baselines import aggregate, aggregated, decontextualized
from jcollab.text.batches import (
    Corpus,
    TextData,
    bag_batches,
    client_texts,
    index_corpus,
    schedule,
    sentences_per_batch,
    x2static_batches,
)
from jcollab.text.contexts import (
    Occurrences,
    occurrences,
    paragraph_contexts,
    sentence_contexts,
)
from jcollab.text.evaluation import (
    Analogies,
    Similarity,
    classify_sentences,
    read_analogies,
    read_pairs,
    word_analogies,
    word_similarity,
)
from jcollab.text.pair_training import dual_encoder, pair_loss, released_optimizer
from jcollab.text.pairs import Pairs
from jcollab.text.reader import paragraphs, read_lines, split_sentences, tokenize
from jcollab.text.sentences import SentenceEncoder
from jcollab.text.subwords import Subwords, train_subwords
from jcollab.text.synthetic import random_teacher
from jcollab.text.teacher import Pieces, Teacher, load_teacher, make_teacher
from jcollab.text.translations import (
    PieceData,
    epochs,
    in_order,
    neighbor_epoch,
    piece_data,
)
from jcollab.text.vectors import WordVectors, load_safetensors, load_word2vec
from jcollab.text.vocabulary import (
    Alias,
    Vocabulary,
    alias,
    build_vocabulary,
    draw,
    drop_probability,
    negative_shares,
)

__all__ = [
    "Alias",
    "Analogies",
    "Corpus",
    "Occurrences",
    "Pairs",
    "PieceData",
    "Pieces",
    "SentenceEncoder",
    "Similarity",
    "Subwords",
    "Teacher",
    "TextData",
    "Vocabulary",
    "WordVectors",
    "aggregate",
    "aggregated",
    "alias",
    "bag_batches",
    "build_vocabulary",
    "classify_sentences",
    "client_texts",
    "corpora",
    "decontextualized",
    "draw",
    "drop_probability",
    "dual_encoder",
    "epochs",
    "in_order",
    "index_corpus",
    "load_safetensors",
    "load_teacher",
    "load_word2vec",
    "make_teacher",
    "negative_shares",
    "neighbor_epoch",
    "occurrences",
    "pair_loss",
    "paragraph_contexts",
    "paragraphs",
    "piece_data",
    "random_teacher",
    "read_analogies",
    "read_lines",
    "read_pairs",
    "released_optimizer",
    "retrieval",
    "schedule",
    "sentence_contexts",
    "sentences_per_batch",
    "split_sentences",
    "tokenize",
    "train_subwords",
    "word_analogies",
    "word_similarity",
    "x2static_batches",
]
