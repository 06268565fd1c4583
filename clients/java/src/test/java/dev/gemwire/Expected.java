package dev.gemwire;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;

/** What a case says that the caller gets: its "expect". */
final class Expected {
  private final JsonObject said;
  private final Servers servers;

  Expected(JsonObject said, Servers servers) {
    this.said = said;
    this.servers = servers;
  }

  /** Makes the call, and throws an AssertionError unless it gives what is expected. */
  void check(GemwireClient client, JsonObject call) {
    if (call.get("method").getAsString().equals("embed_stream")) {
      checkStream(client, call);
    } else if (said.has("error")) {
      GemwireException error = assertThrows(GemwireException.class, () -> answer(client, call));
      checkError(said.getAsJsonObject("error"), error);
    } else {
      checkAnswer(answer(client, call));
    }
  }

  private static Object answer(GemwireClient client, JsonObject call) {
    return switch (call.get("method").getAsString()) {
      case "embed_query" ->
          List.of(client.embedQuery(Asked.string(call.get("text")), Asked.dimensions(call)));
      case "embed_documents" ->
          client.embedDocuments(Asked.texts(call, "texts"), Asked.dimensions(call));
      case "embed" ->
          client.embed(Asked.texts(call, "texts"), Asked.options(call)).stream()
              .map(Expected::numbers)
              .toList();
      case "similarity" ->
          client.similarity(
              Asked.text(call.get("source")),
              Asked.texts(call, "targets"),
              Asked.task(call, "task"),
              call.has("target_task") ? Asked.task(call, "target_task") : null);
      case "tokenize" -> client.tokenize(Asked.text(call.get("text")), Asked.options(call));
      case "detokenize" ->
          client.detokenize(
              Asked.ids(call),
              call.has("keep_special_tokens") && call.get("keep_special_tokens").getAsBoolean());
      case "model" -> client.model();
      default -> throw new AssertionError("unknown method " + call.get("method"));
    };
  }

  private void checkAnswer(Object answer) {
    JsonElement reference =
        said.has("reference") ? servers.reference(said.get("reference").getAsString()) : null;
    if (said.has("lengths")) {
      List<?> vectors = (List<?>) answer;
      assertEquals(said.getAsJsonArray("lengths").size(), vectors.size());
      for (int i = 0; i < vectors.size(); i++) {
        int length = said.getAsJsonArray("lengths").get(i).getAsInt();
        assertEquals(length, ((float[]) vectors.get(i)).length);
      }
    } else if (answer instanceof List<?> vectors) {
      JsonArray all =
          reference == null ? said.getAsJsonArray("vectors") : reference.getAsJsonArray();
      assertEquals(all.size(), vectors.size());
      for (int i = 0; i < all.size(); i++) {
        assertArrayEquals(floats(all.get(i)), (float[]) vectors.get(i), "vector " + i);
      }
    } else if (answer instanceof float[] scores) {
      assertArrayEquals(floats(reference == null ? said.get("scores") : reference), scores);
    } else if (answer instanceof int[] ids) {
      JsonArray all = reference == null ? said.getAsJsonArray("ids") : reference.getAsJsonArray();
      assertArrayEquals(
          IntStream.range(0, all.size()).map(i -> all.get(i).getAsInt()).toArray(), ids);
    } else if (answer instanceof String text) {
      assertEquals((reference == null ? said.get("text") : reference).getAsString(), text);
    } else {
      checkModel(said.getAsJsonObject("model"), (Model) answer);
    }
  }

  private void checkStream(GemwireClient client, JsonObject call) {
    List<Text> texts = Asked.texts(call, "texts");
    boolean ordered = !call.has("ordered") || call.get("ordered").getAsBoolean();
    int stop = call.has("stop_after") ? call.get("stop_after").getAsInt() : Integer.MAX_VALUE;
    List<StreamResult> results = new ArrayList<>();
    Ahead source = new Ahead(texts.iterator());
    GemwireException error = null;
    try (EmbedStream stream = client.embedStream(source, Asked.options(call), ordered)) {
      while (results.size() < stop && stream.hasNext()) {
        results.add(stream.next());
        source.handedOut++;
      }
    } catch (GemwireException e) {
      error = e;
    }
    if (said.has("error")) {
      assertTrue(error != null, "the stream did not fail");
      checkError(said.getAsJsonObject("error"), error);
    } else if (error != null) {
      throw error;
    }
    if (said.has("read_ahead")) {
      int most = said.get("read_ahead").getAsInt();
      assertTrue(source.most <= most, "read ahead: " + source.most);
    }
    if (said.has("results")) {
      checkResults(said.getAsJsonArray("results"), results);
    } else if (said.has("reference")) {
      for (int i = 0; i < results.size(); i++) {
        assertEquals(i, results.get(i).index());
      }
      checkAnswer(results.stream().map(result -> numbers(result.vector())).toList());
    } else {
      Map<Long, float[]> vectors = new TreeMap<>();
      for (StreamResult result : results) {
        assertTrue(!ordered || result.index() == vectors.size(), "order");
        vectors.put(result.index(), result.vector().floats());
      }
      assertEquals(said.get("count").getAsInt(), results.size());
      assertEquals(results.size(), vectors.size());
      vectors.forEach((i, vector) -> assertArrayEquals(new float[] {i, 1}, vector));
    }
  }

