package dev.gemwire;

import dev.gemwire.v1.TaskType;

/** What a vector is for. It picks the prompt of the model card. */
public enum Task {
  /** A search query. */
  RETRIEVAL_QUERY,
  /** A document to search in; the only task that takes a title. */
  RETRIEVAL_DOCUMENT,
  /** A question that a document answers. */
  QUESTION_ANSWERING,
  /** A claim that a document supports or refutes. */
  FACT_VERIFICATION,
  /** A text that gets a label. */
  CLASSIFICATION,
  /** A text that is grouped with texts like it. */
  CLUSTERING,
  /** A text that is compared with another one; not for search. */
  SEMANTIC_SIMILARITY,
  /** A query that code answers; the code is a {@link #RETRIEVAL_DOCUMENT}. */
  CODE_RETRIEVAL_QUERY;

  TaskType message() {
    return TaskType.valueOf("TASK_TYPE_" + name());
  }
}
