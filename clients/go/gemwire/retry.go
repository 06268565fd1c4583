package gemwire

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
)

const (
	maxTries     = 5
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	// An overloaded server that names a longer delay is not waited for.
	longestDelay = 60 * time.Second
)

// jitter lengthens a pause at random, so that callers refused together do not come back together.
func jitter(pause time.Duration) time.Duration {
	// A server may name the longest duration that there is.
	return time.Duration(float64(min(pause, math.MaxInt64/2)) * (1 + 0.3*rand.Float64()))
}

// backoff is the pause after that many failures in a row, 1 or more.
func backoff(failures int) time.Duration {
	return jitter(min(firstPause<<min(failures-1, 10), longestPause))
}

// delay is RetryAfter, 0 without it.
func (e *Error) delay() time.Duration {
	if e.RetryAfter == nil {
		return 0
	}
	return *e.RetryAfter
}

// lost reports whether no server was reached, or the connection was lost.
func (e *Error) lost() bool {
	return !e.fromServer && (e.Code == codes.Unavailable || e.Code == codes.Canceled)
}

// refused reports whether the server has no room and said when to come back.
func (e *Error) refused() bool { return e.Code == codes.ResourceExhausted && e.RetryAfter != nil }

// pause is the time before the next try, after that many failures. It is false if no try may follow.
func (e *Error) pause(failures int) (time.Duration, bool) {
	switch {
	case e.refused():
		pause := jitter(e.delay())
		return pause, pause <= longestDelay
	case e.lost():
		return backoff(failures), true
	case e.Code == codes.Unavailable:
		pause := backoff(failures)
		if failures > 1 {
			pause = max(pause, e.delay())
		}
		return pause, true
	}
	return 0, false
}

// tries counts the tries of one unary call.
type tries struct {
	failures int
	lost     int // failures of tries that reached a server
}

// next is the pause before the next try. It is false if no try may follow. known: a server has answered
// this client. reached: the failed try reached a server.
func (t *tries) next(e *Error, known, reached bool) (time.Duration, bool) {
	t.failures++
	counted := t.failures
	if known && !e.refused() {
		// The client waits for a server that is away. A call that was lost on its way may be what ends servers.
		if e.lost() && reached {
			t.lost++
		}
		counted = t.lost
	}
	if counted >= maxTries {
		return 0, false
	}
	return e.pause(t.failures)
}

// call makes a unary call, with further tries until the timeout; 0: until the context ends.
func call[Request, Response any](
	ctx context.Context,
	c *Client,
	method func(context.Context, *Request, ...grpc.CallOption) (*Response, error),
	request *Request,
	timeout time.Duration,
) (*Response, error) {
	ctx, release := c.bind(ctx, timeout)
	defer release()
	var t tries
	for {
		var server peer.Peer
		response, err := method(ctx, request, grpc.Peer(&server))
		if err == nil {
			c.known.Store(true)
			return response, nil
		}
		e := c.failure(ctx, err)
		pause, again := t.next(e, c.known.Load(), server.Addr != nil)
		if deadline, ok := ctx.Deadline(); !again || e.asked || ok && time.Until(deadline) <= pause {
			return nil, e
		}
		if !sleep(ctx, pause) {
			return nil, c.stopped(ctx)
		}
	}
}

// sleep is false if the context ended first.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
