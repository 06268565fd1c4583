package gemwire_test

import (
	"context"
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gemwire/gemwire/clients/go/gemwire"
)

// TestConformance plays all cases of clients/conformance/cases. At the end no goroutine and no connection is left.
func TestConformance(t *testing.T) {
	all := servers(t)
	before := goleak.IgnoreCurrent()
	t.Run("cases", func(t *testing.T) {
		for _, c := range all.cases(t) {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				all.play(t, c)
			})
		}
	})
	t.Run("connections", func(t *testing.T) { all.verdict(t, "connections") })
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

var runs atomic.Int64

// run gives the name of a new run of a case.
func run(name string) string {
	return name + "." + strconv.FormatInt(time.Now().UnixNano(), 36) + strconv.FormatInt(runs.Add(1), 36)
}

func (c conformance) play(t *testing.T, tc testCase) {
	name, token := tc.Server, tc.Token
	if name == "" {
		name, token = "scripted", run(tc.Name)
	}
	client := c.dial(t, name, token, tc.Timeout)
	var group sync.WaitGroup
	outcomes := make([]outcome, max(1, tc.Call.Calls))
	for i := range outcomes {
		group.Go(func() { outcomes[i] = tc.Call.make(t, client) })
	}
	group.Wait()
	if name == "scripted" {
		defer c.verdict(t, token)
	}
	defer client.Close()
	for _, got := range outcomes {
		if tc.Call.Ordered != nil && !*tc.Call.Ordered && tc.Expect.Count != nil {
			slices.SortFunc(got.results, func(a, b gemwire.Result) int { return a.Index - b.Index })
		}
		tc.Expect.check(t, got, c.Reference)
	}
}

// verdict asks the scripted server whether it saw something that was not in the script.
func (c conformance) verdict(t *testing.T, token string) {
	t.Helper()
	client := c.dial(t, "scripted", "verdict."+token, json.RawMessage("60"))
	defer client.Close()
	if _, err := client.Model(context.Background()); err != nil {
		t.Errorf("the server's verdict: %v", err)
	}
}

// make makes the call.
func (c callSpec) make(t *testing.T, client *gemwire.Client) (got outcome) {
	ctx := context.Background()
	opts := c.options(t)
	switch c.Method {
	case "embed_query":
		var vector []float32
		vector, got.err = client.EmbedQuery(ctx, c.Text.Text, opts...)
		got.vectors = [][]float64{numbers(gemwire.Vector{Float32: vector})}
	case "embed_documents":
		documents := slices.Clone(c.Texts)
		for i, title := range c.Titles {
			documents[i].Title = title
		}
		var vectors [][]float32
		vectors, got.err = client.EmbedDocuments(ctx, documents, opts...)
		for _, vector := range vectors {
			got.vectors = append(got.vectors, numbers(gemwire.Vector{Float32: vector}))
		}
	case "embed":
		var vectors []gemwire.Vector
		vectors, got.err = client.Embed(ctx, c.Texts, opts...)
		for _, vector := range vectors {
			got.vectors = append(got.vectors, numbers(vector))
		}
	case "similarity":
		var scores []float32
		scores, got.err = client.Similarity(ctx, gemwire.Input(c.Source), c.Targets, opts...)
		got.scores = numbers(gemwire.Vector{Float32: scores})
	case "tokenize":
		got.ids, got.err = client.Tokenize(ctx, gemwire.Input(c.Text), opts...)
	case "detokenize":
		var text string
		text, got.err = client.Detokenize(ctx, c.IDs, c.KeepSpecialTokens)
		got.text = &text
	case "model":
		got.model, got.err = client.Model(ctx)
	case "embed_stream":
		c.stream(ctx, client, &got, opts)
	default:
		t.Errorf("no method %q", c.Method)
	}
	return got
}

// stream makes the call embed_stream, and sees how many texts were taken and not handed out.
func (c callSpec) stream(ctx context.Context, client *gemwire.Client, got *outcome, opts []gemwire.Option) {
	var ahead, most atomic.Int64
	var texts iter.Seq[gemwire.Input] = func(yield func(gemwire.Input) bool) {
		for _, text := range c.Texts {
			if now := ahead.Add(1); now > most.Load() {
				most.Store(now)
			}
			if !yield(text) {
				return
			}
		}
	}
	got.results = []gemwire.Result{}
	for result, err := range client.EmbedStream(ctx, texts, opts...) {
		if err != nil {
			got.err = err
			break
		}
		ahead.Add(-1)
		got.results = append(got.results, result)
		if len(got.results) == c.StopAfter {
			break
		}
	}
	got.ahead = int(most.Load())
}
