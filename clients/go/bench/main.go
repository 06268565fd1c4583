//go:build unix

// Bench measures the client: go run ./bench ADDRESS TEXTS. It makes 300 unary calls in a row and then one stream
// of so many texts, and prints one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/gemwire/gemwire/clients/go/gemwire"
)

const unaryCalls = 300

type report struct {
	Client        string  `json:"client"`
	Runtime       string  `json:"runtime"`
	UnaryP50      float64 `json:"unary_p50_ms"`
	UnaryP99      float64 `json:"unary_p99_ms"`
	Texts         int     `json:"texts"`
	StreamSeconds float64 `json:"stream_seconds"`
	StreamCPU     float64 `json:"stream_cpu_seconds"`
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: bench ADDRESS TEXTS")
	}
	texts, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	measured, err := measure(context.Background(), os.Args[1], texts)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(measured); err != nil {
		log.Fatal(err)
	}
}

func measure(ctx context.Context, address string, texts int) (*report, error) {
	client, err := gemwire.Dial(address)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	r := &report{Client: "go", Runtime: "grpc-go " + grpc.Version + ", " + runtime.Version(), Texts: texts}
	if err := r.unary(ctx, client); err != nil {
		return nil, err
	}
	return r, r.stream(ctx, client)
}

func (r *report) unary(ctx context.Context, client *gemwire.Client) error {
	const query = "Which planet is known as the Red Planet?"
	for range 20 { // warm-up
		if _, err := client.EmbedQuery(ctx, query); err != nil {
			return err
		}
	}
	times := make([]float64, unaryCalls)
	for i := range times {
		started := time.Now()
		if _, err := client.EmbedQuery(ctx, query); err != nil {
			return err
		}
		times[i] = float64(time.Since(started).Microseconds()) / 1e3
	}
	slices.Sort(times)
	r.UnaryP50, r.UnaryP99 = times[unaryCalls/2], times[unaryCalls*99/100]
	return nil
}

func (r *report) stream(ctx context.Context, client *gemwire.Client) error {
	source := func(yield func(gemwire.Input) bool) {
		for i := 0; i < r.Texts && yield(gemwire.Input{Text: fmt.Sprintf("text number %d", i)}); i++ {
		}
	}
	started, spent := time.Now(), cpu()
	got := 0
	for result, err := range client.EmbedStream(ctx, source) {
		if err == nil {
			err = result.Err
		}
		if err != nil {
			return err
		}
		got++
	}
	r.StreamSeconds, r.StreamCPU = time.Since(started).Seconds(), (cpu() - spent).Seconds()
	if got != r.Texts {
		return fmt.Errorf("%d results of %d texts", got, r.Texts)
	}
	return nil
}

// cpu is the CPU time of this process, user and system.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
