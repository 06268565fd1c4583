package dev.gemwire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gemwire.v1.EmbedOptions;
import dev.gemwire.v1.TaskType;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;

class InputTest {
  @Test
  void aLoneSurrogateIsRefusedAndNotReplaced() {
    String lone = "Mars \ud83d";
    assertThrows(IllegalArgumentException.class, () -> Text.of(lone));
    assertThrows(IllegalArgumentException.class, () -> Text.of("Mars", lone));
    assertThrows(IllegalArgumentException.class, () -> Options.DEFAULT.withPrompt(lone));
    assertEquals("Mars \ud83d\ude80", Text.of("Mars \ud83d\ude80").message().getText());
  }

  @Test
  void aPromptReplacesAnother() {
    EmbedOptions message =
        Options.DEFAULT.withTask(Task.CLUSTERING).withPromptName("query").message();
    assertEquals(EmbedOptions.PromptCase.PROMPT_NAME, message.getPromptCase());
    assertEquals(
        TaskType.TASK_TYPE_CLUSTERING,
        Options.DEFAULT.withPrompt("a").withTask(Task.CLUSTERING).message().getTask());
  }

  @Test
  void optionsDoNotChange() {
    Options.DEFAULT.withDimensions(128).withNormalize(false);
    assertEquals(EmbedOptions.getDefaultInstance(), Options.DEFAULT.message());
  }

  @Test
  void everyNameIsOneOfTheApi() {
    for (Task task : Task.values()) {
      assertFalse(task.message().getNumber() == 0);
    }
    for (Truncation truncation : Truncation.values()) {
      assertFalse(truncation.message().getNumber() == 0);
    }
    for (Encoding encoding : Encoding.values()) {
      assertFalse(encoding.message().getNumber() == 0);
    }
  }

  @Test
  void settingsThatMakeNoSenseAreRefused() {
    GemwireClientBuilder builder = GemwireClient.builder("localhost:1");
    for (String token : List.of("", " a", "a ", "a\nb", "größer")) {
      assertThrows(IllegalArgumentException.class, () -> builder.token(token));
    }
    assertThrows(IllegalArgumentException.class, () -> builder.timeout(Duration.ZERO));
  }
}
