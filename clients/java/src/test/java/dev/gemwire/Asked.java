package dev.gemwire;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;

/** What a case says to ask: the texts and options of its "call". */
final class Asked {
  private Asked() {}

  static List<Text> texts(JsonObject call, String key) {
    JsonElement texts = call.get(key);
    if (texts.isJsonObject()) {
      int count = texts.getAsJsonObject().get("count").getAsInt();
      return IntStream.range(0, count).mapToObj(i -> Text.of("text " + i)).toList();
    }
    JsonArray array = texts.getAsJsonArray();
    List<Text> found = new ArrayList<>();
    for (int i = 0; i < array.size(); i++) {
      JsonElement text = array.get(i);
      if (call.has("titles")) {
        String title = call.getAsJsonArray("titles").get(i).getAsString();
        found.add(Text.of(text.getAsString(), title));
      } else {
        found.add(text(text));
      }
    }
    return found;
  }

  static Text text(JsonElement text) {
    if (text.isJsonObject() && text.getAsJsonObject().has("ids")) {
      return Text.ofTokens(ids(text.getAsJsonObject()));
    }
    if (text.isJsonObject() && text.getAsJsonObject().has("title")) {
      JsonObject document = text.getAsJsonObject();
      return Text.of(document.get("text").getAsString(), document.get("title").getAsString());
    }
    return Text.of(string(text));
  }

  static String string(JsonElement text) {
    if (text.isJsonObject()) {
      return "a".repeat(text.getAsJsonObject().get("bytes").getAsInt());
    }
    return text.getAsString();
  }

  static int[] ids(JsonObject holder) {
    JsonArray ids = holder.getAsJsonArray("ids");
    return IntStream.range(0, ids.size()).map(i -> (int) ids.get(i).getAsLong()).toArray();
  }

  static Options options(JsonObject call) {
    Options options = Options.DEFAULT;
    if (!call.has("options")) {
      return options;
    }
    for (var option : call.getAsJsonObject("options").entrySet()) {
      JsonElement value = option.getValue();
      options =
          switch (option.getKey()) {
            case "task" -> options.withTask(Task.valueOf(word(value)));
            case "prompt_name" -> options.withPromptName(value.getAsString());
            case "prompt" -> options.withPrompt(value.getAsString());
            case "dimensions" -> options.withDimensions(value.getAsInt());
            case "normalize" -> options.withNormalize(value.getAsBoolean());
            case "truncation" -> options.withTruncation(Truncation.valueOf(word(value)));
            case "encoding" -> options.withEncoding(Encoding.valueOf(word(value)));
            case "priority" -> options.withPriority(value.getAsInt());
            default -> throw new AssertionError("unknown option " + option.getKey());
          };
    }
    return options;
  }

  /** Returns options for one side of a similarity. */
  static Options task(JsonObject call, String key) {
    Options options = Options.DEFAULT.withDimensions(dimensions(call));
    return call.has(key) ? options.withTask(Task.valueOf(word(call.get(key)))) : options;
  }

  static int dimensions(JsonObject call) {
    return call.has("dimensions") ? call.get("dimensions").getAsInt() : 0;
  }

  private static String word(JsonElement value) {
    return value.getAsString().toUpperCase(Locale.ROOT);
  }
}
