package dev.gemwire;

import io.grpc.Status;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;

/** The answers to the texts of one call, which may take several requests. */
final class Answers<T> {
  private final List<T> values;
  private final SortedMap<Long, GemwireException> errors = new TreeMap<>();
  private String revision;

  /** Has room for the answers to so many texts. */
  Answers(int texts) {
    values = new ArrayList<>(Collections.nCopies(texts, null));
  }

  /** Checks that a response to a slice can belong to it and to those before. */
  void check(Splitter.Slice slice, int results, String modelRevision) {
    if (revision != null && !revision.equals(modelRevision)) {
      throw modelChanged();
    }
    revision = modelRevision;
    if (results != slice.size()) {
      throw unreadable(results + " answers to " + slice.size() + " texts");
    }
  }

  void put(int index, T value) {
    values.set(index, value);
  }

  void fail(int index, com.google.rpc.Status status) {
    errors.put((long) index, Failure.of(status).exception(index));
  }

  /** Returns all answers in order. Throws the first text's error if texts failed. */
  List<T> get() {
    if (!errors.isEmpty()) {
      throw errors.get(errors.firstKey()).failure().exception(errors.firstKey(), errors);
    }
    return Collections.unmodifiableList(values);
  }

  /** Returns the error of an answer that makes no sense. */
  static GemwireException unreadable(String message) {
    return Failure.of(Status.Code.UNKNOWN, "", message).exception(null);
  }

  /** Returns the error where one result would hold vectors of two revisions. */
  static GemwireException modelChanged() {
    return Failure.of(
            Status.Code.FAILED_PRECONDITION,
            "MODEL_CHANGED",
            "another server answered with another revision of the model: its vectors do not compare"
                + " with those before")
        .exception(null);
  }
}