  private static void checkResults(JsonArray all, List<StreamResult> results) {
    assertEquals(all.size(), results.size());
    for (int i = 0; i < all.size(); i++) {
      JsonObject one = all.get(i).getAsJsonObject();
      StreamResult result = results.get(i);
      assertEquals(one.get("index").getAsLong(), result.index());
      if (one.has("error")) {
        checkError(one.getAsJsonObject("error"), result.error().orElseThrow());
      } else {
        assertArrayEquals(floats(one.get("vector")), numbers(result.vector()));
      }
    }
  }

  private static void checkError(JsonObject said, GemwireException error) {
    for (var one : said.entrySet()) {
      JsonElement value = one.getValue();
      switch (one.getKey()) {
        case "type" ->
            assertEquals(value.getAsString() + "Exception", error.getClass().getSimpleName());
        case "code" -> assertEquals(value.getAsString(), error.code().name());
        case "message" -> assertEquals(value.getAsString(), error.getMessage());
        case "reason" -> assertEquals(value.getAsString(), error.reason());
        case "metadata" -> assertEquals(strings(value), error.metadata());
        case "fields" -> assertEquals(strings(value), error.fields());
        case "retry_after" ->
            assertEquals(
                value.isJsonNull() ? null : value.getAsDouble(),
                error.retryAfter().map(delay -> delay.toNanos() / 1e9).orElse(null));
        case "index" ->
            assertEquals(value.isJsonNull() ? -1 : value.getAsLong(), error.index().orElse(-1));
        case "errors" ->
            assertEquals(
                value.getAsJsonArray().asList().stream().map(JsonElement::getAsLong).toList(),
                List.copyOf(error.errors().keySet()));
        default -> throw new AssertionError("unknown property " + one.getKey());
      }
    }
  }

  private static Map<String, String> strings(JsonElement object) {
    Map<String, String> found = new TreeMap<>();
    object
        .getAsJsonObject()
        .entrySet()
        .forEach(e -> found.put(e.getKey(), e.getValue().getAsString()));
    return found;
  }

  private static void checkModel(JsonObject said, Model model) {
    JsonObject found = new JsonObject();
    for (Object holder : new Object[] {model, model.limits()}) {
      for (var component : holder.getClass().getRecordComponents()) {
        String name =
            component.getName().replaceAll("([A-Z])", "_$1").toLowerCase(java.util.Locale.ROOT);
        try {
          found.add(name, json(component.getAccessor().invoke(holder)));
        } catch (ReflectiveOperationException e) {
          throw new AssertionError(e);
        }
      }
    }
    said.entrySet().forEach(e -> assertEquals(e.getValue(), found.get(e.getKey()), e.getKey()));
  }

  private static JsonElement json(Object value) {
    if (value instanceof List<?> list) {
      JsonArray array = new JsonArray();
      list.forEach(one -> array.add(json(one)));
      return array;
    }
    if (value instanceof Map<?, ?> map) {
      JsonObject object = new JsonObject();
      map.forEach((key, one) -> object.add(key.toString(), json(one)));
      return object;
    }
    return value instanceof Number number
        ? new JsonPrimitive(number)
        : new JsonPrimitive(value.toString());
  }

  /** Returns the numbers of a vector, whose bytes are signed or not by the encoding. */
  private static float[] numbers(Vector vector) {
    boolean unsigned =
        vector.encoding() == Encoding.UBINARY || vector.encoding() == Encoding.UBINARY_LSB;
    if (!unsigned
        && vector.encoding() != Encoding.BINARY
        && vector.encoding() != Encoding.INT8_FIXED) {
      return vector.floats();
    }
    byte[] bytes = vector.bytes();
    float[] numbers = new float[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      numbers[i] = unsigned ? Byte.toUnsignedInt(bytes[i]) : bytes[i];
    }
    return numbers;
  }

  private static float[] floats(JsonElement numbers) {
    JsonArray array = numbers.getAsJsonArray();
    float[] floats = new float[array.size()];
    for (int i = 0; i < floats.length; i++) {
      floats[i] = array.get(i).getAsFloat();
    }
    return floats;
  }

  /** A source that counts how many texts were taken and not yet handed out. */
  private static final class Ahead implements Iterator<Text> {
    private final Iterator<Text> texts;
    private int taken;
    private int handedOut;
    private int most;

    private Ahead(Iterator<Text> texts) {
      this.texts = texts;
    }

    @Override
    public boolean hasNext() {
      return texts.hasNext();
    }

    @Override
    public Text next() {
      taken++;
      most = Math.max(most, taken - handedOut);
      return texts.next();
    }
  }
}
