package gemwire

import (
	"context"
	"iter"
	"runtime"
)

// A source takes texts from a sequence in a goroutine of its own, no more than are wanted.
type source struct {
	want        chan int // how many more texts may be taken
	texts       chan Input
	outstanding int // wanted and not received; of the receiving goroutine

	// How the sequence ended; set before texts is closed.
	stopped  bool // by the context
	returned bool
	panicked any
}

func takeFrom(ctx context.Context, texts iter.Seq[Input]) *source {
	s := &source{want: make(chan int), texts: make(chan Input, textsPerMessage)}
	go s.run(ctx, texts)
	return s
}

func (s *source) run(ctx context.Context, texts iter.Seq[Input]) {
	defer close(s.texts)
	defer func() {
		if !s.returned {
			s.panicked = recover()
		}
	}()
	wanted := 0
	wait := func() bool {
		for wanted == 0 {
			select {
			case wanted = <-s.want:
			case <-ctx.Done():
				s.stopped = true
				return false
			}
		}
		wanted--
		return true
	}
	if wait() {
		for text := range texts {
			select {
			case s.texts <- text:
			case <-ctx.Done():
				s.stopped = true
			}
			if s.stopped || !wait() {
				break
			}
		}
	}
	s.returned = true
}

// ended reports whether the sequence has no more texts, once texts is closed. If the sequence panicked, it
// panics in the goroutine of the caller.
func (s *source) ended() bool {
	if s.panicked != nil {
		panic(s.panicked)
	}
	if !s.returned {
		runtime.Goexit()
	}
	return !s.stopped
}

// join waits until the sequence has returned. Its context must have ended.
func (s *source) join() {
	for range s.texts {
	}
}
