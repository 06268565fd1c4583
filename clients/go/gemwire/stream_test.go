package gemwire_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gemwire/gemwire/clients/go/gemwire"
)

// endless gives the texts "text 0", "text 1", … and counts them.
func endless(taken *atomic.Int64) iter.Seq[gemwire.Input] {
	return func(yield func(gemwire.Input) bool) {
		for i := taken.Add(1); yield(gemwire.Input{Text: fmt.Sprintf("text %d", i-1)}); i = taken.Add(1) {
		}
	}
}

func TestASlowReaderSlowsTheSource(t *testing.T) {
	client := (&local{window: 16}).serve(t, gemwire.WithTimeout(100*time.Millisecond))
	var taken atomic.Int64
	got := int64(0)
	for result, err := range client.EmbedStream(t.Context(), endless(&taken)) {
		if err != nil {
			t.Fatal(err)
		}
		if result.Index != int(got) || result.Vector.Float32[0] != hash(fmt.Sprintf("text %d", got)) {
			t.Fatalf("result %d: %v", got, result)
		}
		got++
		if got%50 == 0 {
			time.Sleep(200 * time.Millisecond) // longer than the timeout: it is the server's, not the reader's
		}
		if ahead := taken.Load() - got; ahead > 16 {
			t.Fatalf("%d texts were read ahead", ahead)
		}
		if got == 200 {
			break
		}
	}
}

func TestASlowSourceIsWaitedFor(t *testing.T) {
	client := (&local{}).serve(t, gemwire.WithTimeout(100*time.Millisecond))
	answers := make(chan struct{})
	source := func(yield func(gemwire.Input) bool) { // needs an answer before each next text
		for i := range 4 {
			time.Sleep(150 * time.Millisecond)
			if !yield(gemwire.Input{Text: fmt.Sprintf("text %d", i)}) {
				return
			}
			<-answers
		}
	}
	got := 0
	for result, err := range client.EmbedStream(t.Context(), source) {
		if err != nil || result.Err != nil {
			t.Fatal(err, result.Err)
		}
		got++
		answers <- struct{}{}
	}
	if got != 4 {
		t.Errorf("%d results", got)
	}
}

func TestALoopThatStopsLeavesNothing(t *testing.T) {
	server := &local{}
	client := server.serve(t)
	var taken atomic.Int64
	for range client.EmbedStream(t.Context(), endless(&taken)) {
		break
	}
	stacks := make([]byte, 1<<20)
	if stacks = stacks[:runtime.Stack(stacks, true)]; strings.Contains(string(stacks), "gemwire.(*streamCall)") {
		t.Errorf("a goroutine is left: %s", stacks)
	}
	func() {
		defer func() {
			if recover() != "the loop" {
				t.Error("the panic is lost")
			}
		}()
		for range client.EmbedStream(t.Context(), endless(&taken)) {
			panic("the loop")
		}
	}()
	after := taken.Load()
	for deadline := time.Now().Add(5 * time.Second); server.openAtOnce.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a stream is still open")
		}
	}
	if taken.Load() != after {
		t.Error("the source still runs")
	}
}

func TestAPanicOfTheSourceIsTheLoops(t *testing.T) {
	client := (&local{}).serve(t)
	got := 0
	defer func() {
		if r := recover(); r != "the source" {
			t.Errorf("recovered %v after %d results", r, got)
		}
	}()
	source := func(yield func(gemwire.Input) bool) {
		yield(gemwire.Input{Text: "a"})
		panic("the source")
	}
	for range client.EmbedStream(t.Context(), source) {
		got++
	}
	t.Error("the loop ended")
}

