package gemwire_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/gemwire/gemwire/clients/go/gemwire"
)

func TestSpansArePlacesInTheText(t *testing.T) {
	all := servers(t)
	client := all.dial(t, "plain", "", nil)
	defer client.Close()
	const text = "The Größe of Mars, 日本 and 🚀"
	input, task := gemwire.Input{Text: text}, gemwire.WithTask(gemwire.RetrievalQuery)
	ids, spans, err := client.TokenSpans(t.Context(), input, task)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := client.Tokenize(t.Context(), input, task)
	if err != nil || !slices.Equal(ids, plain) || len(spans) != len(ids) {
		t.Errorf("%d spans of the ids %v, not %v: %v", len(spans), ids, plain, err)
	}
	last := gemwire.Span{}
	for _, span := range spans {
		if span == (gemwire.Span{}) {
			continue // of the prompt, or a special token
		}
		if span.Start < last.Start || span.End <= span.Start || span.End > len(text) {
			t.Errorf("the span %v comes after %v", span, last)
		}
		last = span
	}
	if last.End != len(text) || spans[0] != (gemwire.Span{}) {
		t.Errorf("spans %v", spans)
	}
	_, _, err = client.TokenSpans(t.Context(), gemwire.Input{IDs: ids})
	if !errors.Is(err, gemwire.ErrInvalidInput) {
		t.Errorf("spans of ids: %v", err)
	}
}
