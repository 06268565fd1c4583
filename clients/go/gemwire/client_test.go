package gemwire_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gemwire/gemwire/clients/go/gemwire"
)

// within fails if f takes longer.
func within(t *testing.T, longest time.Duration, f func()) {
	t.Helper()
	started := time.Now()
	f()
	if took := time.Since(started); took > longest {
		t.Errorf("it took %v", took)
	}
}

func TestCancellationWakesARetry(t *testing.T) {
	server := &local{refuse: refusal(codes.ResourceExhausted, "QUEUE_FULL", 30*time.Second)}
	client := server.serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	within(t, 3*time.Second, func() {
		_, err := client.EmbedQuery(ctx, "a")
		if !errors.Is(err, context.Canceled) || status.Code(err) != codes.Canceled || errors.Is(err, gemwire.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	})
	if server.calls.Load() != 1 {
		t.Errorf("%d calls", server.calls.Load())
	}
}

func TestCloseWakesARetry(t *testing.T) {
	client := (&local{refuse: refusal(codes.ResourceExhausted, "QUEUE_FULL", 30*time.Second)}).serve(t)
	time.AfterFunc(100*time.Millisecond, func() { client.Close() })
	within(t, 3*time.Second, func() {
		_, err := client.EmbedQuery(t.Context(), "a")
		if status.Code(err) != codes.Canceled || errors.Is(err, gemwire.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	})
	if _, err := client.EmbedQuery(t.Context(), "a"); status.Code(err) != codes.Canceled {
		t.Errorf("after Close: %v", err)
	}
	for range 20 { // too little time for a second try
		_, err := client.EmbedQuery(t.Context(), "a", gemwire.WithTimeout(50*time.Millisecond))
		if status.Code(err) != codes.Canceled || errors.Is(err, gemwire.ErrUnavailable) {
			t.Fatalf("after Close: %v", err)
		}
	}
	for _, err := range client.EmbedStream(t.Context(), slices.Values(gemwire.Inputs("a"))) {
		if status.Code(err) != codes.Canceled {
			t.Errorf("a stream after Close: %v", err)
		}
	}
}

func TestAnAnswerWithoutAModelIsAnError(t *testing.T) {
	client := (&local{modelless: true}).serve(t)
	if model, err := client.Model(t.Context()); model != nil || status.Code(err) != codes.Unknown {
		t.Errorf("%v, %v", model, err)
	}
}

func TestANegativeTimeoutHasPassed(t *testing.T) {
	client := (&local{}).serve(t, gemwire.WithTimeout(-time.Second))
	if _, err := client.EmbedQuery(t.Context(), "a"); !errors.Is(err, gemwire.ErrDeadlineExceeded) {
		t.Errorf("a query: %v", err)
	}
	if _, err := client.Model(t.Context()); !errors.Is(err, gemwire.ErrDeadlineExceeded) {
		t.Errorf("the model: %v", err)
	}
	for _, err := range client.EmbedStream(t.Context(), slices.Values(gemwire.Inputs("a"))) {
		if !errors.Is(err, gemwire.ErrDeadlineExceeded) {
			t.Errorf("a stream: %v", err)
		}
	}
}

func TestTheDeadlineOfTheContextCounts(t *testing.T) {
	client := (&local{refuse: refusal(codes.ResourceExhausted, "QUEUE_FULL", 5*time.Second)}).serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	within(t, 900*time.Millisecond, func() { // the pause would end after it
		if _, err := client.EmbedQuery(ctx, "a"); !errors.Is(err, gemwire.ErrOverloaded) {
			t.Errorf("%v", err)
		}
	})
	ctx, cancel = context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	_, err := client.EmbedQuery(ctx, "a")
	if !errors.Is(err, gemwire.ErrDeadlineExceeded) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestTheTimeoutOfACallCounts(t *testing.T) {
	client := (&local{refuse: refusal(codes.ResourceExhausted, "QUEUE_FULL", 5*time.Second)}).serve(t)
	within(t, 900*time.Millisecond, func() {
		_, err := client.EmbedQuery(t.Context(), "a", gemwire.WithTimeout(time.Second))
		if !errors.Is(err, gemwire.ErrOverloaded) {
			t.Errorf("%v", err)
		}
	})
}

func TestAServerThatComesBackIsReached(t *testing.T) {
	server := &local{}
	client := server.serve(t)
	if _, err := client.EmbedQuery(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	server.grpc.Stop()
	time.AfterFunc(4*time.Second, func() { server.start(t, server.address) }) // more than five tries last
	within(t, 12*time.Second, func() {
		if _, err := client.EmbedQuery(t.Context(), "a"); err != nil {
			t.Error(err)
		}
	})
}

func TestGoroutinesShareAClient(t *testing.T) {
	server := &local{}
	client := server.serve(t)
	var group sync.WaitGroup
	for worker := range 16 {
		texts := make([]string, 30)
		for i := range texts {
			texts[i] = fmt.Sprintf("worker %d, text %d", worker, i)
		}
		group.Go(func() {
			one, err := client.EmbedQuery(t.Context(), texts[0])
			if err != nil || one[0] != hash(texts[0]) {
				t.Errorf("a query: %v, %v", one, err)
			}
			many, err := client.EmbedDocuments(t.Context(), gemwire.Inputs(texts...))
			for i, got := range many {
				if got[0] != hash(texts[i]) {
					t.Errorf("document %d: %v", i, got)
				}
			}
			if err != nil || len(many) != len(texts) {
				t.Errorf("%d documents, %v", len(many), err)
			}
			count := 0
			for result, err := range client.EmbedStream(t.Context(), slices.Values(gemwire.Inputs(texts...))) {
				if err != nil || result.Index != count || result.Vector.Float32[0] != hash(texts[count]) {
					t.Errorf("result %d: %v, %v", count, result, err)
				}
				count++
			}
			if count != len(texts) {
				t.Errorf("%d results", count)
			}
		})
	}
	group.Wait()
	if server.models.Load() != 1 {
		t.Errorf("GetModel was called %d times", server.models.Load())
	}
}

func TestWhatCannotBeSentIsRefusedHere(t *testing.T) {
	client := (&local{}).serve(t)
	one := gemwire.Inputs("a")
	calls := map[string]func(...gemwire.Option) error{
		"query": func(o ...gemwire.Option) error { _, err := client.EmbedQuery(t.Context(), "a", o...); return err },
		"embed": func(o ...gemwire.Option) error { _, err := client.Embed(t.Context(), one, o...); return err },
		"similarity": func(o ...gemwire.Option) error {
			_, err := client.Similarity(t.Context(), one[0], one, o...)
			return err
		},
		"stream": func(o ...gemwire.Option) (err error) {
			for _, err = range client.EmbedStream(t.Context(), slices.Values(one), o...) {
			}
			return err
		},
	}
	twice := []gemwire.Option{gemwire.WithTask(gemwire.Clustering), gemwire.WithPrompt("p")}
	for name, opts := range map[string][]gemwire.Option{
		"query":      {gemwire.WithTask(gemwire.Clustering)},
		"embed":      {gemwire.WithUnordered()},
		"similarity": {gemwire.WithUnordered()},
		"stream":     {gemwire.WithTargetTask(gemwire.Clustering)},
	} {
		for _, opts := range [][]gemwire.Option{twice, opts} {
			if err := calls[name](opts...); !errors.Is(err, gemwire.ErrInvalidInput) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, opt := range []gemwire.Option{gemwire.WithPrompt("a\xff"), gemwire.WithPromptName("\xff")} {
		for _, name := range []string{"embed", "similarity", "stream"} {
			if err := calls[name](opt); !errors.Is(err, gemwire.ErrInvalidInput) {
				t.Errorf("%s with a prompt that is not UTF-8: %v", name, err)
			}
		}
	}
	if err := calls["query"](gemwire.WithEncoding(gemwire.Int8Fixed)); !errors.Is(err, gemwire.ErrInvalidInput) {
		t.Errorf("bytes of a query: %v", err)
	}
	for _, input := range []gemwire.Input{{Text: "a\xff"}, {Text: "a", Title: "\xff"}, {Text: "a", IDs: []uint32{1}}} {
		_, err := client.Embed(t.Context(), []gemwire.Input{one[0], input})
		var e *gemwire.Error
		if !errors.As(err, &e) || e.Index != 1 || !errors.Is(err, gemwire.ErrInvalidInput) {
			t.Errorf("%q: %v", input, err)
		}
	}
	if vectors, err := client.Embed(t.Context(), nil); len(vectors) != 0 || err != nil {
		t.Errorf("no texts: %v, %v", vectors, err)
	}
}

func TestDialRefusesWhatItCannotUse(t *testing.T) {
	for name, opt := range map[string]gemwire.DialOption{
		"a token with a line's end": gemwire.WithToken("a\n"),
		"no file":                   gemwire.WithCAFile("none"),
		"a file without PEM":        gemwire.WithCAFile("client.go"),
		"no certificate":            gemwire.WithClientCertificate("none", "none"),
	} {
		if _, err := gemwire.Dial("127.0.0.1:1", opt); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
