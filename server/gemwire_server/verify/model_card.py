"""The example of EmbeddingGemma's model card."""

from gemwire_server.checkpoints import Checkpoint
from gemwire_server.text.tokenizer import Tokenizer
from gemwire_server.verify.embedding import Runs, Vectors, embed

# The row is what the card prints for the published weights.
CARD_MODEL = "google/embeddinggemma-300m"
CARD_QUERY = "Which planet is known as the Red Planet?"
CARD_DOCUMENTS = (
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
)
CARD_ROW = (0.3011, 0.6359, 0.4930, 0.4889)
CARD_TOLERANCE = 0.01


def card_row(runner: Runs, checkpoint: Checkpoint, tokenizer: Tokenizer) -> Vectors:
    """Similarities of the card's documents with its query; fp32 [4]."""
    prompts = checkpoint.prompts
    query = tokenizer.encode(CARD_QUERY, prompt=prompts.for_task("retrieval_query"))
    documents = [
        tokenizer.encode(text, prompt=prompts.for_task("retrieval_document"))
        for text in CARD_DOCUMENTS
    ]
    vectors = embed(runner, [query.ids, *(document.ids for document in documents)])
    row: Vectors = vectors[1:] @ vectors[0]
    return row
