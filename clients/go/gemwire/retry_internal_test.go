package gemwire

import (
	"math"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

func failed(code codes.Code, fromServer bool, retryAfter ...time.Duration) *Error {
	e := newError(code, "")
	e.fromServer = fromServer
	if len(retryAfter) > 0 {
		e.RetryAfter = &retryAfter[0]
	}
	return e
}

func TestPauses(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name     string
		e        *Error
		failures int
		least    time.Duration // 0: no further try
	}{
		{"overloaded", failed(codes.ResourceExhausted, true, 700*ms), 1, 700 * ms},
		{"overloaded again", failed(codes.ResourceExhausted, true, 700*ms), 4, 700 * ms},
		{"overloaded for long", failed(codes.ResourceExhausted, true, time.Hour), 1, 0},
		{"overloaded for ever", failed(codes.ResourceExhausted, true, math.MaxInt64), 1, 0},
		{"quota", failed(codes.ResourceExhausted, true), 1, 0},
		{"draining", failed(codes.Unavailable, true, 9*time.Second), 1, 100 * ms},
		{"lost", failed(codes.Unavailable, false), 1, 100 * ms},
		{"lost again", failed(codes.Unavailable, false), 3, 400 * ms},
		{"lost often", failed(codes.Unavailable, false), 40, 5000 * ms},
		{"cancelled elsewhere", failed(codes.Canceled, false), 2, 200 * ms},
		{"cancelled by the server", failed(codes.Canceled, true), 1, 0},
		{"wrong", failed(codes.InvalidArgument, true, ms), 1, 0},
		{"out of time", failed(codes.DeadlineExceeded, false), 1, 0},
	} {
		for range 50 {
			pause, again := c.e.pause(c.failures)
			if again != (c.least > 0) || again && (pause < c.least || pause > c.least*13/10) {
				t.Errorf("%s: %v, %v", c.name, pause, again)
			}
		}
	}
	if pause, _ := failed(codes.Unavailable, true, 9*time.Second).pause(2); pause != 9*time.Second {
		t.Errorf("the second pause is %v: it is at least the delay", pause)
	}
}

func TestTries(t *testing.T) {
	for _, c := range []struct {
		name           string
		e              *Error
		known, reached bool
		tries          int // 20: until the deadline
	}{
		{"no server is reached", failed(codes.Unavailable, false), false, false, 5},
		{"a known server is away", failed(codes.Unavailable, false), true, false, 20},
		{"a known server is lost with each call", failed(codes.Unavailable, false), true, true, 5},
		{"a server starts", failed(codes.Unavailable, true), true, true, 20},
		{"a server is full", failed(codes.ResourceExhausted, true, 1), true, true, 5},
		{"a request is wrong", failed(codes.InvalidArgument, true), true, true, 1},
	} {
		var counted tries
		made := 1
		for made < 20 {
			if _, again := counted.next(c.e, c.known, c.reached); !again {
				break
			}
			made++
		}
		if made != c.tries {
			t.Errorf("%s: %d tries, not %d", c.name, made, c.tries)
		}
	}
}
