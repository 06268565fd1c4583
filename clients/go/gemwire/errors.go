package gemwire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The kinds of errors, for errors.Is.
var (
	ErrInvalidInput     = errors.New("gemwire: invalid input")     // the request, or this text, cannot be served as it is
	ErrNotFound         = errors.New("gemwire: not found")         // the server has no such model
	ErrOverloaded       = errors.New("gemwire: overloaded")        // the server has no room now
	ErrDeadlineExceeded = errors.New("gemwire: deadline exceeded") // the time ran out
	ErrUnavailable      = errors.New("gemwire: unavailable")       // no server answered, or it is going away
	ErrAccessDenied     = errors.New("gemwire: access denied")     // credentials are missing, wrong or not enough
	ErrEngineFailure    = errors.New("gemwire: engine failure")    // the server could not compute this
)

var kinds = map[codes.Code]error{
	codes.InvalidArgument:   ErrInvalidInput,
	codes.NotFound:          ErrNotFound,
	codes.ResourceExhausted: ErrOverloaded,
	codes.DeadlineExceeded:  ErrDeadlineExceeded,
	codes.Unavailable:       ErrUnavailable,
	codes.Unauthenticated:   ErrAccessDenied,
	codes.PermissionDenied:  ErrAccessDenied,
	codes.Internal:          ErrEngineFailure,
}

// domain is the domain of every ErrorInfo that a gemwire server sends.
const domain = "gemwire.dev"

// An Error says why a call, or one text of many, failed.
type Error struct {
	// Code is the gRPC code.
	Code codes.Code
	// Message is for people. It never quotes a text.
	Message string
	// Reason is a name of gemwirev1.ErrorReason without ERROR_REASON_; empty if the server gave none.
	Reason string
	// Metadata holds the server's details of the reason.
	Metadata map[string]string
	// Fields maps the path of a field of the request to what is wrong with it.
	Fields map[string]string
	// RetryAfter is the delay after which the call is worth sending again. Nil: the server named none.
	RetryAfter *time.Duration
	// Index is the place of the text among the texts of the call; -1 where the call failed as a whole.
	Index int
	// Errors holds the errors of all texts that failed with the call, by index, where texts failed.
	Errors map[int]*Error

	fromServer bool // it came with ErrorInfo of the domain
	asked      bool // CANCELLED that the caller asked for
}

// Error gives the code, the reason and the message.
func (e *Error) Error() string {
	said := e.Code.String()
	if e.Reason != "" {
		said += " (" + e.Reason + ")"
	}
	if e.Index >= 0 {
		said += fmt.Sprintf(": text %d", e.Index)
	}
	return "gemwire: " + said + ": " + e.Message
}

// Is reports whether target is the kind of this error, for example [ErrOverloaded].
func (e *Error) Is(target error) bool {
	if e.Code == codes.Canceled && !e.asked {
		return target == ErrUnavailable
	}
	return target == kinds[e.Code]
}

// Unwrap gives context.DeadlineExceeded where the time ran out, and context.Canceled where the caller's context
// or Close ended the call.
func (e *Error) Unwrap() error {
	switch {
	case e.Code == codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case e.asked:
		return context.Canceled
	}
	return nil
}

// GRPCStatus gives code and message, for package google.golang.org/grpc/status.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

func newError(code codes.Code, message string) *Error {
	return &Error{Code: code, Message: message, Index: -1}
}

func invalid(message string) *Error { return newError(codes.InvalidArgument, message) }

// modelChanged is the error where one call would give vectors of two revisions.
func modelChanged() *Error {
	e := newError(codes.FailedPrecondition, "another server answered with another revision of the model: "+
		"its vectors do not compare with those before")
	e.Reason = "MODEL_CHANGED"
	return e
}

// tooLong is the error of a text that no message within the server's limit can hold.
func tooLong(size, limit int) *Error {
	e := invalid(fmt.Sprintf("the text has %d bytes; a message takes %d", size, limit))
	e.Reason = "TEXT_TOO_LONG"
	return e
}

func (e *Error) at(index int) *Error {
	e.Index = index
	return e
}

// fromStatus reads a status and its details. Without ErrorInfo of the domain the code alone counts.
func fromStatus(s *spb.Status) *Error {
	e := newError(codes.Code(s.GetCode()), s.GetMessage())
	bare := *e
	for _, detail := range s.GetDetails() {
		message, err := detail.UnmarshalNew()
		if err != nil {
			continue // a detail that this client does not know
		}
		switch detail := message.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == domain {
				e.fromServer = true
				e.Reason, e.Metadata = detail.GetReason(), detail.GetMetadata()
			}
		case *errdetails.BadRequest:
			e.Fields = make(map[string]string, len(detail.GetFieldViolations()))
			for _, violation := range detail.GetFieldViolations() {
				e.Fields[violation.GetField()] = violation.GetDescription()
			}
		case *errdetails.RetryInfo:
			delay := detail.GetRetryDelay().AsDuration()
			e.RetryAfter = &delay
		}
	}
	if !e.fromServer {
		return &bare
	}
	return e
}

// failure reads the error of gRPC that ended a call of this context.
func (c *Client) failure(ctx context.Context, err error) *Error {
	e := fromStatus(status.Convert(err).Proto())
	if e.fromServer {
		c.known.Store(true)
		return e
	}
	// The context ends some time after Close.
	if (ctx.Err() != nil || c.life.Err() != nil) && (e.Code == codes.Canceled || e.Code == codes.DeadlineExceeded) {
		return c.stopped(ctx)
	}
	return e
}

// stopped is the error of a call whose context ended: the client was closed, or the caller or the clock ended it.
func (c *Client) stopped(ctx context.Context) *Error {
	if c.life.Err() == nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return newError(codes.DeadlineExceeded, "the time ran out")
	}
	e := newError(codes.Canceled, "the context was canceled")
	if c.life.Err() != nil {
		e.Message = "the client was closed"
	}
	e.asked = true
	return e
}
