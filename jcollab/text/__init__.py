"""Text: frozen teachers, vocabularies, contexts, word vectors and how they are judged."""

from jcollab.text.synthetic import random_teacher
from jcollab.text.teacher import Pieces, Teacher, load_teacher, make_teacher

__all__ = ["Pieces", "Teacher", "load_teacher", "make_teacher", "random_teacher"]