func TestTheContextEndsAStream(t *testing.T) {
	client := (&local{}).serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	var taken atomic.Int64
	var last error
	for _, err := range client.EmbedStream(ctx, endless(&taken)) {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) || status.Code(last) != codes.Canceled {
		t.Errorf("%v", last)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for _, err := range client.EmbedStream(ctx, endless(&taken)) {
		last = err
	}
	if !errors.Is(last, gemwire.ErrDeadlineExceeded) || !errors.Is(last, context.DeadlineExceeded) {
		t.Errorf("%v", last)
	}
}

func TestCloseEndsAStream(t *testing.T) {
	server := &local{}
	server.serve(t)
	for range 50 { // Close meets the stream at another place each time
		client, err := gemwire.Dial(server.address)
		if err != nil {
			t.Fatal(err)
		}
		var taken atomic.Int64
		var last error
		for _, err := range client.EmbedStream(t.Context(), endless(&taken)) {
			client.Close()
			last = err
		}
		if status.Code(last) != codes.Canceled || errors.Is(last, gemwire.ErrUnavailable) {
			t.Fatalf("%v", last)
		}
	}
}

func TestAStreamGoesOnAfterARestart(t *testing.T) {
	server := &local{window: 8}
	client := server.serve(t)
	var taken atomic.Int64
	got := 0
	for result, err := range client.EmbedStream(t.Context(), endless(&taken)) {
		if err != nil {
			t.Fatal(err)
		}
		if result.Index != got || result.Vector.Float32[0] != hash(fmt.Sprintf("text %d", got)) {
			t.Fatalf("result %d: %v", got, result)
		}
		got++
		if got == 20 {
			server.grpc.Stop()
			time.AfterFunc(4*time.Second, func() { server.start(t, server.address) })
		}
		if got == 100 {
			break
		}
	}
}

func TestATextThatEndsEveryStreamIsGivenUp(t *testing.T) {
	for _, opts := range [][]gemwire.Option{nil, {gemwire.WithUnordered()}} {
		server := &local{dieOf: "text 70"}
		client := server.serve(t)
		var taken atomic.Int64
		var last error
		for _, err := range client.EmbedStream(t.Context(), endless(&taken), opts...) {
			if last = err; server.streams.Load() > 12 {
				break
			}
		}
		if !errors.Is(last, gemwire.ErrUnavailable) {
			t.Errorf("%d streams, then %v", server.streams.Load(), last)
		}
	}
}

func TestTextsThatCannotBeSentFailAlone(t *testing.T) {
	client := (&local{}).serve(t)
	texts := []gemwire.Input{
		{Text: "a"}, {Text: "\xff"}, {Text: strings.Repeat("b", 2<<20)}, {Text: "c", IDs: []uint32{1}},
		{Text: strings.Repeat("d", 4<<20)}, {Text: "e"},
	}
	var failed []int
	for result, err := range client.EmbedStream(t.Context(), slices.Values(texts)) {
		if err != nil {
			t.Fatal(err)
		}
		if result.Err == nil {
			if result.Vector.Float32[0] != hash(texts[result.Index].Text) {
				t.Errorf("text %d has another's vector", result.Index)
			}
			continue
		}
		failed = append(failed, result.Index)
		var e *gemwire.Error
		if !errors.As(result.Err, &e) || e.Index != result.Index || !errors.Is(e, gemwire.ErrInvalidInput) {
			t.Errorf("%v", result.Err)
		}
	}
	if !slices.Equal(failed, []int{1, 3, 4}) {
		t.Errorf("the texts %v failed", failed)
	}
}

func TestASequenceMayBeUsedTwice(t *testing.T) {
	client := (&local{}).serve(t)
	results := client.EmbedStream(t.Context(), slices.Values(gemwire.Inputs("a", "b", "c")), gemwire.WithUnordered())
	for range 2 {
		seen := map[int]bool{}
		for result, err := range results {
			if err != nil {
				t.Fatal(err)
			}
			seen[result.Index] = true
		}
		if len(seen) != 3 {
			t.Errorf("results %v", seen)
		}
	}
}

func TestAnExitOfTheSourceIsTheLoops(t *testing.T) {
	client := (&local{}).serve(t)
	exited := make(chan bool)
	go func() {
		defer close(exited)
		source := func(yield func(gemwire.Input) bool) { runtime.Goexit() }
		for range client.EmbedStream(t.Context(), source) {
		}
		exited <- false
	}()
	if _, sent := <-exited; sent {
		t.Error("the loop ended as if there were no more texts")
	}
}
